"""The CNN attack rehearsed with the right defense and with others: what knowing the defense is worth.

    python experiments/wrong_rehearsal.py ../shared/datasets/imagenette10_96

Kerckhoffs' principle grants the attack the defense's function.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from harness.data.load import load
from harness.leaderboard.format import figure
from harness.randomness import derive, root_of, torch_generator
from harness.records import Records
from harness.registry import bind, load_registry
from harness.run.bench import Bench
from harness.run.scoring import score
from harness.statistics import paired
from harness.system.device import choose_device, device_type, use_threads


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("dataset")
    arguments.add_argument("--limit", type=int, default=2000)
    arguments.add_argument("--size", type=int, default=64)
    arguments.add_argument("--arch", default="mcpherson_face")
    arguments.add_argument("--out", type=Path, default=Path("leaderboards/wrong_rehearsal.md"))
    given = arguments.parse_args()
    registry, device = load_registry(), choose_device("auto")
    use_threads()
    splits = load(given.dataset, size=given.size, limit=given.limit)
    client = Bench(splits, registry, Records.nowhere(), device).client
    attack = registry.get("attacks", "cnn_mcpherson").with_settings({"arch": given.arch})
    target = registry.get("defenses", "pixelize").with_settings({"grid": 16})
    others = {
        "pixelize grid=16 (the right one)": target,
        "shuffle_mix block=8": registry.get("defenses", "shuffle_mix"),
        "none": registry.get("defenses", "none"),
    }
    lines, right = [], None
    for name, rehearsed in others.items():
        observation = replace(client.observe(target, attack, 0), _scheme=client.scheme(rehearsed))
        guess = bind(attack)(observation, torch_generator(derive(root_of(0), "attack", attack.name), "cpu"))
        scores, arrays = score(client, attack, guess, *client.release(target, 0, 0))
        right = arrays["top1"] if right is None else right
        worse = figure(paired(right, arrays["top1"]))
        lines.append(f"| {name} | {figure(scores['top1'])} | {scores['top1']['chance']:.3f} | {worse} |")
        print(lines[-1], flush=True)
    given.out.write_text(
        f"# The attack on `pixelize` grid=16, rehearsed with the right and the wrong defense ({splits.name})\n\n"
        f"cnn, {given.arch}, {given.size} px, {len(splits.private)} private and {len(splits.public)} public images, "
        f"seed 0, {device_type(device)}; mean [95 % interval] over {len(arrays['top1'])} originals.\n\n"
        "| rehearsed with | top-1 | chance | worse than the right one (paired) |\n|---|---|---|---|\n"
        + "\n".join(lines)
        + "\n"
    )


if __name__ == "__main__":
    main()
