#!/usr/bin/env bash
# All checks that need a CUDA machine, in one call of under ten minutes: the tests marked `gpu`, every defense and metric
# on both devices with the same draws, and an epoch at the paper's size. Prints one table and writes benchmarks/gpu.md.
#   benchmarks/gpu.sh                                      22,800 synthetic images of 256 px
#   benchmarks/gpu.sh --dataset FOLDER                     or real ones
#   benchmarks/gpu.sh --device cpu --images 96 --size 64   only checks that the script runs
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PYTHONPATH=$PWD exec python3 -m benchmarks.gpu "$@"
