"""The cost of `multi_release`: seconds and memory against the number of originals N and of epochs T.

    python experiments/linking_cost.py ../shared/datasets/cifar10

Every point runs in its own process: the attack alone is timed (wall and CPU), memory is the peak of the process with
the releases that it maps. Writes a table and a figure.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

POINTS = ((500, 20), (1000, 5), (1000, 10), (1000, 20), (2000, 20), (4000, 20), (6000, 20))
HEADS = ("N", "T", "seconds", "CPU seconds", "peak GiB", "dSSIM: look", "dSSIM after attack", "unexplained")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("dataset")
    arguments.add_argument("--defense", default="noise_mix")
    arguments.add_argument("--size", type=int, default=64)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--point", type=int, nargs=2, help="measure this N and T and print one line of JSON")
    arguments.add_argument("--points", help="as 500x20,1000x5")
    arguments.add_argument("--out", type=Path, default=Path("leaderboards/linking_cost.md"))
    given = arguments.parse_args()
    if given.point:
        print(json.dumps(measure(given, *given.point)))
        return
    points = [tuple(map(int, text.split("x"))) for text in given.points.split(",")] if given.points else POINTS
    found = []
    for originals, epochs in points:
        command = [sys.executable, __file__, given.dataset, "--point", str(originals), str(epochs)]
        command += ["--defense", given.defense, "--size", str(given.size), "--threads", str(given.threads)]
        found.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        print(found[-1], flush=True)
        write(given, found)


def measure(given: argparse.Namespace, originals: int, epochs: int) -> dict[str, Any]:
    from harness.client.client import Client
    from harness.data.load import load
    from harness.randomness import derive, root_of, torch_generator
    from harness.registry import bind, load_registry
    from harness.run.scoring import score
    from harness.system.device import choose_device, use_threads

    use_threads(given.threads)
    registry, device = load_registry(), choose_device("auto")
    client = Client(load(given.dataset, size=given.size, limit=originals), registry, device, epochs, 500)
    defense, attack = registry.get("defenses", given.defense), registry.get("attacks", "multi_release")
    observation = client.observe(defense, attack, 0)
    wall, cpu = time.perf_counter(), time.process_time()
    guess = bind(attack)(observation, torch_generator(derive(root_of(0), "attack", attack.name), device))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    release, secret = client.release(defense, 0, 0)
    attacked, _ = score(client, attack, guess, release, secret)
    released, _ = score(client, registry.get("attacks", "look"), _look(guess, observation), release, secret)
    return {
        "N": len(client.splits.private),
        "T": epochs,
        "seconds": round(wall, 1),
        "CPU seconds": round(cpu, 1),
        "peak GiB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "dSSIM: look": round(released["attacked_dssim"]["mean"], 3),
        "dSSIM after attack": round(attacked["attacked_dssim"]["mean"], 3),
        "unexplained": round(guess.report["unexplained"], 4),
    }


def _look(guess: Any, observation: Any) -> Any:
    return type(guess)(candidates=observation.images[observation.targets][:, None])


def write(given: argparse.Namespace, found: list[dict[str, Any]]) -> None:
    from harness.report.markdown import grid

    given.out.write_text(
        "\n".join(
            [
                "# The cost of linking",
                "",
                f"`multi_release` on `{given.defense}`, {Path(given.dataset).name} at {given.size} px, {given.threads} "
                "thread(s), one seed. Seconds are of the attack, from the releases to the reconstructions of 500 "
                "targets, with the training of its network (whose length hardly depends on N and T).",
                "",
                *grid(HEADS, [[str(point[head]) for head in HEADS] for point in found]),
                f"![cost against N and T]({given.out.with_suffix('.png').name})",
                "",
            ]
        )
    )
    draw(found, given.out.with_suffix(".png"))


def draw(found: list[dict[str, Any]], file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 3, figsize=(10.5, 3.2), layout="constrained")
    most = max(point["T"] for point in found)
    by_n = sorted((p for p in found if p["T"] == most), key=lambda p: p["N"])
    by_t = sorted((p for p in found if p["N"] == _commonest(found)), key=lambda p: p["T"])
    for panel, points, over, value in (
        (panels[0], by_n, "N", "CPU seconds"),
        (panels[1], by_n, "N", "peak GiB"),
        (panels[2], by_t, "T", "CPU seconds"),
    ):
        panel.plot([p[over] for p in points], [p[value] for p in points], "o-", color="#0b5394")
        panel.set_ylim(bottom=0)
        panel.set_xlim(left=0)
        fixed = f"T = {most}" if over == "N" else f"N = {_commonest(found)}"
        panel.set_xlabel(f"{'originals N' if over == 'N' else 'epochs T'}  ({fixed})")
        panel.set_ylabel(value)
        panel.grid(alpha=0.3)
    figure.savefig(file, dpi=150)
    pyplot.close(figure)


def _commonest(found: list[dict[str, Any]]) -> int:
    sizes = [point["N"] for point in found]
    return max(set(sizes), key=sizes.count)


if __name__ == "__main__":
    main()
