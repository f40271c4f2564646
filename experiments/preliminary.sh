#!/usr/bin/env bash
# Six schemes against the CNN attack on real photographs, with utility: 64 px, 2,000 private images, 10 epochs, one seed.
# Preliminary: a published row takes three seeds, every attack and the paper's size. Finished cells are skipped.
#   experiments/preliminary.sh ../shared/datasets leaderboards/records
set -euo pipefail
datasets=${1:?the folder with cats_vs_dogs and imagenette10_96}
records=${2:-leaderboards/records}

# The paper's knobs at 256 px, scaled by 64/256: block 8 -> 2; grid and sigma are kept.
for dataset in cats_vs_dogs imagenette10_96; do
    run() { harness run --attack cnn --dataset "$datasets/$dataset" --size 64 --limit 2000 --epochs 10 --records "$records" "$@"; }
    run --defense none
    run --defense noise_mix -D sigma=20
    run --defense shuffle_mix -D block=2
    run --defense mix -D weights=0.75,0.25
    run --defense pixelize_mix -D grid=16
    run --defense pixelize -D grid=16
done

# A stronger reader than the network of 2016, on all of imagenette10_96 (no utility).
for defense in none noise_mix "shuffle_mix -D block=2"; do
    # shellcheck disable=SC2086  (a defense and its knobs)
    harness run --attack cnn -A arch=resnet18 -A train_epochs=30 --dataset "$datasets/imagenette10_96" --size 64 \
        --no-utility --records "$records" --defense $defense
done
