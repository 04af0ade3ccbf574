#!/bin/sh
# Callbacks at the size that is promised: 10,000 events with the back end down for a minute and the server killed twice, and how long a question
# to a back end that hangs or is late holds a message up (2 s, within 0.2 s). Prints what it saw. Wants a quiet machine.
#
#     benches/callbacks.sh            release build
#     PROFILE= benches/callbacks.sh   debug build: whether it works
set -eu
cd "$(dirname "$0")/.."
export NEARPORT_OUTAGE_S="${NEARPORT_OUTAGE_S:-60}"
# shellcheck disable=SC2086
cargo test ${PROFILE-"--release"} --test it -- --nocapture --test-threads=1 \
  callbacks::after::nothing_is_lost callbacks::before::a_back_end_refuses
