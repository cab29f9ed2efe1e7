#!/bin/sh
# with_dynamodb_local.sh PORT COMMAND...
# Run a command while DynamoDB Local listens on this port, empty at first. Sets AWS_ENDPOINT_URL_DYNAMODB for it.
# DynamoDB Local listens on every address of the machine; it has no option for fewer.
set -eu

port=$1
shift
folder=$("$(dirname "$0")/dynamodb_local.sh")
command -v java >/dev/null || { echo "DynamoDB Local needs java; on Debian and Ubuntu: apt install default-jre-headless" >&2; exit 1; }

# -sharedDb: one set of tables for every access key and region.
(cd "$folder" && exec java -Djava.library.path=DynamoDBLocal_lib -jar DynamoDBLocal.jar \
    -inMemory -sharedDb -port "$port" >/dev/null 2>&1) &
engine=$!
trap 'kill $engine 2>/dev/null || true' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

waited=0
until curl -s -o /dev/null "http://127.0.0.1:$port"; do
    kill -0 $engine 2>/dev/null || { echo "DynamoDB Local did not start: is port $port taken?" >&2; exit 1; }
    waited=$((waited + 1))
    [ $waited -lt 150 ] || { echo "DynamoDB Local does not answer on port $port." >&2; exit 1; }
    sleep 0.2
done

AWS_ENDPOINT_URL_DYNAMODB=http://127.0.0.1:$port "$@"
