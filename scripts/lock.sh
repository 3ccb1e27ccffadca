#!/usr/bin/env bash
# Writes both locks from pyproject.toml: names, versions and hashes of every platform's files, and no addresses.
set -euo pipefail
cd "$(dirname "$0")/.."

# Arguments: the same for both locks, then `--upgrade` or nothing.
compile() {
    env -u UV_FIND_LINKS -u UV_INDEX_URL -u UV_EXTRA_INDEX_URL .venv/bin/uv pip compile pyproject.toml \
        --quiet --system-certs --universal --python-version 3.11 --generate-hashes --no-header --no-annotate "$@"
}

compile --group build --output-file requirements.lock "$@"
compile --group build --group dev --constraint requirements.lock --output-file requirements-dev.lock "$@"
