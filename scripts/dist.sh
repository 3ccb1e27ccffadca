#!/usr/bin/env bash
# Builds the wheel and the source distribution into dist/, and tries the wheel in two bare environments: the client alone
# verifies a webhook and cannot serve; with the extra `server`, at the versions of requirements.lock, it serves a delivery.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/system.sh

python=$PWD/.venv/bin/python
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

make_venv() {
    "$python" -m venv "$folder/$1"
    "$folder/$1/bin/python" -m pip install --quiet --disable-pip-version-check "${@:2}"
}

rm -rf dist
"$python" -m hatchling build -d dist
wheel=$(echo dist/*.whl)

# The wheel that the source distribution makes has the same files.
mkdir "$folder/source"
tar -xzf dist/*.tar.gz -C "$folder/source" --strip-components=1
(cd "$folder/source" && "$python" -m hatchling build -t wheel -d "$folder/again" >/dev/null)
diff <("$python" -m zipfile -l "$wheel" | awk '{print $1}') <("$python" -m zipfile -l "$folder"/again/*.whl | awk '{print $1}') ||
    fail "The source distribution makes another wheel."

grep -v '^ *--hash' requirements.lock | sed 's/ *\\$//' >"$folder/constraints.txt"
make_venv client --constraint "$folder/constraints.txt" "$wheel"
(cd "$folder" && client/bin/python -c "from dispatcher.client import Client, Webhook; Webhook('whsec_' + 'A' * 32)")
for name in aio-pika sqlalchemy jinja2 typer; do
    "$folder/client/bin/python" -m pip show --quiet "$name" 2>/dev/null && fail "The client brings $name."
done
code=0
(cd "$folder" && client/bin/dispatcher serve 2>said) || code=$?
[ "$code" = 2 ] && grep -q "pip install 'dispatcher\[server\]'" "$folder/said" ||
    fail "Without the extra, serve ended with $code and said: $(cat "$folder/said")"

# An environment of version 0.1.0, which had all of this without an extra, is upgraded: it serves as before.
make_venv upgraded --constraint "$folder/constraints.txt" aio-pika aiodns aiohappyeyeballs aiohttp aiosmtplib alembic asyncpg \
    cachetools cryptography css-inline email-validator httptools jinja2 msgspec prometheus-client 'pyjwt[crypto]' rich \
    'sqlalchemy[asyncio]' structlog typer uvloop yarl
"$folder/upgraded/bin/python" -m pip install --quiet --disable-pip-version-check --constraint "$folder/constraints.txt" "$wheel"
(cd "$folder" && upgraded/bin/python "$OLDPWD/scripts/serve_once.py")

make_venv server --constraint "$folder/constraints.txt" "$wheel[server]"
(cd "$folder" && server/bin/python "$OLDPWD/scripts/serve_once.py")
echo "dist/ is good: $(ls dist | tr '\n' ' ')"
