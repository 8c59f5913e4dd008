#!/bin/bash
# The contract of the official postgres image, as far as Compose files use it: POSTGRES_USER,
# POSTGRES_PASSWORD, POSTGRES_DB, each also as ..._FILE; PGDATA; /docker-entrypoint-initdb.d.
set -euo pipefail
shopt -s nullglob

log() { printf 'timescaledb stand-in (PostgreSQL 15): %s\n' "$*" >&2; }

# NAME or NAME_FILE, not both
take() {
    local name=$1 default=${2-} file="${1}_FILE"
    if [[ -n ${!name-} && -n ${!file-} ]]; then
        log "both $name and $file are set; only one may be"
        exit 1
    fi
    local value=${!name:-$default}
    if [[ -n ${!file-} ]]; then value=$(<"${!file}"); fi
    export "$name=$value"
    unset "$file"
}

# Everything happens in a folder beside the final place and PG_VERSION moves last, so that a container
# killed half-way starts over instead of serving half a database.
initialise() {
    local method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256} work=$PGDATA/.initialising
    if [[ -z $POSTGRES_PASSWORD && $method != trust ]]; then
        log "the database has no files yet and POSTGRES_PASSWORD is empty: set it"
        exit 1
    fi
    if [[ -d $work ]]; then find "$PGDATA" -mindepth 1 -delete; fi
    log "initialising $PGDATA"
    mkdir -m 700 "$work"
    initdb --no-sync --pgdata="$work" --username="$POSTGRES_USER" \
        --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") \
        --encoding=UTF8 --locale=C.UTF-8 --auth-local=trust --auth-host=trust >/dev/null
    printf '\nhost all all all %s\n' "$method" >>"$work/pg_hba.conf"
    printf "\nlisten_addresses = '*'\n" >>"$work/postgresql.conf"
    run_setup "$work"
    find "$work" -mindepth 1 -maxdepth 1 \! -name PG_VERSION -exec mv -t "$PGDATA" '{}' +
    sync -f "$PGDATA"
    mv "$work/PG_VERSION" "$PGDATA/PG_VERSION"
    rmdir "$work"
    log "initialised"
}

# The server for setup listens on a private socket only, so that no health check takes it for the real one.
run_setup() {
    local data=$1 private
    private=$(mktemp -d)
    PGDATA=$data pg_ctl -w -s -o "-c listen_addresses='' -c unix_socket_directories=$private" start >/dev/null
    export PGHOST=$private PGUSER=$POSTGRES_USER
    if [[ $POSTGRES_DB != postgres ]]; then
        printf 'CREATE DATABASE :"db";\n' | psql -q --no-psqlrc -v ON_ERROR_STOP=1 -v db="$POSTGRES_DB" -d postgres
    fi
    export PGDATABASE=$POSTGRES_DB
    local script
    for script in /docker-entrypoint-initdb.d/*; do
        log "running $script"
        case $script in
            *.sh) bash "$script" ;;
            *.sql) psql -q --no-psqlrc -v ON_ERROR_STOP=1 -f "$script" ;;
            *.sql.gz) gunzip -c "$script" | psql -q --no-psqlrc -v ON_ERROR_STOP=1 ;;
            *) log "left out: $script" ;;
        esac
    done
    pg_ctl -D "$data" -m fast -w -s stop >/dev/null
    unset PGHOST PGUSER PGDATABASE
    rm -rf "$private"
}

# `command: -c max_connections=50` means the server's own options
if [[ $# -eq 0 || ${1:0:1} == - ]]; then set -- postgres "$@"; fi
if [[ $1 != postgres ]]; then exec "$@"; fi

if [[ $(id -u) == 0 ]]; then
    mkdir -p "$PGDATA" /var/run/postgresql
    find "$PGDATA" \! -user postgres -exec chown postgres '{}' +
    chown postgres:postgres /var/run/postgresql
    exec setpriv --reuid=postgres --regid=postgres --init-groups bash "${BASH_SOURCE[0]}" "$@"
fi

take POSTGRES_PASSWORD
take POSTGRES_USER postgres
take POSTGRES_DB "$POSTGRES_USER"
chmod 700 "$PGDATA" 2>/dev/null || true
# PID 1 has no default signal handlers: without this a stop during setup would wait for the kill
trap 'exit 143' TERM INT
if [[ ! -s $PGDATA/PG_VERSION ]]; then initialise; fi
unset POSTGRES_PASSWORD
trap - TERM INT
exec "$@"
