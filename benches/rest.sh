#!/usr/bin/env bash
# REST: `openim/sendmsg`, durable, beside a bare axum handler that inserts one row in the same engine: rates, CPU per request, ratios.
#
#   benches/rest.sh [--pairs 5] [--seconds 10] [--connections 64] [--json FILE] …
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec cargo bench --bench rest -- "$@"
