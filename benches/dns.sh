#!/usr/bin/env bash
# The DNS responder beside gdnsd and knot with their geoip modules: the same zone, the same database, the same queries from
# Debian's dnsperf, each server on one core. Prints a table and JSON.
#
#   benches/dns.sh [--rounds N 5] [--seconds S 10] [--program PATH]
#
# Installs nothing. It needs (Debian): gdnsd knot knot-module-geoip dnsperf python3-venv util-linux; the first time also a Python
# package registry, for a tool that writes the database in the layout that the others read. Files go to target/dns-bench.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

rounds=5 seconds=10 program=target/release/nearport
while [ $# -gt 0 ]; do
  case $1 in
    --rounds) rounds=$2 ;;
    --seconds) seconds=$2 ;;
    --program) program=$2 ;;
    *) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
  shift 2
done

missing=()
for tool in gdnsd knotd dnsperf python3 taskset; do
  command -v "$tool" >/dev/null || missing+=("$tool")
done
ls /usr/lib/*/knot/modules-*/geoip.so >/dev/null 2>&1 || missing+=(knot-module-geoip)
python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
if [ "${#missing[@]}" -gt 0 ]; then
  echo "missing: ${missing[*]}; try: apt-get install gdnsd knot knot-module-geoip dnsperf python3-venv util-linux" >&2
  exit 1
fi
[ -x "$program" ] || { echo "no $program: cargo build --release, or --program PATH" >&2; exit 1; }
[ "$(nproc)" -ge 2 ] || { echo "two cores are the least: one for the server, one for dnsperf" >&2; exit 1; }

work=${CARGO_TARGET_DIR:-target}/dns-bench
mkdir -p "$work"
python=$work/venv/bin/python
if ! "$python" -c 'import maxminddb, mmdb_writer' 2>/dev/null; then
  python3 -m venv "$work/venv" >&2
  "$python" -m pip install --quiet --no-input --disable-pip-version-check mmdb_writer==0.2.7 maxminddb==3.2.0 >&2
fi
"$python" benches/dns/prepare.py "$work" >&2
exec python3 benches/dns/measure.py --work "$work" --program "$program" --rounds "$rounds" --seconds "$seconds"
