#!/usr/bin/env bash
# What needs a CUDA device, in one command of at most eight minutes, where the project and EasyEdit's release are installed:
# the tests marked cuda, and benchmarks/on_cuda.py. No network is needed.
#   OUT=out bash benchmarks/cuda.sh
#   bash benchmarks/cuda.sh --device cpu --tiny       # anywhere: does it run?
set -euo pipefail
cd "$(dirname "$0")/.."
out=${OUT:-cuda-out}
mkdir -p "$out"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
if [ $# -eq 0 ]; then
    timeout 180 python -m pytest -q -m cuda tests >"$out/tests.txt" 2>&1 || echo "tests: see $out/tests.txt"
    tail -n 3 "$out/tests.txt"
fi
timeout 300 python benchmarks/on_cuda.py --out "$out/cuda.json" "$@" | tee "$out/cuda.txt"
