# In place of python:3.11-slim-bookworm: "python" with venv, package sources, and certificates.
ARG DEBIAN
FROM ${DEBIAN}
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3.11-venv \
    && ln -s /usr/bin/python3.11 /usr/local/bin/python \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*
# Those that this machine trusts.
COPY certificates.crt /etc/ssl/certs/ca-certificates.crt
