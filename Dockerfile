# The daemon on Debian's slim Python image, with an ffprobe that reads only MP4, Matroska and transport streams.
#
# Compilers, pip and sources stay in the first two stages; the last one takes a virtual environment and one program from
# them. It runs as user 1001, and its root file system may be read-only. More: docs/operations.md, "The image".

# Any Debian with "python" (3.11 or newer, with venv) and its package sources in sources.list.d/debian.sources.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS packages
# pip is in a separate environment, so that it is not copied.
RUN python -m venv /opt/pip && python -m venv --without-pip /opt/venv
COPY requirements.txt .
# The lock file as it is: nothing is resolved, and "pip check" tests whether it is complete.
# The secret is an optional pip.conf: a custom index or certificate leaves no trace in the image.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    /opt/pip/bin/pip --python /opt/venv/bin/python --disable-pip-version-check --no-cache-dir \
        install --no-deps --require-hashes --only-binary :all: -r requirements.txt \
    && /opt/pip/bin/pip --python /opt/venv/bin/python --disable-pip-version-check check
# botocore describes 400 services; only S3 and those for credentials are needed.
RUN find /opt/venv/lib/python3*/site-packages/botocore/data -mindepth 1 -maxdepth 1 -type d \
        ! -name s3 ! -name sts ! -name sso ! -name sso-oidc -exec rm -r {} +
# pygments colours 500 languages for rich; the commands print none of them.
RUN find /opt/venv/lib/python3*/site-packages/pygments/lexers -name '*.py' ! -name __init__.py ! -name _mapping.py -delete
# Some wheels bring their debug symbols: a third of the compiled libraries, read by debuggers only.
RUN apt-get update \
    && apt-get install -y --no-install-recommends binutils \
    && find /opt/venv -name '*.so*' -type f -exec strip --strip-debug {} +

FROM ${BASE} AS ffprobe
RUN sed -i 's/^Types: deb$/Types: deb deb-src/' /etc/apt/sources.list.d/debian.sources \
    && apt-get update \
    && apt-get install -y --no-install-recommends dpkg-dev gcc libc6-dev make
WORKDIR /build
# Debian's source with its security fixes. Without decoders, the network and all demuxers but three there is little that a
# malicious file can reach, and no playlist to follow. Assembler would speed up only the omitted decoders.
RUN apt-get source ffmpeg \
    && cd ffmpeg-*/ \
    && ./configure --toolchain=hardened --enable-small --disable-debug --disable-doc --disable-x86asm \
        --extra-version="$(dpkg-parsechangelog -S Version | cut -d- -f2-)" \
        --disable-everything --disable-autodetect --disable-network --disable-programs --enable-ffprobe \
        --disable-avdevice --disable-avfilter --disable-swresample --disable-swscale --disable-postproc \
        --enable-demuxer=mov,matroska,mpegts --enable-parsers --enable-protocol=file \
    && make -j"$(nproc)" ffprobe \
    && install -D -s -m 755 ffprobe /out/usr/local/bin/ffprobe \
    && install -D -m 644 COPYING.LGPLv2.1 /out/usr/share/doc/ffprobe/copyright

FROM ${BASE}
# dumb-init forwards signals and reaps orphaned children of ffprobe.
RUN apt-get update \
    && apt-get install -y --no-install-recommends dumb-init \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log \
    && useradd --uid 1001 --user-group --no-log-init --no-create-home --home-dir /app --shell /usr/sbin/nologin appuser

COPY --from=ffprobe /out /
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY src ./src
# Compiled here, because the daemon has no write access. The commands: docker compose exec app cefmp4 status
RUN /opt/venv/bin/python -m compileall -q src && mkdir local_watch_dir \
    && printf '#!/bin/sh\ncd /app && exec /opt/venv/bin/python -m src "$@"\n' > /usr/local/bin/cefmp4 \
    && chmod 755 /usr/local/bin/cefmp4

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONIOENCODING=UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 \
    APP_ENV=production \
    PROM_HOST=0.0.0.0 \
    PROM_PORT=8000 \
    WATCH_DIR=/app/local_watch_dir

# appuser, by number, as runAsNonRoot in Kubernetes requires.
USER 1001:1001
EXPOSE 8000
# Without curl, and without a proxy from the environment.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 \
    CMD ["python", "-IS", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['PROM_PORT']), timeout=8); c.request('GET', '/-/healthy'); sys.exit(c.getresponse().status != 200)"]

ENTRYPOINT ["dumb-init", "--"]
CMD ["python", "-m", "src.main"]

# Last, so that a new version or revision costs no layer.
ARG VERSION=0.1.0
ARG REVISION=
ARG BASE
LABEL org.opencontainers.image.title="cefmp4_stream_processor" \
      org.opencontainers.image.description="Uploads MP4 recordings to S3 while they are still being written" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}"
