#!/usr/bin/env bash
# What the trunk costs: CPU per 1:1 message of an edge and its core, beside one process that is both. Rounds alternate; medians.
#
#   benches/trunk.sh [ROUNDS 5] [RATE 2000] [CLIENTS 200] [SECONDS 15]
#
# OTHER: another program, whose edge and core are measured in the same rounds.
rounds=${1:-5} rate=${2:-2000} clients=${3:-200} seconds=${4:-15}
source "$(dirname "${BASH_SOURCE[0]}")/server.sh"

key() { sed -n "s/^$2 = \"\(.*\)\"/\1/p" "$1/data/run.toml"; }

# pair NAME PROGRAM: a core and an edge. Sets ${NAME}_pids.
pair() {
  local name=$1 what=$2
  mkdir "$name-certs"
  (cd "$name-certs" && "$what" trunk ca && "$what" trunk cert core && "$what" trunk cert edge --node 1 &&
    "$what" secret rotate --data shared) >/dev/null
  local certs=$dir/$name-certs/certs/trunk
  start_in "$name-core" "$what" --role core --set ops.listen=127.0.0.1:0 --set api.listen=127.0.0.1:0 --set trunk.listen=127.0.0.1:0 \
    --set trunk.ca="$certs/ca.pem" --set trunk.cert="$certs/core.pem" --set trunk.key="$certs/core-key.pem"
  local core=$pid
  mkdir -p "$name-edge/data"
  cp "$name-certs/shared/secret" "$name-edge/data/secret"
  start_in "$name-edge" "$what" --role edge --set ops.listen=127.0.0.1:0 --set edge.listen=127.0.0.1:0 --set edge.node=1 \
    --set trunk.core="$(key "$name-core" trunk)" \
    --set trunk.ca="$certs/ca.pem" --set trunk.cert="$certs/edge-1.pem" --set trunk.key="$certs/edge-1-key.pem"
  printf -v "${name}_pids" '%s %s' "$core" "$pid"
  { grep -vE '^(server|ca) = ' "$name-core/data/client.toml"
    echo "server = \"$(key "$name-edge" edge)\""
    echo "ca = \"$dir/$name-edge/certs/dev/ca.pem\""; } >"$name-edge/data/client.toml"
}

ticks() { for one in "$@"; do cut -d' ' -f14,15 "/proc/$one/stat"; done | awk '{ sum += $1 + $2 } END { print sum }'; }
median() { sort -n | awk '{ row[NR] = $1 } END { print (NR % 2 ? row[(NR + 1) / 2] : (row[NR / 2] + row[NR / 2 + 1]) / 2) }'; }

# measure NAME DIRECTORY PID…: a line with the microseconds of CPU per message.
measure() {
  local name=$1 where=$2 before after messages
  shift 2
  before=$(ticks "$@")
  "$program" load chat --data "$where/data" --connections "$clients" --rate "$rate" --duration "${seconds}s" \
    --json report.json >/dev/null 2>&1 || { echo "the load on $name failed" >&2; exit 1; }
  after=$(ticks "$@")
  messages=$(python3 -c 'import json; r = json.load(open("report.json")); assert r["lost"] == r["duplicated"] == r["reordered"] == 0, r; print(r["acked"])')
  awk -v t=$((after - before)) -v m="$messages" -v hz="$(getconf CLK_TCK)" 'BEGIN { printf "%.1f\n", 1e6 * t / hz / m }' >>"$name.us"
  echo "$name $(tail -n 1 "$name.us") us of CPU per message, $messages messages"
}

start_in one "$program" $free
one_pids=$pid
pair two "$program"
names="two"
if [ -n "${OTHER:-}" ]; then
  pair other "$(readlink -f "$OTHER")"
  names="two other"
fi
for _ in $(seq "$rounds"); do
  # shellcheck disable=SC2086 # a list of pids
  measure one one $one_pids
  # shellcheck disable=SC2086
  for name in $names; do
    of="${name}_pids"
    measure "$name" "$name-edge" ${!of}
  done
done
for name in one $names; do
  awk -v name="$name" -v us="$(median <"$name.us")" -v one="$(median <one.us)" \
    'BEGIN { printf "median %s %.1f us, ratio to one process %.2f\n", name, us, us / one }'
done
