#!/usr/bin/env bash
# The server is replaced again and again under 1,000 messages a second; nobody is to notice. Clients of all transports at once.
#
#   benches/handover.sh [TIMES 100] [SECONDS between two hand-overs 12] [TRANSPORT… quic tls]
#
# 12 s: a client that was sent away less than 10 s ago takes its time when it is asked again, and the old process goes after 2 s.
times=${1:-100} pause=${2:-12}
shift $(($# < 2 ? $# : 2))
[ $# -gt 0 ] || set -- quic tls
source "$(dirname "${BASH_SOURCE[0]}")/server.sh"
settings="$free --set drain.within=2s"
start $settings
loads=()
for transport in "$@"; do
  "$program" load chat --connections "$((200 / $#))" --rate "$((1000 / $#))" --transport "$transport" --users "$transport" \
    --duration "$((times * (pause + 2) + 60))s" --json "$out/$today-handover-$transport.json" &
  loads+=($!)
  pids+=($!)
done
done=0
for _ in $(seq "$times"); do
  sleep "$pause"
  kill -0 "${loads[@]}" 2>/dev/null || break
  start --take-over $settings
  done=$((done + 1))
done
# An end of the load before its time is told by its own status.
kill -INT "${loads[@]}" 2>/dev/null || true
status=0
for load in "${loads[@]}"; do wait "$load" || status=$?; done
echo "$done hand-overs; sessions dropped: reconnects of the reports" >&2
[ "$done" = "$times" ] && exit "$status"
echo "the load ended before the last of $times" >&2
exit 1
