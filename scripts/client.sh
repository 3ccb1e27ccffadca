#!/usr/bin/env bash
# Makes .venv-<name> for a client of another system, which tests run beside the service: `client.sh agave`. What is in it
# stands in tests/compat/clients/<name>.lock; it does not fit, or has no place, in the environment of the service.
set -euo pipefail
cd "$(dirname "$0")/.."

name=${1:?the name of a client, such as agave}
lock=tests/compat/clients/$name.lock
venv=.venv-$name

mkdir -p "$venv"
exec 9>"$venv/.making"
flock 9 # one makes it, who comes at the same time finds it made
[ "$venv/.made" -nt "$lock" ] && exit 0
"${PYTHON:-.venv/bin/python}" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
touch "$venv/.made"
