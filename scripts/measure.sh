# shellcheck shell=bash
#
# What the scripts that measure share: a private cluster with a database as the server finds it after its first start, the
# server on it, and the fleet that talks to it. Read by `source` after scripts/lib.sh; `prepare FOLDER` does the rest.
#
# Every process that is started here is ended by the trap that `prepare` sets, whatever ends the script.

# shellcheck disable=SC2154
trackport=$root/target/release/trackport
daemon=''
fleet=''
cluster=''

# Called by the trap below, whatever ends this script.
# shellcheck disable=SC2317
stop_all() {
    local status=$?
    trap '' INT TERM HUP
    stop_daemon || true
    [[ -z $fleet ]] || kill -KILL "$fleet" 2>/dev/null || true
    if [[ -n $cluster ]]; then
        "$root/scripts/postgres" remove "$folder/pg" || status=1
    fi
    rm -rf "$spool" "$scratch"
    exit "$status"
}

stop_daemon() {
    [[ -n $daemon ]] || return 0
    kill -TERM "$daemon" 2>/dev/null || true
    local tries
    for ((tries = 0; tries < 250; tries++)); do
        kill -0 "$daemon" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$daemon" 2>/dev/null || true
    wait "$daemon" 2>/dev/null || true
    daemon=''
}

sql() {
    local database=$1
    shift
    PGOPTIONS="-c client_min_messages=warning" "$PG_BIN/psql" -X -q -At -v ON_ERROR_STOP=1 -d "postgresql:///$database?host=$PG_SOCKET&port=$PG_PORT&user=trackport" "$@"
}

run_daemon() {
    setsid "$trackport" run --conf "$conf" >>"$log" 2>&1 </dev/null &
    daemon=$!
}

# start_daemon DATABASE WRITERS: with nothing in its spool.
start_daemon() {
    local socket=$folder/control.sock
    rm -rf "$spool"
    ((${#socket} <= 100)) || socket=$PG_PLACE/control.sock
    cat >"$conf" <<CONF
[database]
url = "postgresql:///$1?host=$PG_SOCKET&port=$PG_PORT&user=trackport"
writers = $2
[devices]
accept = "any"
max_new_devices = 1000000
[[port]]
listen = "127.0.0.1:$port"
[spool]
directory = "$spool"
[control]
socket = "$socket"
CONF
    : >"$log"
    run_daemon
    local tries
    for ((tries = 0; tries < 300; tries++)); do
        kill -0 "$daemon" 2>/dev/null || break
        if "$trackport" status --conf "$conf" 2>/dev/null | grep "Nothing is wrong" >/dev/null &&
            [[ $(sql "$1" -c "select count(*) > 3 from pg_inherits where inhparent = to_regclass('trackport.record')" 2>/dev/null) == t ]]; then
            return
        fi
        sleep 0.1
    done
    say "trackport did not get ready; the last lines of $log:"
    tail -n 15 "$log" >&2
    stop_daemon
    exit 1
}

# simulate SECONDS ARGUMENT...: what the fleet says at its end.
simulate() {
    local time=$1
    shift
    "$trackport" simulate --conf "$conf" --to "127.0.0.1:$port" --duration "$time s" "$@" 2>"$folder/simulate.err" || {
        cat "$folder/simulate.err" >&2
        die "the fleet failed; the server's log is $log"
    }
}

median() {
    printf '%s\n' "$@" | sort -g | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

# What the last words of a fleet say; numbers have separators.
rate_in() { sed -n 's/^rate  *\(.*\) records\/s over .*/\1/p' | tr -cd '0-9\n'; }

# A database as the server finds it after its first start: tables, partitions, no rows.
fresh() {
    sql postgres -c "drop database if exists $1" -c "create database $1 template bench_empty" -c checkpoint
}

as_cluster_owner() {
    if ((EUID == 0)); then
        (cd / && setpriv --reuid=postgres --regid=postgres --init-groups -- "$@")
    else
        "$@"
    fi
}

# free_port FIRST LAST
free_port() {
    local candidate
    for ((candidate = $1; candidate <= $2; candidate++)); do
        (exec 3<>"/dev/tcp/127.0.0.1/$candidate") 2>/dev/null || {
            echo "$candidate"
            return
        }
    done
    die "no free port from $1 to $2"
}

# On the same port each time, which must be free again each time: not one of those that the system gives to connections.
start_database() { "$root/scripts/postgres" start "$folder/pg" --set shared_buffers=1GB --port "$database_port"; }

stop_database() { "$root/scripts/postgres" stop "$folder/pg"; }

# What status says of the spool: spool_now records, spool_now bytes.
spool_now() {
    "$trackport" status --conf "$conf" --json | tr -d ' \n' | sed -n "s/.*\"spool\":{[^}]*\"$1\":\([0-9]*\).*/\1/p"
}

# prepare FOLDER: builds the server, makes the cluster below FOLDER with shared_buffers = 1 GB, and a database to copy.
prepare() {
    folder=$1
    conf=$folder/trackport.toml
    log=$folder/trackport.log
    spool=$folder/spool
    # For what a script keeps while it runs.
    scratch=$folder/scratch
    # Two sockets for each device are in one process at most, and a shell often allows 1024.
    ulimit -n "$(ulimit -Hn)" 2>/dev/null || true
    trap stop_all EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    need_rust
    PG_BIN=$(need_postgres)
    say "Building"
    cargo build --release --locked --bin trackport
    mkdir -p "$scratch"
    database_port=$(free_port 15432 15499)
    local how
    how=$(start_database)
    eval "$how"
    cluster=started
    port=$(free_port 5927 5999)
    sql postgres -c 'drop database if exists bench_empty' -c 'create database bench_empty'
    start_daemon bench_empty 1
    stop_daemon
}
