#!/usr/bin/env bash
# Sees to it that the servers and programs are there which the tests (`servers.sh`, the long ones too: `servers.sh all`)
# and the benchmarks start for themselves. It installs what is missing where it can, and leaves no service of the
# system's own running.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/system.sh

packages=()

# need <package> <file>...: the package is wanted unless one of the files is there.
need() {
    local package=$1 file
    shift
    for file in "$@"; do [ -x "$file" ] && return; done
    packages+=("$package")
}

# Both files tell Debian's packages to keep quiet. They are taken away again, unless they were there before.
policy=/usr/sbin/policy-rc.d
cluster=/etc/postgresql-common/createcluster.d/dispatcher-tests.conf
made=()

keep_services_off() {
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
        made+=("$policy")
    fi
    as_root mkdir -p "$(dirname "$cluster")"
    echo 'create_main_cluster = false' | as_root tee "$cluster" >/dev/null
    made+=("$cluster")
}

let_services_on() {
    [ ${#made[@]} -eq 0 ] || as_root rm -f "${made[@]}"
}

[ -n "${DISPATCHER_TEST_AMQP_URL:-}" ] || need rabbitmq-server /usr/lib/rabbitmq/bin/rabbitmq-server
[ -n "${DISPATCHER_TEST_DATABASE_URL:-}" ] || need postgresql /usr/lib/postgresql/*/bin/postgres
need pgbouncer /usr/sbin/pgbouncer
# Only root can start it: for others its test says so and is left out.
if [ "$(id -u)" = 0 ]; then
    need opensmtpd /usr/sbin/smtpd
    # The first start of Debian's service makes it. The tests start none; they mount a private spool over it.
    install -d -m 711 /var/spool/smtpd
fi
need chromium /usr/bin/chromium
# The examples of docs/receiving.md are run.
command -v node >/dev/null || packages+=(nodejs)
[ "${1:-}" != all ] || command -v go >/dev/null || packages+=(golang-go)
[ "${1:-}" != all ] || command -v npm >/dev/null || packages+=(npm)
need nginx-light /usr/sbin/nginx
[ ${#packages[@]} -gt 0 ] || exit 0

can_install || fail \
    "Missing: ${packages[*]}" \
    "Install them (on Debian: apt-get install ${packages[*]}), or point at servers that may be written to with" \
    "DISPATCHER_TEST_AMQP_URL (amqp://user:password@host/) and" \
    "DISPATCHER_TEST_DATABASE_URL (postgresql://user:password@host/database, a user that may create databases)."

trap let_services_on EXIT
keep_services_off
apt_install "${packages[@]}"
if [ -d /run/systemd/system ]; then
    for package in "${packages[@]}"; do
        as_root systemctl --quiet disable "${package/nginx-light/nginx}" || true
    done
fi
