"""How often the comparison of rehearsals with releases raises an alarm for a defense that does not cheat.

    python experiments/clean_rehearsals.py [--seeds 10] [--size 32] [--releases 2]

Every built-in defense, ten seeds each, on the photographs of the data set `photos`: 110 runs, one line each.
"""

from __future__ import annotations

import argparse
from collections import Counter

from harness.client.client import Client
from harness.data.load import load
from harness.registry import load_registry
from harness.run.rehearsal_check import compare


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seeds", type=int, default=10)
    arguments.add_argument("--size", type=int, default=32)
    arguments.add_argument("--limit", type=int, default=100)
    arguments.add_argument("--releases", type=int, default=2)
    options = arguments.parse_args()
    splits, registry = load("photos", size=options.size, limit=options.limit), load_registry()
    alarms, runs = Counter[str](), 0
    for name, defense in registry.section("defenses").items():
        for seed in range(options.seeds):
            client = Client(splits, registry, "cpu", options.releases, options.limit)
            found = compare(client, defense, seed)
            alarms[name] += found["mismatch"]
            runs += 1
            least = min(figures["p"] for figures in found["statistics"].values())
            print(f"{name} {seed}: smallest p {least:.3g} {', '.join(found['said'])}", flush=True)
    print(f"{alarms.total()} alarms in {runs} runs ({len(splits.private)} private images of {options.size} px)")


if __name__ == "__main__":
    main()
