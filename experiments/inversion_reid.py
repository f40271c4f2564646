"""Does a trained inversion know whose picture a release is better than looking at it? From the records of a cross.

harness run --defense all --attack all --dataset photos --records leaderboards/photos
python experiments/inversion_reid.py leaderboards/photos
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from harness.leaderboard.format import figure, settings, short
from harness.records.store import read_all
from harness.report.markdown import grid, linked
from harness.statistics import paired, paired_p

HEADS = ("defense", "settings", "look", "inversion", "difference", "p", "steps", "n")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("dataset")
    arguments.add_argument("--records", type=Path, default=Path("leaderboards/records"))
    arguments.add_argument("--out", type=Path, default=Path("leaderboards/inversion_reid.md"))
    given = arguments.parse_args()
    cells = {}
    for record in read_all(given.records):
        if record.spec.kind == "attack" and record.status == "ok" and record.inputs["dataset"]["name"] == given.dataset:
            cells[(*record.spec.names, record.inputs["seed"])] = record
    lines = []
    for (defense, attack, seed), found in cells.items():
        look = cells.get((defense, "look", seed))
        if attack != "inversion" or look is None:
            continue
        pair = found.arrays["reid_rank1"], look.arrays["reid_rank1"]
        knobs = settings({**found.inputs["defense"]["params"], "weights": found.inputs["defense"]["mixing"]["weights"]})
        beside = os.path.relpath(given.records, given.out.parent)
        scores = [linked(figure(cell.scores["reid_rank1"]), [cell.spec.key], beside) for cell in (look, found)]
        apart = figure(paired(*pair, units=found.arrays["units"]))
        p = short(paired_p(*pair, units=found.arrays["units"]))
        steps, n = str(found.facts["steps"]), str(found.scores["reid_rank1"]["n"])
        lines.append((look.scores["reid_rank1"]["mean"], (defense, knobs, *scores, apart, p, steps, n)))
    lines.sort()
    some = next(iter(cells.values()))
    data = some.inputs["dataset"]
    text = [
        f"# Whose picture is it: `inversion` against looking, {data['name']}",
        "",
        f"Rank-1 of the dominant original among {some.scores['reid_rank1']['gallery']} images by the same fixed eye, "
        f"from one release: as it is, and as a U-Net trained on the adversary's {data['public']} images restores it "
        f"({data['height']}x{data['width']}, {some.inputs['device']}). Mean [95 % interval]; the difference is paired "
        "over originals (p: Student's t, not corrected).",
        "",
        *grid(HEADS, [line for _, line in lines]),
    ]
    given.out.write_text("\n".join(text))
    print("\n".join(text))


if __name__ == "__main__":
    main()
