"""The planted defenses: dSSIM of the release, after attacks, after `auto`, and after the decoder that breaks each.

    python experiments/planted.py [--only NAME ...]

60 photographs of 32 px of the data set `photos`, 114 public ones, one key. Of the earlier ensemble the members that
apply to every defense and do not train: `smooth`, `denoise_tuned` and `levels` (brightness and contrast); the best of
them by the truth is shown. `auto` as it is, except that a network takes at least 100 steps instead of 1,000, which is
enough at 32 px. Resumes from leaderboards/planted.jsonl, and writes leaderboards/planted.md.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

from harness.errors import Inapplicable, NotConverged
from harness.plugins.attacks.auto import auto
from harness.plugins.attacks.denoise import denoise_tuned
from harness.plugins.attacks.ensemble.brightness_contrast import brightness_contrast
from harness.plugins.attacks.smooth import smooth
from harness.randomness import derive, torch_generator
from harness.registry import load_registry
from harness.train import convergence
from tests.planted.data import Attacked, distances, measured, observed, photographs
from tests.planted.schemes import PLANTED, SOUND
from tests.planted.table import Planted, as_released

SIZE, STEPS = 32, 100
CLOSE = 0.1  # dSSIM of `auto` above the decoder's that counts as found
FOLDER = Path(__file__).parents[1] / "leaderboards"
EARLIER = {"smooth": smooth, "denoise_tuned": denoise_tuned, "levels": brightness_contrast}


def row(name: str, planted: Planted | None) -> dict[str, Any]:
    """The figures of one scheme; of a sound one (planted None) without a decoder."""
    scheme = planted or Planted(SOUND[name], "sound", "none: nothing is released", as_released)
    attacked = observed(scheme, photographs(SIZE))
    shown = attacked.observation.images[attacked.observation.targets]
    figures = {"scheme": name, "kind": scheme.kind, "broken_by": scheme.broken_by, "release": near(shown, attacked)}
    attacks = load_registry().section("attacks")
    for attack, function in EARLIER.items():
        params = attacks[attack].params if attack in attacks else {}
        figures[attack] = after(partial(function, **params), attacked)[0]
    start = time.process_time()
    figures["auto"], report = after(auto, attacked)
    figures["seconds"] = round(time.process_time() - start, 1)
    figures["found"], figures["chosen"] = report.get("found", []), report.get("chosen", [])
    if planted:
        figures["decoder"] = near(planted.decode(shown, attacked.context), attacked)
        figures["measured"] = measured(planted, attacked)
    return figures


def near(candidates: torch.Tensor, attacked: Attacked) -> float:
    return float(distances(candidates, attacked.originals).mean())


def after(attack: Any, attacked: Attacked) -> tuple[float | None, dict[str, Any]]:
    """Mean dSSIM of the best candidate for each release 0; None where the attack does not apply."""
    seen = attacked.observation
    try:
        guess = attack(seen, torch_generator(derive(b"", "planted experiment"), "cpu"))
    except (Inapplicable, NotConverged) as reason:
        return None, {"found": [str(reason)]}
    originals = attacked.originals
    if guess.releases is not None:  # the rows that answer for release 0
        places = guess.releases if isinstance(guess.releases, torch.Tensor) else torch.as_tensor(guess.releases)
        first = places[:, 0] == 0
        originals = originals[places[first, 1]]
        return float(distances(guess.candidates[first], originals).mean()), dict(guess.report)
    return float(distances(guess.candidates, originals).mean()), dict(guess.report)


def table(rows: list[dict[str, Any]]) -> str:
    data = photographs(SIZE)
    by_dssim = [each for each in rows if each["kind"] != "sound" and each["broken_by"] in ("dssim", "any")]
    close = [each for each in by_dssim if each["auto"] is not None and each["auto"] <= each["decoder"] + CLOSE]
    lines = [
        "# Planted defenses",
        "",
        f"Mean dSSIM to the dominant source, n = {len(data.private)} photographs of {SIZE} px (`photos`), "
        f"{len(data.public)} public ones, one seed, made by `python experiments/planted.py`. *Earlier*: the best of "
        "`smooth`, `denoise_tuned` and `levels`, chosen with the truth in hand. *Decoder*: a few lines that know the "
        "scheme. *Broken by*: what shows it; where that is not dSSIM, its own figure is *shown* "
        f"(see `tests/planted/table.py`). `auto` trains networks for at least {STEPS} steps.",
        "",
        f"`auto` comes within {CLOSE} of the decoder, or below it, in {len(close)} of the {len(by_dssim)} that are "
        "broken by dSSIM.",
        "",
        "| scheme | kind | broken by | release | earlier | auto | decoder | shown | what auto says it found |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for each in rows:
        earlier = [each[name] for name in EARLIER if each[name] is not None]
        numbers = [each["release"], min(earlier, default=None), each["auto"], each.get("decoder"), each.get("measured")]
        cells = ["" if number is None else f"{number:.3f}" for number in numbers]
        found = "; ".join(each["found"]) or "nothing"
        lines.append(f"| `{each['scheme']}` | {each['kind']} | {each['broken_by']} | {' | '.join(cells)} | {found} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--only", nargs="*", default=None)
    options = arguments.parse_args()
    convergence.LEAST_STEPS = STEPS
    torch.set_num_threads(1)
    file = FOLDER / "planted.jsonl"
    done = {}
    if file.exists():
        done = {each["scheme"]: each for each in map(json.loads, file.read_text(encoding="utf-8").splitlines())}
    schemes: dict[str, Planted | None] = {**PLANTED, **dict.fromkeys(SOUND)}
    for name, planted in schemes.items():
        if name in done or (options.only is not None and name not in options.only):
            continue
        done[name] = row(name, planted)
        with file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(done[name]) + "\n")
        print(json.dumps(done[name]), flush=True)
    (FOLDER / "planted.md").write_text(table([done[name] for name in schemes if name in done]), encoding="utf-8")


if __name__ == "__main__":
    main()
