"""Records as a suite's run would write them, for the tests of `harness check`."""

from __future__ import annotations

import numpy as np

from harness.records import RunResult, RunSpec

N = 120
IMAGES = {
    "name": "photos", "fingerprint": "f" * 32, "height": 32, "width": 32, "classes": 10, "private": N,
    "public": 40, "test": 50,
}  # fmt: skip
METRICS = [{"name": name, "use": "m:m", "version": 1, "params": {}} for name in ("dssim", "dhaar", "mse")]
JUDGES = [*METRICS[:2], {"name": "reconstruction", "use": "e:e", "version": 1, "params": {}}]


def entry(name, version=1, **params):
    return {"name": name, "use": "p:p", "version": version, "params": params}


def inputs(defense="noise_mix", seed=0, version=1, dataset=IMAGES, more=None, **params):
    mixing = {"weights": [0.75, 0.25], "pairing": "permutation", "intra_class": False, "label": "dominant"}
    mixed = entry(defense, version, **params) | {"mixing": mixing}
    return {"dataset": dataset, "defense": mixed, "seed": seed, "device": "cpu", "code": "c", "versions": {}} | (
        more or {}
    )


def order(seed, n=N):
    """The originals as a shuffled release has them."""
    return np.random.default_rng([seed, 99]).permutation(n)


def record(kind, arrays, given, status="ok", reason=None, facts=None):
    return RunResult(
        RunSpec(kind, given), status, reason, {}, arrays if status == "ok" else {}, facts or {}, 1.0, "2026-01-01"
    )


def release(dssim=0.5, seed=0, units=None, metrics=METRICS, scores=None, status="ok", **given):
    """A release; `dssim` is one number for all originals, or an array with one for each."""
    rows = order(seed) if units is None else np.asarray(units)
    named = {"dssim": dssim, "dhaar": 0.4, **(scores or {})}
    arrays = {name: np.broadcast_to(np.asarray(values, float), N)[rows] for name, values in named.items()}
    more = {"targets": 1000, "metrics": metrics, **given.pop("more", {})}
    return record("release", {"units": rows, **arrays}, inputs(seed=seed, more=more, **given), status)


def attacked(
    name="smooth", seed=0, distance=0.3, attack_version=1, judges=JUDGES, status="ok", reason=None, facts=None, **given
):
    """A reconstruction with this dSSIM after the attack."""
    rows = order(seed)
    arrays = {"units": rows, "attacked_dssim": np.broadcast_to(np.asarray(distance, float), N)[rows]}
    more = {"attack": entry(name, attack_version), "targets": 1000, "judges": judges, "threads": 1}
    return record("attack", arrays, inputs(seed=seed, more=more, **given), status, reason, facts)


def read(name="cnn", seed=0, top1=0.6, attack_version=1, draw=0, **given):
    """A recogniser with this hit rate."""
    rows = order(seed)
    hits = (np.random.default_rng([seed, draw]).random(N) < top1).astype(float)[rows]
    more = {"attack": entry(name, attack_version), "targets": 1000, "judges": [entry("recognition")], "threads": 1}
    return record("attack", {"units": rows, "top1": hits}, inputs(seed=seed, more=more, **given), facts={"steps": 1000})


def trained(right, seed=0, **given):
    """A utility model that is right on these test images."""
    more = {"epochs": 4, "utility": entry("utility", model="resnet18"), "threads": 1}
    return record("utility", {"utility": np.asarray(right, float)}, inputs(seed=seed, more=more, **given))
