# The operator image: Python from Debian, the locked dependencies and the package, nothing else.
ARG BASE_IMAGE=docker.io/library/debian:bookworm-slim

FROM ${BASE_IMAGE} AS python
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/apt /var/log/dpkg.log

FROM python AS uv
ARG SSL_CERT_FILE
RUN apt-get update && apt-get install -y --no-install-recommends python3-pip
RUN --mount=type=secret,id=ca,target=/run/host-ca.crt \
    --mount=type=secret,id=index,env=PIP_INDEX_URL \
    --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m pip install --no-cache-dir --target /opt/uv ${SSL_CERT_FILE:+--cert ${SSL_CERT_FILE}} uv==0.13.8

FROM python AS app
ARG SSL_CERT_FILE
COPY pyproject.toml uv.lock /app/
RUN --mount=type=secret,id=ca,target=/run/host-ca.crt \
    --mount=type=secret,id=index,env=UV_DEFAULT_INDEX \
    --mount=type=secret,id=uv,target=/etc/uv/uv.toml \
    --mount=type=cache,target=/root/.cache/uv \
    --mount=type=bind,from=uv,source=/opt/uv,target=/opt/uv \
    UV_CACHE_DIR=/root/.cache/uv UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never \
    /opt/uv/bin/uv sync --locked --no-dev --no-install-project --compile-bytecode --project /app
COPY operator/modelgarden /app/modelgarden
RUN python3 -m compileall -q /app/modelgarden

FROM python
COPY --from=app /app /app
ENV PATH=/app/.venv/bin:$PATH \
    HOME=/tmp \
    PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 65532:65532
ENTRYPOINT ["python", "-m", "modelgarden"]
