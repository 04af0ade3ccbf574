#!/usr/bin/env bash
# A private PostgreSQL server for tests: in a directory of its own, on a free port of the loopback, as a user without rights.
# Says `ready URL` on stdout, then does what stands in each line of stdin and answers with one line:
#   schema NAME   makes an empty schema         sql TEXT   runs one statement, its answer in one line
#   stop | start  cleanly                       crash      SIGKILL to all of its processes
# It ends, and the server with it, when stdin does: so also when the test that started it is killed.
# NEARPORT_PG_FSYNC=on for figures; tests kill processes, not machines.
set -euo pipefail

bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
[ -n "$bin" ] || { echo "no PostgreSQL server here: apt-get install postgresql" >&2; exit 1; }

top=$(mktemp -d "${TMPDIR:-/tmp}/nearport-pg.XXXXXX")
chmod 711 "$top"
if [ "$(id -u)" = 0 ]; then
  chown postgres "$top"
  # An array, not a function: what it runs in the background is then the server itself, with the id that `$!` says.
  as=(setpriv --reuid=postgres --regid=postgres --init-groups --)
else
  as=(env)
fi
cd "$top"
pid=
# Closed for the server's processes: they must not keep the test waiting for the end of its pipe.
exec 3>&1 1>&2

start() {
  local tries
  for tries in 1 2 3 4 5 6 7 8 9 10; do
    port=${port:-$((20000 + RANDOM % 12000))}
    "${as[@]}" "$bin/postgres" -D "$top/data" -p "$port" -k "$top" -c listen_addresses=127.0.0.1 -c max_connections=200 \
      -c fsync="${NEARPORT_PG_FSYNC:-off}" -c shared_buffers=128MB -c log_min_messages=fatal \
      </dev/null 3>&- 1>>"$top/log" 2>&1 &
    pid=$!
    # 60 s: the machine may be busy with other tests.
    for _ in $(seq 1 600); do
      "$bin/pg_isready" -q -h "$top" -p "$port" && return 0
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.1
    done
    kill -0 "$pid" 2>/dev/null && break
    [ -n "${said:-}" ] || port= # somebody has it; later the test knows it, and it is ours
    sleep 0.1
  done
  cat "$top/log" >&2
  return 1
}
stop() {
  [ -n "$pid" ] || return 0
  kill "-$1" "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
  pid=
}
crash() {
  # The postmaster's children see its end and go too; only then may a new one use their memory.
  stop KILL
  for _ in $(seq 1 600); do
    pgrep -u "$(stat -c %U "$top/data")" -f "$top/data|postgres: .*$port" >/dev/null || break
    sleep 0.05
  done
}
query() { "$bin/psql" -X -q -t -A -h "$top" -p "$port" -U nearport -d nearport -v ON_ERROR_STOP=1 -c "$1" 2>&1 | tr '\n' ';'; }
trap 'stop INT; rm -rf "$top"' EXIT

"${as[@]}" "$bin/initdb" -D "$top/data" -U nearport -A trust -E UTF8 --locale=C.UTF-8 --no-sync >"$top/log"
start
"$bin/psql" -X -q -h "$top" -p "$port" -U nearport -d postgres -c "CREATE DATABASE nearport"
said=yes
echo "ready postgres://nearport@127.0.0.1:$port/nearport" >&3
while read -r command text; do
  case $command in
    schema) echo "ok $(query "CREATE SCHEMA $text")" >&3 ;;
    sql) echo "ok $(query "$text")" >&3 ;;
    stop) stop INT; echo ok >&3 ;;
    start) start; echo ok >&3 ;;
    crash) crash; echo ok >&3 ;;
    *) echo "unknown command: $command" >&2; exit 2 ;;
  esac
done
