#!/usr/bin/env bash
# Makes .venv: `setup.sh runtime` with what the service needs, `setup.sh dev` with what its tests and checks need too.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/system.sh

python=${PYTHON:-python3}
venv=.venv

make_venv() {
    command -v "$python" >/dev/null || fail "There is no $python. Install Python 3.11 or newer, or set PYTHON."
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$("$python" --version) is too old: Dispatcher needs Python 3.11 or newer. Set PYTHON to one."
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        can_install || fail "$python cannot make virtual environments. Install python3-venv."
        apt_install python3-venv
    fi
    "$python" -m venv --clear "$venv"
}

install_from() {
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
}

"$venv/bin/python" -m pip --version >/dev/null 2>&1 || make_venv
case ${1:?runtime or dev} in
    runtime)
        install_from --require-hashes -r requirements.lock
        install_from --no-deps --no-build-isolation --editable .
        ;;
    dev)
        install_from --require-hashes -r requirements-dev.lock
        ;;
esac
touch "$venv/.$1"
