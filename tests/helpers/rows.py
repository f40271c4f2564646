"""Hand-made records of every kind, and the rows of the board that they make."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np

from harness.leaderboard.board import boards
from harness.leaderboard.completeness import MATCHING
from harness.leaderboard.row import CONTROLS
from harness.records import RunResult, RunSpec
from harness.registry import load_registry
from harness.scores import ANY, reidentifications
from harness.statistics import summarise

N = 200  # of fewer originals none can be shown not to be exposed
DATASET = {
    "name": "stripes", "fingerprint": "f" * 32, "height": 16, "width": 16,
    "classes": 2, "private": N, "public": 20, "test": 50,
}  # fmt: skip
RELEASED = np.linspace(0.7, 0.9, N)
MULTI = "multi_release"
NULL = 0.85
NOTHING_FOUND = {
    "rehearsal": {"mismatch": False, "statistics": {}, "said": []},
    "own_rows": {"originals": N, "shown": 0},
    "wrong_rows": {"targets": N, "shown": 0, "distractors": 1000, "distractors_shown": 0},
    "elsewhere": {},
}
"""What a release's record says where its rehearsals agree and no image shows an original that it does not hold."""


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
        name: {**summarise(values, units=units, draws=2, proportion=False), "chance": chance, "corrected": 0.0}
        for name, values in arrays.items()
        if name != "units" and values.ndim == 1 and len(values) == len(arrays.get("units", values))
    }
    return RunResult(RunSpec(kind, given | more), status, reason, scores, arrays, {}, 1.0, finished)


def release(
    defense="mix", seed=0, dssim=RELEASED, dhaar=None, units=None, targets=1000, finished="2026", null=NULL, **given
):
    dssim = np.asarray(dssim, float)
    arrays = {
        "units": np.arange(len(dssim)) if units is None else np.asarray(units),
        "dssim": dssim,
        "dhaar": dssim if dhaar is None else np.asarray(dhaar, float),
    }
    arrays |= per_original(arrays, null, ("dssim", "dhaar"))
    made = record("release", arrays, inputs(defense, seed, **given), {"targets": targets}, finished=finished)
    return replace(made, facts=deepcopy(NOTHING_FOUND))


def per_original(arrays, null, names, prefix=""):
    """The arrays of each original: the least over its rows, and a null that is the same everywhere."""
    originals, rows = np.unique(arrays["units"], return_inverse=True)
    made = {"originals": originals, "held": originals}
    for name in names:
        least = np.full(len(originals), np.inf)
        np.minimum.at(least, rows, arrays[prefix + name])
        columns = np.broadcast_to(np.asarray(null, float).reshape(-1, 1), (len(originals), 5))
        made |= {f"worst_{name}": least, f"null_{name}": columns}
        made |= {f"worst_any_{name}": least, f"null_any_{name}": columns}
    return made


def older(record):
    """The record as older code wrote it: figures of rows alone, without a null and without these facts."""
    kept = {
        name: values
        for name, values in record.arrays.items()
        if name not in ("originals", "held") and not name.startswith(("worst_", "null_", "first_"))
    }
    return replace(record, arrays=kept, facts={})


def attacked(
    name, defense="mix", seed=0, dssim=RELEASED, traits=(), status="ok", granted=(), releases=None, null=NULL, **given
):
    """An attack with one candidate."""
    values = np.asarray(dssim, float)
    arrays = {"units": np.arange(len(values)), "attacked_dssim": values, "attacked_dhaar": values}
    arrays |= {"first_dssim": values, "first_dhaar": values}
    arrays |= per_original(arrays, null, ("dssim", "dhaar"), "attacked_")
    entry = {"name": name, "use": "a:a", "version": 1, "params": {}, "kind": "reconstruction"}
    entry |= {"traits": list(traits)} if traits else {}
    entry |= {"granted": list(granted)} if granted else {}
    more = {"attack": entry, "targets": 1000, "threads": 1} | ({"releases": releases} if releases else {})
    given_to = inputs(defense, seed, **given) | more
    if status != "ok":
        return record("attack", {}, given_to, {}, status, reason="why it failed")
    return never_found(record("attack", arrays, given_to, {}))


def recognised(
    top1,
    name="cnn",
    defense="mix",
    seed=0,
    chance=0.5,
    traits=("learned",),
    granted=("defense", "public"),
    params=None,
    **given,
):
    """A recogniser; the settings of `linear` are the registered ones."""
    values = np.asarray(top1, float)
    arrays = {"units": np.arange(len(values)), "top1": values, "any_source": values, "released": values}
    settings = params or (load_registry().get("attacks", name).params if name == "linear" else {"arch": "tiny"})
    entry = {"name": name, "use": "a:a", "version": 1, "params": settings, "kind": "recognition"}
    entry |= {"traits": list(traits), "granted": list(granted)}
    return record("attack", arrays, inputs(defense, seed, **given), {"attack": entry, "targets": 1000}, chance=chance)


def matched(hits, defense="mix", seed=0, chance=0.004, certain=0, **given):
    """Candidates of the gallery, obfuscated as the releases are."""
    originals = np.arange(len(hits))
    arrays = {"units": originals, "originals": originals, "reid_rank1": np.asarray(hits, float)}
    entry = {"name": MATCHING, "use": "a:a", "version": 1, "params": {}, "kind": "reidentification"}
    entry |= {"granted": ["defense", "gallery", "public"]}
    made = record("attack", arrays, inputs(defense, seed, **given), {"attack": entry, "targets": 1000}, chance=chance)
    made.scores["reid_rank1"]["certain"] = certain
    return made


def trained(accuracy, defense="mix", seed=0, epochs=10, recipe="default", releases=None, **given):
    right = np.arange(50) < round(50 * accuracy)
    utility = {"name": "utility", "use": "u:u", "version": 1, "params": {"model": "resnet18", "recipe": recipe}}
    more = {"epochs": epochs, "releases": releases or epochs, "threads": 1, "utility": utility}
    return record("utility", {"utility": right.astype(float)}, inputs(defense, seed, **given), more)


def never_found(record):
    """The record with hits of every embedding: none."""
    for name in [each for found in reidentifications() for each in (found, ANY + found)]:
        record.arrays[name] = np.zeros(len(record.arrays["originals"]))
        record.scores[name] = {"mean": 0.0, "low": 0.0, "high": 0.02, "n": N, "chance": 0.004, "corrected": 0.0}
    return record


def complete(defense, accuracy, dssim=RELEASED, seeds=3):
    """Everything that a row needs to be ranked."""
    made = []
    for seed in range(seeds):
        made += [never_found(release(defense, seed, dssim)), trained(accuracy, defense, seed)]
        made += [recognised(np.arange(N) % 2, defense=defense, seed=seed)]
        made += [recognised(np.arange(N) % 2, "linear", defense, seed, traits=("learned", "floor"))]
        made += [attacked(MULTI, defense, seed, dssim, granted=("releases",), releases=10)]
        made += [attacked("inversion", defense, seed, dssim, traits=("learned",), granted=("defense", "public"))]
        made += [attacked(name, defense, seed, dssim, traits=("control",)) for name in CONTROLS if name != "smooth"]
        made += [attacked("smooth", defense, seed, dssim), matched(np.zeros(N), defense, seed)]
    return made


def rows(*records):
    (board,) = boards(records)
    return board.rows


def row(*records):
    (found,) = rows(*records)
    return found
