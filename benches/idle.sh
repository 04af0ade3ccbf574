#!/usr/bin/env bash
# Memory of a session that says nothing, for each transport, each on a fresh server.
#
#   benches/idle.sh [CLIENTS 10000] [TRANSPORT…]
clients=${1:-10000}
shift || true
[ $# -gt 0 ] || set -- quic tls ws wt
source "$(dirname "${BASH_SOURCE[0]}")/server.sh"
for transport in "$@"; do
  rm -rf data
  start $free
  "$program" load idle --connections "$clients" --transport "$transport" --duration 20s --json "$out/$today-idle-$transport.json"
  stop
done
