"""Hand-made records of every kind, and the rows of the board that they make."""

from __future__ import annotations

import numpy as np

from harness.leaderboard.board import boards
from harness.leaderboard.row import CONTROLS
from harness.records import RunResult, RunSpec
from harness.statistics import summarise

N = 40
DATASET = {
    "name": "stripes", "fingerprint": "f" * 32, "height": 16, "width": 16,
    "classes": 2, "private": N, "public": 20, "test": 50,
}  # fmt: skip
RELEASED = np.linspace(0.7, 0.9, N)
MULTI = "multi_release"


def inputs(defense, seed, device="cpu", code="c", dataset=None, **knobs):
    mixing = {
        "weights": [1.0] if defense == "none" else [0.5, 0.5],
        "pairing": "permutation",
        "intra_class": False,
        "label": "dominant",
    }
    entry = {"name": defense, "use": "d:d", "version": 1, "params": knobs, "mixing": mixing}
    return {
        "dataset": dataset or DATASET,
        "defense": entry,
        "seed": seed,
        "device": device,
        "code": code,
        "versions": {},
    }


def record(kind, arrays, given, more, status="ok", finished="2026-01-01T00:00:00+00:00", chance=0.5, reason=None):
    units = arrays.get("units")
    scores = {
        name: {**summarise(values, units=units, proportion=False), "chance": chance, "corrected": 0.0}
        for name, values in arrays.items()
        if name != "units"
    }
    return RunResult(RunSpec(kind, given | more), status, reason, scores, arrays, {}, 1.0, finished)


def release(defense="mix", seed=0, dssim=RELEASED, dhaar=None, units=None, targets=1000, finished="2026", **given):
    dssim = np.asarray(dssim, float)
    arrays = {
        "units": np.arange(len(dssim)) if units is None else np.asarray(units),
        "dssim": dssim,
        "dhaar": dssim if dhaar is None else np.asarray(dhaar, float),
    }
    return record("release", arrays, inputs(defense, seed, **given), {"targets": targets}, finished=finished)


def attacked(name, defense="mix", seed=0, dssim=RELEASED, traits=(), status="ok", granted=(), releases=None, **given):
    values = np.asarray(dssim, float)
    arrays = {"units": np.arange(len(values)), "attacked_dssim": values, "attacked_dhaar": values}
    entry = {"name": name, "use": "a:a", "version": 1, "params": {}, "kind": "reconstruction"}
    entry |= {"traits": list(traits)} if traits else {}
    entry |= {"granted": list(granted)} if granted else {}
    more = {"attack": entry, "targets": 1000, "threads": 1} | ({"releases": releases} if releases else {})
    reason = None if status == "ok" else "why it failed"
    return record(
        "attack", arrays if status == "ok" else {}, inputs(defense, seed, **given), more, status, reason=reason
    )


def recognised(top1, name="cnn", defense="mix", seed=0, chance=0.5, **given):
    values = np.asarray(top1, float)
    arrays = {"units": np.arange(len(values)), "top1": values, "any_source": values, "released": values}
    entry = {"name": name, "use": "a:a", "version": 1, "params": {"arch": "tiny"}, "kind": "recognition"}
    entry |= {"traits": ["learned"], "granted": ["defense", "public"]}
    return record("attack", arrays, inputs(defense, seed, **given), {"attack": entry, "targets": 1000}, chance=chance)


def trained(accuracy, defense="mix", seed=0, epochs=10, recipe="default", releases=None, **given):
    right = np.arange(50) < round(50 * accuracy)
    utility = {"name": "utility", "use": "u:u", "version": 1, "params": {"model": "resnet18", "recipe": recipe}}
    more = {"epochs": epochs, "releases": releases or epochs, "threads": 1, "utility": utility}
    return record("utility", {"utility": right.astype(float)}, inputs(defense, seed, **given), more)


def complete(defense, accuracy, dssim=RELEASED, seeds=3):
    """Everything that a row needs to be ranked."""
    made = []
    for seed in range(seeds):
        made += [release(defense, seed, dssim), trained(accuracy, defense, seed)]
        made += [recognised(np.arange(N) % 2, defense=defense, seed=seed)]
        made += [attacked(MULTI, defense, seed, dssim, granted=("releases",), releases=10)]
        made += [attacked(name, defense, seed, dssim, traits=("control",)) for name in CONTROLS if name != "smooth"]
        made += [attacked("smooth", defense, seed, dssim)]
    return made


def rows(*records):
    (board,) = boards(records)
    return board.rows


def row(*records):
    (found,) = rows(*records)
    return found
