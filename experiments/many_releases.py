"""What the releases of T epochs give away: `multi_release` on every defense, beside smoothing and the oracle.

    python experiments/many_releases.py ../shared/datasets/cats_vs_dogs

Pairing and roles are hidden from the attack; the defense and its settings are known to it. Writes a table and, where
`--sheet FILE.png` asks for it, a contact sheet: originals, their releases and what the best of the attacks makes of
them. A sheet holds images of the data set: images that are for research only do not belong in this repository.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from harness.data.load import load
from harness.leaderboard.format import figure
from harness.randomness import derive, root_of, torch_generator
from harness.records import Records, RunResult
from harness.registry import bind, load_registry
from harness.registry.settings import format_setting
from harness.report.markdown import grid
from harness.run.bench import Bench
from harness.system.device import choose_device, device_type, use_threads

DRAWN = [[0.5, 0.5], [0.6, 0.4], [0.7, 0.3]]
CASES = (
    ("mix", {"weights": [0.75, 0.25]}),
    ("mix", {"weights": [0.5, 0.5]}),
    ("mix", {"weights": DRAWN}),
    ("noise_mix", {"weights": [0.75, 0.25]}),
    ("noise_mix", {"weights": [0.5, 0.5]}),
    ("noise_mix", {"weights": DRAWN}),
    ("shuffle_mix", {"block": 4}),
    ("shuffle_mix", {"block": 8}),
    ("pixelize_mix", {}),
    ("blur_mix", {}),
    ("graft_mix", {}),
)
ATTACKS = ("smooth", "multi_release", "oracle")
HEADS = ("defense", "settings", "look", "smooth", "multi_release", "oracle", "dHaar: look", "dHaar: smooth")
HEADS += ("dHaar: multi_release", "re-identified: look", "re-identified: multi_release", "seconds", "n")
SHOWN, TILE = 6, 72


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("dataset")
    arguments.add_argument("--limit", type=int, default=500)
    arguments.add_argument("--size", type=int, default=64)
    arguments.add_argument("--epochs", type=int, default=20)
    arguments.add_argument("--threads", type=int)
    arguments.add_argument("--records", type=Path, default=Path("leaderboards/many_releases/records"))
    arguments.add_argument("--out", type=Path, default=Path("leaderboards/many_releases.md"))
    arguments.add_argument("--sheet", type=Path, metavar="FILE")
    given = arguments.parse_args()
    registry, device, threads = load_registry(), choose_device("auto"), use_threads(given.threads)
    splits = load(given.dataset, size=given.size, limit=given.limit)
    bench = Bench(splits, registry, Records(given.records), device, given.epochs, threads=threads)
    lines, strips = [], []
    for name, settings in CASES:
        entry = registry.get("defenses", name).with_settings(settings)
        release = bench.release(entry, 0)
        cells = {attack: bench.attack(entry, registry.get("attacks", attack), 0) for attack in ATTACKS}
        lines.append((name, _format_settings(entry.params, settings), *_figures(release, cells)))
        print(*lines[-1], sep=" | ", flush=True)
        _write(given.out, lines, bench, given.dataset, device_type(device))
        if given.sheet:
            strips.append(_strip(bench, entry, f"{name} {_format_settings(entry.params, settings)}"))
            _sheet(strips, given.sheet)


def _format_settings(params: dict[str, object], settings: dict[str, object]) -> str:
    whole = {**params, **settings}
    return " ".join(f"{knob}={format_setting(value)}" for knob, value in whole.items() if knob != "noise_after")


def _figures(release: RunResult, cells: dict[str, RunResult]) -> list[str]:
    def of(attack: str, score: str) -> str:
        cell = cells[attack]
        return figure(cell.scores[score]) if cell.status == "ok" else f"{cell.status}: {cell.reason}"

    linked = cells["multi_release"]
    return [
        figure(release.scores["dssim"]),
        *(of(attack, "attacked_dssim") for attack in ATTACKS),
        figure(release.scores["dhaar"]),
        of("smooth", "attacked_dhaar"),
        of("multi_release", "attacked_dhaar"),
        figure(release.scores["reid_rank1"]),
        of("multi_release", "reid_rank1"),
        f"{linked.seconds:.0f}",
        str(release.scores["dssim"]["n"]),
    ]


def _write(out: Path, lines: list[tuple[str, ...]], bench: Bench, dataset: str, device: str) -> None:
    data = bench.splits
    height, width = data.size
    text = [
        f"# {bench.epochs} epochs of releases",
        "",
        f"{Path(dataset).name}: {len(data.private)} private and {len(data.public)} public images of {height}x{width}, "
        f"{bench.epochs} epochs, one seed, {device}. Mean [95 % interval] of dSSIM (dHaar where said) to the dominant "
        "original of the release of one epoch, after smoothing it, and after linking all of them; re-identified: "
        f"rank-1 among {len(bench.client.gallery)} images. The oracle is given the pairing, and uses the same network. "
        "Seconds: of `multi_release`, with the training of that network.",
        "",
        *grid(HEADS, lines),
    ]
    out.write_text("\n".join(text))


def _strip(bench: Bench, entry, title: str) -> tuple[str, list[np.ndarray]]:  # type: ignore[no-untyped-def]
    """Three rows of pictures: originals, releases, reconstructions by multi_release (dominant source, or nearest)."""
    attack = bench.registry.get("attacks", "multi_release")
    observation = bench.client.observe(entry, attack, 0)
    rng = torch_generator(derive(root_of(0), "attack", attack.name), bench.device)
    guess = bind(attack)(observation, rng)
    release, secret = bench.client.release(entry, 0, 0)
    rows, units = bench.client.scored(secret)
    first = np.argsort(units, kind="stable")[:SHOWN]
    originals = bench.client.originals(units[first])
    candidates = guess.candidates[torch.from_numpy(first)].float()
    near = (candidates - originals[:, None].float()).square().mean((2, 3, 4)).argmin(1)
    found = candidates[torch.arange(len(first)), near].to(torch.uint8)
    stacks = (originals, release.images[torch.from_numpy(rows[first])], found)
    return title, [np.concatenate(list(stack.permute(0, 2, 3, 1).numpy()), 1) for stack in stacks]


def _sheet(strips: list[tuple[str, list[np.ndarray]]], file: Path) -> None:
    """Every defense a line: the title, then originals, releases, reconstructions side by side."""
    gap, head = 10, 18
    width = 3 * SHOWN * TILE + 2 * gap
    sheet = Image.new("RGB", (width, len(strips) * (TILE + head) + head), "white")
    pen = ImageDraw.Draw(sheet)
    for place, name in enumerate(("originals", "releases of one epoch", "after linking every epoch")):
        pen.text((place * (SHOWN * TILE + gap), 3), name, fill="black")
    for line, (title, rows) in enumerate(strips):
        top = head + line * (TILE + head)
        pen.text((0, top + 3), title, fill="black")
        for place, row in enumerate(rows):
            picture = Image.fromarray(row).resize((SHOWN * TILE, TILE), Image.Resampling.BICUBIC)
            sheet.paste(picture, (place * (SHOWN * TILE + gap), top + head))
    sheet.save(file)


if __name__ == "__main__":
    main()
