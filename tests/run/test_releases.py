"""R distinct releases beside T epochs: what is made, trained on, attacked and recorded, by every way to ask for it."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import replace

import pytest

import harness
import harness.client.client
from harness.cli import main
from harness.client.client import Client
from harness.client.release_cache import ReleaseCache
from harness.errors import HarnessError
from harness.records import Records, RunResult, RunSpec
from harness.registry import load_registry
from harness.run.options import RunOptions, make_bench
from harness.run.rerun import options_of
from harness.run.worker import Worker
from harness.train import Learner
from tests.helpers.planted import attack, bench, defense, picture_folder, splits

REGISTRY = load_registry()


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    return picture_folder(tmp_path / "stripes", each=12)


@pytest.fixture
def untrained(monkeypatch):
    """Training takes no time: which releases are used is all that counts."""
    monkeypatch.setattr(Learner, "epoch", lambda *_: 0.0)


@pytest.fixture
def made(monkeypatch):
    """How often each defense was run on the private images with each key."""
    count: Counter[tuple[str, bytes]] = Counter()
    real = harness.client.client.obfuscate

    def counting(scheme, images, labels, classes, key, device):
        count[scheme.name, key] += 1
        return real(scheme, images, labels, classes, key, device)

    monkeypatch.setattr(harness.client.client, "obfuscate", counting)
    return count


def test_a_sweep_with_one_release_and_four_epochs_releases_once_per_defense_and_seed(
    tmp_path, pictures, untrained, made, capsys
):
    file = tmp_path / "sweep.yaml"
    file.write_text(
        f"dataset: {pictures}\nsize: 16\nepochs: 4\nreleases: [1]\nseeds: 2\nmodel: mcpherson_face\nthreads: 1\n"
        "defenses: [mix, noise_mix]\nattacks: [smooth, multi_release]\n"
    )

    code = main(["sweep", str(file), "--records", str(tmp_path / "records"), "--workers", "1", "--json"])

    cells = json.loads(capsys.readouterr().out)["cells"]
    assert code == 0
    assert Counter(name for name, _ in made) == {"none": 2, "mix": 2, "noise_mix": 2}  # none: of the accuracy drop
    assert set(made.values()) == {1}  # the check of rows repeats single calls and keeps nothing
    assert {(cell["epochs"], cell["releases"]) for cell in cells} == {(4, 1)}
    assert all(cell["scores"]["utility"]["n"] for cell in cells)


@pytest.mark.parametrize(("releases", "used"), [(1, [0] * 5), (2, [0, 1, 0, 1, 0]), (None, [0, 1, 2, 3, 4])])
def test_epoch_e_trains_on_release_e_mod_r(untrained, monkeypatch, releases, used):
    asked = []
    real = Client.release
    monkeypatch.setattr(Client, "release", lambda self, *given: asked.append(given[2]) or real(self, *given))
    on_stripes = bench(None, None, epochs=5, releases=releases, utility={"model": "mcpherson_face"})

    result = on_stripes.do(on_stripes.utility_piece(defense("turn"), 0))

    assert result.status == "ok", result.reason
    assert asked == used
    assert (result.inputs["epochs"], result.inputs["releases"]) == (5, releases or 5)


@pytest.mark.parametrize(
    ("asked", "trained"),
    [
        ({}, {"model": "resnet10t", "recipe": "default"}),
        ({"recipe": "paper"}, {"model": "resnet18", "recipe": "paper"}),
        ({"recipe": "paper", "model": "mcpherson_face"}, {"model": "mcpherson_face", "recipe": "paper"}),
    ],
)
def test_the_paper_s_recipe_trains_the_paper_s_network_unless_another_is_asked_for(asked, trained):
    on_stripes = make_bench(RunOptions(threads=1, **asked), REGISTRY, Records.nowhere(), splits=splits())

    assert on_stripes.utility_spec(defense("turn"), 0).inputs["utility"]["params"] == trained


def test_an_attack_that_is_granted_releases_sees_r_of_them():
    on_stripes = bench(None, None, epochs=5, releases=2)
    seen = on_stripes.client.observe(defense("turn"), attack("count_releases", granted=("releases", "plans")), 0)

    assert len(seen.releases) == len(seen.plans) == on_stripes.client.releases == 2


def test_a_release_beyond_r_is_never_made(made):
    client = bench(None, None, epochs=5, releases=2).client

    with pytest.raises(IndexError, match="release 2"):
        client.release(defense("turn"), 0, 2)
    assert not made


def test_a_worker_takes_t_and_r_of_each_job(tmp_path):
    """Data are loaded once for all of them."""
    worker, data = Worker(REGISTRY, ReleaseCache()), splits()
    schedules = [(4, 1), (4, 4), (2, 1), (4, None)]

    benches = [worker._bench(RunOptions(epochs=t, releases=r, threads=1), data) for t, r in schedules]

    assert [(each.epochs, each.release_count) for each in benches] == [(4, 1), (4, 4), (2, 1), (4, 4)]
    assert {id(each.splits) for each in benches} == {id(data)}


@pytest.mark.parametrize(
    ("kind", "inputs", "asked"),
    [
        ("utility", {"epochs": 4, "releases": 1, "utility": {}}, (4, 1)),
        ("attack", {"releases": 3, "attack": {}}, (3, 3)),
        ("release", {"releases": 3}, (3, 3)),
        ("utility", {"epochs": 4, "utility": {}}, (4, 4)),  # older: a release for each epoch
        ("attack", {"epochs": 4, "attack": {}}, (4, 4)),
        ("attack", {"attack": {}}, (1, 1)),
    ],
)
def test_a_record_is_run_again_with_its_own_t_and_r(kind, inputs, asked):
    data = {"name": "photos", "fingerprint": "f" * 32, "height": 64, "width": 64, "private": 30, "public": 10}
    record = RunResult(RunSpec(kind, {"dataset": data, "device": "cpu", **inputs}), "ok")

    options = options_of(record, REGISTRY, {})

    assert (options.epochs, options.release_count) == asked


# More releases than epochs

DATA = ("--size", "16", "--epochs", "2", "--releases", "3")
DOORS = {
    "run": ("run", "--defense", "mix", "--attack", "smooth", "--dry-run"),
    "tune": ("tune", "--defense", "noise_mix", "--target", "dssim=0.66"),
    "preview": ("preview", "--defense", "mix"),
    "external release": ("external", "release", "--defense", "mix", "--out", "challenge"),
    "external score": ("external", "score", "--defense", "mix", "--name", "Doe", "--reconstructions", "nowhere"),
    "obfuscate": ("obfuscate", "--defense", "mix", "--out", "out", "--secret", "secret.npz"),
}


@pytest.mark.parametrize("words", DOORS.values(), ids=DOORS)
def test_more_releases_than_epochs_are_refused_with_both_numbers_and_the_fix(pictures, monkeypatch, capsys, words):
    monkeypatch.chdir(pictures.parent)

    code = main([*words, "--dataset", str(pictures), *DATA])

    said = capsys.readouterr()
    assert (code, said.out, said.err.count("\n")) == (2, "", 1), said.err
    assert "releases 3 is more than epochs 2" in said.err and "use releases 2 or fewer, or epochs 3 or more" in said.err
    assert {path.name for path in pictures.parent.iterdir()} <= {"stripes", "cache"}


def test_they_are_refused_in_a_sweep_and_from_python(tmp_path, pictures, capsys):
    file = tmp_path / "sweep.yaml"
    file.write_text("epochs: [4, 2]\nreleases: [1, 3]\ndefenses: [mix]\nattacks: [smooth]\n")

    assert main(["sweep", str(file), "--dataset", str(pictures), "--dry-run"]) == 2
    assert "sweep.yaml: releases 3 is more than epochs 2" in capsys.readouterr().err
    with pytest.raises(HarnessError, match="releases 3 is more than epochs 2"):
        harness.evaluate("mix", "smooth", str(pictures), epochs=2, releases=3)


def test_no_release_at_all_is_refused():
    with pytest.raises(HarnessError, match="releases 0 is too few"):
        replace(RunOptions(), releases=0).check()


# Every way to ask for R


def test_from_python(tmp_path, pictures, made):
    options = {"size": 16, "utility": False, "threads": 1, "records": tmp_path / "records"}

    cells = harness.evaluate("mix", "multi_release", str(pictures), epochs=3, releases=2, **options)["cells"]

    assert [(cell["epochs"], cell["releases"]) for cell in cells] == [(3, 2)]
    assert Counter(name for name, _ in made)["mix"] == 2


def test_external_release_writes_r_releases(pictures, monkeypatch, capsys):
    monkeypatch.chdir(pictures.parent)
    words = ("external", "release", "--defense", "mix", "--dataset", str(pictures), "--size", "16", "--json")

    assert main([*words, "--epochs", "4", "--releases", "2", "--out", "challenge"]) == 0

    document = json.loads(capsys.readouterr().out)
    assert (document["epochs"], document["releases"]) == (4, 2)
    folder = pictures.parent / "challenge"
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"epoch_000", "epoch_001"}


def test_obfuscate_writes_r_releases_and_names_both_numbers(pictures, monkeypatch, capsys):
    monkeypatch.chdir(pictures.parent)
    words = ("obfuscate", "--defense", "mix", "--dataset", str(pictures), "--out", "out", "--secret", "s.npz", "--json")

    assert main([*words, "--seed", "3", "--epochs", "4", "--releases", "2"]) == 0

    said = capsys.readouterr()
    document = json.loads(said.out)
    assert (document["epochs"], document["releases"]) == (4, 2)
    assert {path.name for path in (pictures.parent / "out").iterdir()} == {"epoch_000", "epoch_001"}
    assert "--attack multi_release --epochs 4 --releases 2" in said.err


def test_preview_makes_r_releases_for_its_attacks(pictures, monkeypatch, made):
    monkeypatch.chdir(pictures.parent)
    words = ("preview", "--defense", "mix", "--attack", "multi_release", "--images", "2", "--dataset", str(pictures))

    assert main([*words, "--size", "16", "--epochs", "5", "--releases", "2"]) == 0

    assert Counter(name for name, _ in made)["mix"] == 2
