# For the scripts beside it: a server of its own in a directory of its own, gone with the script.
#
# NEARPORT: the program [target/release/nearport, built if it is not there]. OUT: where reports go [benches/results].

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
program=${NEARPORT:-$root/target/release/nearport}
out=${OUT:-$root/benches/results}
[ -x "$program" ] || (cd "$root" && cargo build --release)
program=$(readlink -f "$program")
mkdir -p "$out"
out=$(readlink -f "$out")
today=$(date -u +%Y-%m-%d)
dir=$(mktemp -d "$root/target/server-XXXXXX")
cd "$dir"
pids=()

leave() {
  for pid in "${pids[@]}"; do kill -9 "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  [ -z "${KEEP_LOG:-}" ] || cp serve.log "$KEEP_LOG"
  rm -rf "$dir"
}
trap leave EXIT

# start_in DIRECTORY PROGRAM [ARGUMENT…]: `serve` there with these arguments; returns when it is ready. Sets $pid.
start_in() {
  local where=$1 what=$2
  shift 2
  mkdir -p "$where"
  : >"$where/greeting"
  (cd "$where" && exec "$what" serve "$@" >greeting 2>>serve.log) &
  pid=$!
  pids+=("$pid")
  disown "$pid" # a server that is killed on purpose is no news
  for _ in $(seq 600); do
    # The last lines of a node, of a core and of an edge.
    grep -qE "Server, CA, app and key|waits for edges on|of the core at" "$where/greeting" && return
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  echo "the server did not get ready:" >&2
  tail -n 5 "$where/serve.log" >&2
  exit 1
}

# start [ARGUMENT…]: the same in the script's own directory, with $program.
start() { start_in . "$program" "$@"; }

# stop: ends the server that start has started.
stop() {
  kill "$pid"
  while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
}

free="--set edge.listen=127.0.0.1:0 --set ops.listen=127.0.0.1:0 --set api.listen=127.0.0.1:0"
