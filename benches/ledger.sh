#!/usr/bin/env bash
# The ledger through its trait beside bare fjall and bare tokio-postgres with the same rows, and reads of both engines.
#
#   benches/ledger.sh [ARGUMENT OF ledger_rows …]
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cargo build --release -p nearport-store --example ledger_rows --manifest-path "$root/Cargo.toml"
bench=${CARGO_TARGET_DIR:-$root/target}/release/examples/ledger_rows
coproc server { NEARPORT_PG_FSYNC=on exec bash "$root/tests/postgres/server.sh"; }
read -r _ready url <&"${server[0]}"
"$bench" --postgres "$url" --dir "$root/target" "$@"
exec {server[1]}>&-
wait
