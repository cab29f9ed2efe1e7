#!/bin/sh
# Set up Amazon's own DynamoDB Local under .tools/dynamodb-local, once, and print the folder that it is in.
# It comes with the npm package amplify-dynamodb-simulator. Needs npm to fetch it and java to run it.
set -eu

version=2.9.30
tools=$(cd "$(dirname "$0")/.." && pwd)/.tools/dynamodb-local

if [ ! -f "$tools/DynamoDBLocal.jar" ]; then
    mkdir -p "$tools"
    fetched=$(mktemp -d)
    trap 'rm -rf "$fetched"' EXIT
    (cd "$fetched" && npm pack --silent --fetch-retries=1 "amplify-dynamodb-simulator@$version" >/dev/null && tar xzf ./*.tgz)
    cp -R "$fetched/package/emulator/." "$tools/"
fi
echo "$tools"
