#!/usr/bin/env bash
# Every defense to right above the paper's threshold, dSSIM .66, on the release of 500 images of 96 px; a minute or two.
# Then the page of leaderboards/; finished values are skipped.
#   experiments/tune.sh ../shared/datasets [leaderboards]
set -euo pipefail
datasets=${1:?the folder with imagenette10_96}
boards=${2:-leaderboards}

harness tune --defense all --then weights --target dssim=0.66 --dataset "$datasets/imagenette10_96" --size 96 \
    --limit 500 --targets 500 --records "$boards/tuned" --out "$boards/tuned_imagenette10_96.md"
