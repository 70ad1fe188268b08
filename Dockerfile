# syntax=docker/dockerfile:1
# The packages are installed in one stage; the image that runs has neither pip's cache nor a compiler.

FROM python:3.11-slim-bookworm AS packages
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
COPY requirements.txt .
RUN /opt/venv/bin/pip install --require-hashes --only-binary :all: -r requirements.txt

FROM python:3.11-slim-bookworm
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="cefmp4_stream_processor" \
      org.opencontainers.image.version="${VERSION}"

# ffmpeg brings ffprobe. dumb-init passes signals on and reaps what ffprobe may leave.
RUN apt-get update \
    && apt-get install -y --no-install-recommends dumb-init ffmpeg \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1001 --user-group --no-create-home --home-dir /app --shell /usr/sbin/nologin appuser

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONIOENCODING=UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 \
    APP_ENV=production \
    PROM_HOST=0.0.0.0 \
    PROM_PORT=8000 \
    WATCH_DIR=/app/local_watch_dir

WORKDIR /app
COPY --from=packages /opt/venv /opt/venv
COPY src ./src
RUN install -d -o appuser -g appuser local_watch_dir

USER appuser
EXPOSE 8000
# Without curl, and without a proxy that the environment may name.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['PROM_PORT']), timeout=8); c.request('GET', '/-/healthy'); sys.exit(c.getresponse().status != 200)"]

ENTRYPOINT ["dumb-init", "--"]
CMD ["python", "-m", "src.main"]
