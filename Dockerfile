# The server for CPUs, with u2netp inside. It needs no network, no root, and no folder of its own to write to:
#
#   docker build -t maskwright .
#   docker run --rm --read-only --tmpfs /tmp -p 127.0.0.1:7000:7000 -e MASKWRIGHT_TOKEN=choose-one maskwright

FROM python:3.12-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
COPY pyproject.toml README.md LICENSE THIRD_PARTY.md ./
COPY maskwright ./maskwright
RUN python -m venv /opt/maskwright \
 && /opt/maskwright/bin/pip install ".[cpu,server]" \
 && MASKWRIGHT_HOME=/opt/store /opt/maskwright/bin/maskwright models fetch u2netp \
 && chmod -R a+rX /opt

FROM python:3.12-slim
COPY --from=build /opt /opt
ENV PATH=/opt/maskwright/bin:$PATH \
    MASKWRIGHT_HOME=/opt/store \
    MASKWRIGHT_OFFLINE=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
RUN useradd --system --no-create-home --uid 10001 --shell /usr/sbin/nologin maskwright
USER 10001
EXPOSE 7000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7000/readyz', timeout=2)"]
ENTRYPOINT ["maskwright", "serve", "--host", "0.0.0.0"]
