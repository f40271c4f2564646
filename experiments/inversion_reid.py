"""Does a trained inversion re-identify originals better than the release as is? From the records of a cross.

harness run --defense all --attack all --dataset photos --records leaderboards/photos
python experiments/inversion_reid.py leaderboards/photos
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from harness.leaderboard.format import figure, settings, short
from harness.records.store import read_all
from harness.report.markdown import grid
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
    for (defense, attack, seed), inversion in cells.items():
        look = cells.get((defense, "look", seed))
        if attack != "inversion" or look is None:
            continue
        pair = inversion.arrays["reid_rank1"], look.arrays["reid_rank1"]
        knobs = settings(
            {**inversion.inputs["defense"]["params"], "weights": inversion.inputs["defense"]["mixing"]["weights"]}
        )
        folder = os.path.relpath(given.records, given.out.parent)
        scores = [f"[{figure(cell.scores['reid_rank1'])}]({folder}/{cell.spec.key}.json)" for cell in (look, inversion)]
        difference = figure(paired(*pair, units=inversion.arrays["units"]))
        p = short(paired_p(*pair, units=inversion.arrays["units"]))
        steps, n = str(inversion.facts["steps"]), str(inversion.scores["reid_rank1"]["n"])
        lines.append((look.scores["reid_rank1"]["mean"], (defense, knobs, *scores, difference, p, steps, n)))
    lines.sort()
    first = next(iter(cells.values()))
    data = first.inputs["dataset"]
    text = [
        f"# Re-identification: `inversion` against the release as is, {data['name']}",
        "",
        f"Rank-1 of the dominant original among {first.scores['reid_rank1']['gallery']} images by the same fixed "
        f"embedding, from one release: as it is, and restored by a U-Net trained on the adversary's {data['public']} "
        f"images ({data['height']}x{data['width']}, {first.inputs['device']}). Mean [95 % interval]; the difference "
        "is paired over originals (p: Student's t, not corrected).",
        "",
        *grid(HEADS, [line for _, line in lines]),
    ]
    given.out.write_text("\n".join(text))
    print("\n".join(text))


if __name__ == "__main__":
    main()
