#!/usr/bin/env bash
# Clients whose address changes ten times each, on a server with two shards: every session is to live through it, and the kernel is to
# steer every datagram.
#
#   benches/roam.sh [CLIENTS 1000] [TRANSPORT quic] [BY nat|client]
clients=${1:-1000} transport=${2:-quic} by=${3:-nat}
source "$(dirname "${BASH_SOURCE[0]}")/server.sh"
start $free --set edge.shards=2
"$program" load roam --connections "$clients" --transport "$transport" --rebinds 10 --by "$by" --duration 60s \
  --json "$out/$today-roam-$transport-$by.json" --html "$out/$today-roam-$transport-$by.html"
