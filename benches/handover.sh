#!/usr/bin/env bash
# The server is replaced again and again under load; nobody is to notice.
#
#   benches/handover.sh [TIMES 100] [TRANSPORT quic] [SECONDS between two hand-overs 5]
times=${1:-100} transport=${2:-quic} pause=${3:-5}
source "$(dirname "${BASH_SOURCE[0]}")/server.sh"
start $free --set drain.within=4s
"$program" load chat --connections 200 --rate 1000 --transport "$transport" --duration "$((times * (pause + 1) + 10))s" \
  --server-pid "$pid" --json "$out/$today-handover-$transport.json" &
load=$!
pids+=("$load")
done=0
for _ in $(seq "$times"); do
  sleep "$pause"
  kill -0 "$load" 2>/dev/null || break
  start --take-over $free --set drain.within=4s
  done=$((done + 1))
done
# An end of the load before its time is told by its own status.
kill -INT "$load" 2>/dev/null || true
status=0
wait "$load" || status=$?
echo "$done hand-overs; sessions dropped: see reconnects and first_error of the report" >&2
[ "$done" = "$times" ] && exit "$status"
echo "the load ended before the last of $times" >&2
exit 1
