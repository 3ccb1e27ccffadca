#!/usr/bin/env bash
# Writes the locks, two from pyproject.toml and one for each client of another system that tests run:
# names, versions and hashes of every platform's files, and no addresses.
set -euo pipefail
cd "$(dirname "$0")/.."

# Arguments: what is needed, and then what is the lock's own.
compile() {
    env -u UV_FIND_LINKS -u UV_INDEX_URL -u UV_EXTRA_INDEX_URL .venv/bin/uv pip compile \
        --quiet --system-certs --universal --python-version 3.11 --generate-hashes --no-header --no-annotate "$@"
}

compile pyproject.toml --extra server --group build --output-file requirements.lock "$@"
compile pyproject.toml --extra server --group build --group dev --constraint requirements.lock --output-file requirements-dev.lock "$@"
for needed in tests/compat/clients/*.in; do
    compile "$needed" --output-file "${needed%.in}.lock" "$@"
done
