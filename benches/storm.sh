#!/usr/bin/env bash
# A server with many clients is killed and comes back: how long until all are in again, what was lost, how much memory it took.
#
#   benches/storm.sh [CLIENTS 10000] [TRANSPORT quic]
clients=${1:-10000} transport=${2:-quic}
source "$(dirname "${BASH_SOURCE[0]}")/server.sh"
start $free
edge=$(sed -n 's/^edge = "\(.*\)"/\1/p' data/run.toml) ops=$(sed -n 's/^ops = "\(.*\)"/\1/p' data/run.toml)
"$program" load storm --connections "$clients" --transport "$transport" --duration 60s --kill-after 10s --notice 1s \
  --restart-cmd "'$program' serve --set edge.listen=$edge --set ops.listen=$ops --set api.listen=127.0.0.1:0 2>>serve.log" \
  --json "$out/$today-storm-$transport.json" --html "$out/$today-storm-$transport.html"
