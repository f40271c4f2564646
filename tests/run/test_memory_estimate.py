"""What a piece of work takes is estimated before it starts, as it was measured, and refused where it does not fit."""

from __future__ import annotations

import json

import pytest

from harness.errors import HarnessError
from harness.records import RunSpec
from harness.registry import load_registry
from harness.run import engine, memory
from harness.run.engine import RunOptions, prepare
from harness.run.process_pool import how_many
from tests.helpers.paths import ROOT
from tests.helpers.planted import picture_folder

MEASURED = json.loads((ROOT / "leaderboards/attack_cost.json").read_text())


def spec(attack, *, public, side, releases):
    data = {"public": public, "height": side, "width": side}
    granted = list(load_registry().get("attacks", attack).granted)
    named = {"name": attack, "granted": granted}
    inputs = {"dataset": data, "defense": {"name": "noise_mix"}, "attack": named, "releases": releases}
    return RunSpec("attack", inputs)


@pytest.mark.parametrize("point", MEASURED)
def test_estimates_are_near_what_was_measured(point):
    found = MEASURED[point]
    estimated = memory.needed(spec(found["attack"], public=found["public"], side=found["px"], releases=found["T"]))

    assert 0.85 < estimated / 2**30 / found["allocated GiB"] < 1.8


def machine(tmp_path, free):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text(f"MemAvailable: {free // 1024} kB\n")
    return tmp_path


def test_what_does_not_fit_is_refused_with_the_estimate(tmp_path):
    large = spec("multi_release", public=2000, side=256, releases=20)
    root = machine(tmp_path, 8 * 2**30)

    with pytest.raises(HarnessError) as refused:
        memory.must_fit([spec("smooth", public=2000, side=256, releases=20), large], "cpu", root)

    said = str(refused.value)
    assert said.startswith(f"noise_mix x multi_release takes about {memory.needed(large) / 2**30:.1f} GiB of memory")
    assert "8.0 GiB are free: 2000 public images of 256x256 are rehearsed in 20 releases; use a smaller" in said
    memory.must_fit([large], "cuda", root)
    memory.must_fit([spec("multi_release", public=50, side=256, releases=20)], "cpu", root)
    memory.must_fit([], "cpu", root)


def test_workers_are_as_many_as_fit_beside_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.run.process_pool.available_cores", lambda root: 8)
    large, root = spec("multi_release", public=250, side=256, releases=20), machine(tmp_path, 12 * 2**30)

    assert how_many("cpu", 1, 8, root, memory.most([large])) == 12 * 2**30 // memory.needed(large) == 2
    assert how_many("cpu", 1, 8, root, memory.most([spec("smooth", public=250, side=64, releases=1)])) == 4
    assert how_many("cpu", 1, 8, root, memory.most([])) == 4


def test_a_run_is_refused_before_anything_is_recorded(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda root: 2**20)
    options = RunOptions(
        "mix",
        "inversion",
        str(picture_folder(tmp_path / "stripes", each=10)),
        utility=False,
        threads=1,
        records=tmp_path / "records",
    )

    with pytest.raises(HarnessError, match=r"takes about 1\.2 GiB of memory and 0\.0 GiB are free"):
        engine.run([prepare(options, load_registry())])
    assert not list(tmp_path.glob("records/*.json"))
