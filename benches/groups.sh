#!/usr/bin/env bash
# Groups and live rooms: fan-out to members that are online, one stored row per message, what a group takes at its limit; a
# live room of many members with messages between pairs of users beside it.
#
#   benches/groups.sh [MEMBERS OF THE ROOM 20000] [SECONDS 60]
#
# Reports go to benches/results/DATE-{group,group-limit,live}.json. The machine is shared by server and load tool.
members=${1:-20000} seconds=${2:-60}
source "$(dirname "${BASH_SOURCE[0]}")/server.sh"

# load NAME ARGUMENT…: its report, although something may be wrong with it.
load() {
  local name=$1
  shift
  "$program" load "$@" --data data --server-pid "$pid" --duration "${seconds}s" --json "$out/$today-$name.json" ||
    echo "the load says that something is wrong: $name" >&2
}

start $free
load group group --groups 10 --members 2000 --online 200 --rate 10
stop
rm -rf data certs
start $free
load group-limit group --groups 1 --members 2000 --online 200 --rate 40 --hot-rate 60
stop
rm -rf data certs
start $free
load live live --connections "$members" --rate 2 --chat-rate 200
stop
