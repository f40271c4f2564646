"""What every ingredient of the restoration brings: `multi_release` with each of them switched off in turn.

    python experiments/restoration_ablation.py ../shared/datasets/imagenette10_96

Rows are written as they come, and those that are there already are kept; --again makes them anew.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.client.client import Client
from harness.data.load import load
from harness.images import to_images
from harness.leaderboard.format import figure, short
from harness.plugins.attacks.linking.link import link
from harness.plugins.attacks.restoration.training import INGREDIENTS
from harness.randomness import derive, root_of, torch_generator
from harness.records import Records
from harness.registry import Entry, bind, load_registry
from harness.report.markdown import grid
from harness.run.bench import Bench
from harness.statistics import paired, summarise
from harness.system.device import choose_device, device_type, low_precision, use_threads

DEFENSES = {"blur_mix": {"kernel": 17}, "shuffle_mix": {"block": 8}, "pixelize_mix": {"grid": 16}}
NAMES = tuple(field.name for field in fields(INGREDIENTS))
SAID = {
    "floats": "solution as floats, not bytes",
    "estimates": "linear estimates beside the solution",
    "corrected": "correction towards what was measured",
    "fresh": "rehearsals repeated while training",
    "augmented": "varied public images",
    "mirrored": "mean with the restored mirror image",
}
ALL, NONE = "all", "none"
ROUNDS = ((ALL, "mirrored", "corrected"), ("estimates",), ("augmented",), (NONE,), ("fresh",), ("floats",))
"""What is switched off, in the order in which it is measured; what comes after a network shares the training before."""
HEADS = ("defense", "without", "dSSIM after attack", "more than with all (paired)", "dHaar after attack", "CPU-seconds")
KEPT = "steps", "finish", "held_out_dssim"
"""Facts of the training that a row keeps."""
CHUNK = 64


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("dataset")
    arguments.add_argument("--limit", type=int, default=500)
    arguments.add_argument("--size", type=int, default=64)
    arguments.add_argument("--epochs", type=int, default=10)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--again", action="store_true")
    arguments.add_argument("--out", type=Path, default=Path("leaderboards/restoration_ablation.md"))
    given = arguments.parse_args()
    registry, device = load_registry(), choose_device("auto")
    use_threads(given.threads)
    splits = load(given.dataset, size=given.size, limit=given.limit)
    client = Bench(splits, registry, Records.nowhere(), device, epochs=given.epochs).client
    kept = given.out.with_suffix(".json")
    rows = json.loads(kept.read_text()) if kept.exists() and not given.again else {}
    precision = "bfloat16" if low_precision(device) else "float32"
    text = (
        f"`multi_release` as in `experiments/board.yaml` on {splits.name}: {given.size} px, {given.epochs} epochs, "
        f"seed {given.seed}, {len(splits.private)} private and {len(splits.public)} public images; "
        f"{device_type(device)}, {given.threads} thread, convolutions in {precision}. Mean [95 % interval over "
        f"{len(splits.private)} originals; this training only], lower is a stronger attack. CPU-seconds of rehearsals, "
        "training and restoration, without linking; the mirrored mean and the correction share the training of the "
        "first row, and are used where they lower the dSSIM of held-out public rehearsals (second table).\n"
    )
    for offs in ROUNDS:
        for name, knobs in DEFENSES.items():
            missing = offs if any(f"{name} {off}" not in rows for off in offs) else ()
            for off, row in measured(client, registry.get("defenses", name).with_settings(knobs), given.seed, missing):
                rows[f"{name} {off}"] = row
                kept.write_text(json.dumps(rows) + "\n")
                given.out.write_text(page(rows, text))
                print(name, off, f"{np.mean(row['dssim']):.4f} {row['seconds']:.1f} s", flush=True)


def measured(client: Client, defense: Entry, seed: int, offs: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The figures of every row: distances of the best candidate to the dominant original."""
    if not offs:
        return
    attack = client.registry.get("attacks", "multi_release")
    observation = client.observe(defense, attack, seed)
    originals = client.originals(client.release(defense, seed, 0)[1].dominant_rows[observation.targets])
    metrics = {name: bind(client.registry.get("metrics", name)) for name in ("dssim", "dhaar")}
    link(observation)  # once for all rows
    for off in offs:
        start = time.process_time()
        with without(NAMES if off == NONE else (off,)):
            guess = bind(attack)(observation, torch_generator(derive(root_of(seed), "attack", attack.name), "cpu"))
        seconds = time.process_time() - start
        distances = {
            name: nearest(metric, guess.candidates[: len(originals)], originals) for name, metric in metrics.items()
        }
        yield off, {**distances, "seconds": round(seconds, 1), **{name: guess.report.get(name) for name in KEPT}}


@contextmanager
def without(names: tuple[str, ...]) -> Iterator[None]:
    """These ingredients switched off; ALL is no ingredient."""
    for name in set(names) - {ALL}:
        setattr(INGREDIENTS, name, False)
    try:
        yield
    finally:
        for name in NAMES:
            setattr(INGREDIENTS, name, True)


def nearest(metric: Any, candidates: torch.Tensor, originals: torch.Tensor) -> list[float]:
    """(n,) distance of the best candidate."""
    parts = []
    for start in range(0, len(candidates), CHUNK):
        guesses, truth = candidates[start : start + CHUNK], to_images(originals[start : start + CHUNK])
        each = [metric(to_images(guesses[:, place]).to(truth), truth) for place in range(guesses.shape[1])]
        parts.append(torch.stack(each).amin(0))
    return [round(float(value), 5) for value in torch.cat(parts)]


def page(rows: Mapping[str, Any], text: str) -> str:
    lines = []
    for name, knobs in DEFENSES.items():
        full = rows.get(f"{name} {ALL}")
        for off in (ALL, *SAID, NONE):
            row = rows.get(f"{name} {off}")
            if row is None:
                continue
            said = {ALL: "(nothing left out)", NONE: "any of them"}.get(off) or SAID[off]
            more = "" if full is None or off == ALL else figure(paired(np.array(row["dssim"]), np.array(full["dssim"])))
            shown = " ".join([name, *(f"{knob}={value}" for knob, value in knobs.items())])
            scores = [figure(summarise(np.array(row[score]))) for score in ("dssim", "dhaar")]
            lines.append((shown, said, scores[0], more, scores[1], f"{row['seconds']:.0f}"))
    title = "# What every ingredient of the restoration brings"
    return "\n".join([title, "", text, *grid(HEADS, lines), *finishes(rows)])


def finishes(rows: Mapping[str, Any]) -> list[str]:
    """The dSSIM of held-out rehearsals by which each defense's mirrored mean and correction were chosen."""
    found = {name: row["held_out_dssim"] for name in DEFENSES if (row := rows.get(f"{name} {ALL}", {})).get("finish")}
    tried = list(next(iter(found.values()), {}))
    lines = [(name, *(short(scores[each]) for each in tried)) for name, scores in found.items()]
    return ["Mean dSSIM of held-out public rehearsals; the least is used:", "", *grid(("defense", *tried), lines)]


if __name__ == "__main__":
    main()
