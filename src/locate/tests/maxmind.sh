#!/bin/sh
# Fetches MaxMind's test databases, sound and broken ones, into the folder $1: they are part of the source package of
# `geoip2` (Apache-2.0). The folder appears whole or not at all.
set -eu
to=$1
fresh="$to.$$"
trap 'rm -rf "$fresh"' EXIT
mkdir -p "$fresh"
timeout 240 python3 -m pip download --quiet --no-input --disable-pip-version-check --timeout 20 --retries 2 \
    --no-deps --no-binary geoip2 --dest "$fresh" geoip2==4.8.0
# What was published is what is read.
echo "dd9cc180b7d41724240ea481d5d539149e65b234f64282b231b9170794a9ac35  $fresh/geoip2-4.8.0.tar.gz" | sha256sum --check --quiet
tar -xzf "$fresh/geoip2-4.8.0.tar.gz" -C "$fresh" --strip-components=4 geoip2-4.8.0/tests/data/test-data
rm "$fresh/geoip2-4.8.0.tar.gz"
mv "$fresh" "$to"
