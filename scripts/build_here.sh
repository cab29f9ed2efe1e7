#!/bin/sh
# Build the functions and layers for this machine and its Python, beside the build that is deployed: .aws-sam/here.
set -eu

cd "$(dirname "$0")/.."
python=.venv/bin/python
architecture=$($python -c 'from hector.emulator.machine import ARCHITECTURE; print(ARCHITECTURE)')
runtime=$($python -c 'from hector.emulator.machine import RUNTIME; print(RUNTIME)')
# The layers' Makefiles call python3: the one below the virtual environment, because it has pip.
PATH=$($python -c 'import sys; print(sys.base_prefix)')/bin:$PATH
export PATH SAM_CLI_TELEMETRY=0
sam=$(command -v sam || echo .tools/sam/bin/sam)

echo "Building for $runtime on $architecture in .aws-sam/here" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! "$sam" build --build-dir .aws-sam/here \
    --parameter-overrides "PythonRuntime=$runtime" "Architecture=$architecture" >"$log" 2>&1; then
    cat "$log" >&2
    exit 1
fi
