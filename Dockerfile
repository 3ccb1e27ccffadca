FROM python:3.11-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /app/.venv
COPY requirements.lock ./
RUN /app/.venv/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY LICENSE README.md pyproject.toml ./
COPY config config
COPY dispatcher dispatcher
RUN /app/.venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home dispatcher \
    && install --directory --owner=dispatcher /app/var
WORKDIR /app
COPY --from=build /app/.venv .venv
COPY config config
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DISPATCHER_HTTP_HOST=0.0.0.0 \
    DISPATCHER_LOG_FORMAT=json
USER dispatcher
# The database, when it is SQLite.
VOLUME /app/var
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["python", "-c", "import os, urllib.request; \
urllib.request.urlopen(f\"http://127.0.0.1:{os.environ.get('DISPATCHER_HTTP_PORT', '8080')}/health/ready\", timeout=4)"]
CMD ["dispatcher", "serve"]
