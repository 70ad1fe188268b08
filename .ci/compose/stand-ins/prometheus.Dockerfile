# In place of prom/prometheus: Debian's (2.42), which scripts/setup fetches, and the wget that its health check calls.
ARG DEBIAN
FROM ${DEBIAN}
RUN apt-get update && apt-get install -y --no-install-recommends wget && rm -rf /var/lib/apt/lists/*
RUN mkdir /prometheus && chown 65534:65534 /prometheus
COPY prometheus /bin/prometheus
WORKDIR /prometheus
ENTRYPOINT ["/bin/prometheus"]
