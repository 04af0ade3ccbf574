#!/usr/bin/env bash
# An import of a million messages in one command, killed on its way and begun again: rate, memory, verification.
#
#   benches/import.sh [MESSAGES]        NEARPORT, OUT as in server.sh
#
# 20,000 accounts, 1,000 groups of 20, half of the messages in groups and half in pairs, each of 200 bytes of text. The rate of the
# whole import comes from a run without a kill, into another store; memory is the largest of it.
. "$(dirname "${BASH_SOURCE[0]}")/server.sh"
messages=${1:-1000000}

echo "writing $messages messages"
mkdir files
awk -v messages="$messages" -v now="$(date +%s)" '
  BEGIN {
    text = sprintf("%200s", ""); gsub(/ /, "x", text)
    for (n = 0; n < 20000; n++) printf "{\"kind\":\"account\",\"UserID\":\"u%d\"}\n", n > "files/accounts.jsonl"
    for (n = 0; n < 1000; n++) {
      printf "{\"kind\":\"group\",\"GroupId\":\"g%d\",\"Type\":\"Public\",\"Name\":\"G%d\",\"Owner_Account\":\"u%d\",\"CreateTime\":%d}\n",
        n, n, n * 20, now - 600000 > "files/groups.jsonl"
      for (m = 0; m < 20; m++)
        printf "{\"kind\":\"member\",\"GroupId\":\"g%d\",\"Member_Account\":\"u%d\",\"JoinTime\":%d}\n",
          n, n * 20 + m, now - 599000 > "files/members.jsonl"
    }
    body = "\"MsgBody\":[{\"MsgType\":\"TIMTextElem\",\"MsgContent\":{\"Text\":\"" text "\"}}]}"
    for (n = 0; n < messages; n++) {
      at = now - 500000 + int(n * 490000 / messages)
      group = n % 1000; from = (n * 7) % 20000
      if (n % 2) printf "{\"kind\":\"message\",\"From_Account\":\"u%d\",\"To_Account\":\"u%d\",\"MsgSeq\":%d,\"MsgRandom\":%d,\"MsgTimeStamp\":%d,%s\n",
        from, (from + 1 + n % 5) % 20000, n, n, at, body > "files/messages.jsonl"
      else printf "{\"kind\":\"group_message\",\"GroupId\":\"g%d\",\"From_Account\":\"u%d\",\"SendTime\":%d,\"Random\":%d,%s\n",
        group, group * 20 + n % 20, at, n, body > "files/messages.jsonl"
    }
  }'
du -h files/messages.jsonl | cut -f1

# import DIRECTORY REPORT: one into the store there, in the background. Sets $pid.
import() {
  mkdir -p "$1"
  [ -e "$1/directory.db" ] || "$program" app create --data "$1" --id 1400000000 >/dev/null
  "$program" import files --data "$1" --app 1400000000 --report "$2" >/dev/null 2>"$1.log" &
  pid=$!
  pids+=("$pid")
  disown "$pid"
}

# finished: waits for it, and says how much memory it had at most, in KiB.
finished() {
  local peak=0 now
  while kill -0 "$pid" 2>/dev/null; do
    now=$(awk '/VmHWM/ { print $2 }' "/proc/$pid/status" 2>/dev/null || true)
    [ -z "$now" ] || peak=$now
    sleep 0.2
  done
  echo "memory at most: $peak KiB"
}

echo "killed on its way, and begun again"
import killed killed.json
until awk -v want=$((messages * 2 / 5)) '/^messages: / && $2 >= want { found = 1 } END { exit !found }' killed.log; do
  kill -0 "$pid" 2>/dev/null || { tail -n 5 killed.log >&2; exit 1; }
  sleep 0.05
done
kill -9 "$pid"
while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
tail -n 1 killed.log
import killed killed.json
finished
cat killed.json
grep -q '"equal": true' killed.json && grep -q '"resumed": true' killed.json || { tail -n 5 killed.log >&2; exit 1; }

echo "in one go"
import whole whole.json
finished
cat whole.json
grep -q '"equal": true' whole.json || { tail -n 5 whole.log >&2; exit 1; }
[ "$(grep '"digest_store"' killed.json)" = "$(grep '"digest_store"' whole.json)" ] || { echo "the stores differ" >&2; exit 1; }
cp whole.json "$out/$today-import.json"
