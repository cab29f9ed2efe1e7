#!/bin/sh
# sam_local.sh [OPTIONS of sam local start-api]
# Build for this machine and run the functions in containers, with DynamoDB Local on this machine, which all of them
# reach. `sam local` cannot stream: what is streamed on AWS comes whole. PORT_OF_DYNAMODB is 8000 if it is not set.
set -eu

cd "$(dirname "$0")/.."
if [ -z "${AWS_ENDPOINT_URL_DYNAMODB:-}" ]; then
    scripts/lambda_image.sh
    scripts/build_here.sh
    exec scripts/with_dynamodb_local.sh "${PORT_OF_DYNAMODB:-8000}" "$0" "$@"
fi

python=.venv/bin/python
built=.aws-sam/here
# No account is asked; these keys are for DynamoDB Local, which takes any.
export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local AWS_DEFAULT_REGION=us-east-1 SAM_CLI_TELEMETRY=0
table=$($python - "$AWS_ENDPOINT_URL_DYNAMODB" $built/template.yaml <<'PYTHON'
import sys
from pathlib import Path

from hector.emulator.tables import make_tables
from hector.emulator.template import load

tables = load(Path(sys.argv[2])).tables
make_tables(sys.argv[1], tables)
print(*tables)
PYTHON
)

# Containers know this machine by a name of Docker's.
store="dynamodb://$table?region=us-east-1&endpoint_url=http://host.docker.internal:${AWS_ENDPOINT_URL_DYNAMODB##*:}"
printf '{"Parameters": {"HECTOR_STORE": "%s", "HECTOR_QUEUE": ""}}\n' "$store" >$built/environment.json
unset AWS_ENDPOINT_URL_DYNAMODB

sam=$(command -v sam || echo .tools/sam/bin/sam)
exec "$sam" local start-api --template $built/template.yaml --env-vars $built/environment.json \
    --parameter-overrides "PythonRuntime=$($python -c 'from hector.emulator.machine import RUNTIME; print(RUNTIME)')" \
    "Architecture=$($python -c 'from hector.emulator.machine import ARCHITECTURE; print(ARCHITECTURE)')" \
    --add-host host.docker.internal:host-gateway \
    --skip-pull-image --warm-containers EAGER --no-watch "$@"
