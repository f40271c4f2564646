"""`harness check` end to end on a defense from another registry: a suite that is run, changed code, a leaked order."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

from harness import mixing
from harness.check.series import PLANTED_FAULT
from harness.check.suite import builtin_suite, choice, own_registry
from harness.check.verdicts import REHEARSAL
from harness.cli import main
from harness.leaderboard.row import RowRecords, make_row
from harness.registry import load_registry
from harness.run.engine import run
from harness.run.sweep import crosses
from tests.helpers.paths import ROOT
from tests.helpers.planted import picture_folder

VEIL = """
from harness.images import average
import torch


def shroud(sources, weights, rng, *, strength):
    mixed = average(sources, weights)
    noise = torch.rand(mixed.shape, generator=rng)
    return torch.lerp(mixed, noise, strength)
"""
REGISTRY = """
defenses:
  shroud:
    use: shroud:shroud
    version: 1
    params: {strength: 0.4}
    mixing: {weights: [0.75, 0.25], pairing: permutation, intra_class: false, label: dominant}
    cite: planted
"""
SUITE = """
dataset: DATA
epochs: 2
seeds: 3
defenses: [shroud]
attacks: [look]
utility: false
device: cpu
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return picture_folder(tmp_path_factory.mktemp("data") / "stripes", each=50)


@pytest.fixture
def check(tmp_path, pictures, monkeypatch, capsys):
    """check(code, registry, *arguments) -> exit code, stdout: with this plugin and its registry file."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "suite.yaml").write_text(SUITE.replace("DATA", str(pictures)))

    def call(code, registry, *arguments):
        (tmp_path / "shroud.py").write_text(code)
        (tmp_path / "shroud.yaml").write_text(registry)
        for name in [each for each in sys.modules if each.rpartition(".")[2] == "shroud"]:
            del sys.modules[name]
        files = ("--suite", tmp_path / "suite.yaml", "--registry", tmp_path / "shroud.yaml")
        exit_code = main(["check", str(tmp_path / "base"), *map(str, (*files, *arguments))])
        return exit_code, capsys.readouterr().out

    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # two versions within a second have one time stamp
    assert call(VEIL, REGISTRY, "--update")[0] == 0
    return call


def test_a_comment_and_another_seed_change_nothing_and_half_the_noise_does(check):
    code, out = check(VEIL + "# a comment\n", REGISTRY)
    others, _ = check(VEIL, REGISTRY, "--seeds", "7,8")
    weaker, said = check(VEIL.replace("strength)\n", "strength / 2)\n"), REGISTRY)

    counted = re.search(r"(\d+) figures against .*, (\d+) of them the same to the last digit", out)
    assert code == 0 and counted and counted[1] == counted[2] and int(counted[1]) > 15
    assert others == 0
    assert weaker == 3 and "shroud release: dssim" in said and "privacy lost" in said


def test_more_noise_needs_a_raised_version(check):
    more = VEIL.replace("strength)\n", "1.5 * strength)\n")

    same_version, said = check(more, REGISTRY)
    raised, explained = check(more, REGISTRY.replace("version: 1", "version: 2"))

    assert same_version == 3 and "unexplained privacy gained" in said
    assert raised == 0 and "version of shroud raised, 1 -> 2" in explained


def test_an_order_that_is_not_shuffled_is_caught(check, monkeypatch):
    """The plan in the order of its first sources, as it is before it is shuffled."""
    shuffled = mixing.plan

    def in_order(*arguments):
        made = shuffled(*arguments)
        rows = made.sources[:, 0].argsort()
        return mixing.Plan(made.sources[rows], made.weights[rows], made.ties[rows])

    monkeypatch.setattr("harness.release.plan", in_order)
    code, said = check(VEIL, REGISTRY)

    assert code == 3 and "release order is not random" in said


def test_the_suite_of_this_project_is_one_that_runs():
    """Every name, knob and key in it is known; its plan is made without running it."""
    registry = load_registry(own_registry(builtin_suite()))
    found = crosses(builtin_suite(), registry, records=builtin_suite().parent / "nowhere")

    assert sum(len(cross.plan()) for cross in found) > 50


@pytest.mark.parametrize("suite", [".", "..", "/", "folder", "nothing.yaml"])
def test_a_suite_that_is_no_file_has_no_registry_of_its_own(tmp_path, monkeypatch, suite):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    for folder in (tmp_path, tmp_path / "folder"):
        (folder / "registry.yaml").write_text("{}")

    assert own_registry(Path(suite)) == []


def test_a_check_runs_a_third_of_a_tables_seeds_or_as_many_as_asked_or_those_named():
    third, three, named = choice(None), choice(3), choice((7, 8))

    assert third(range(15)) == range(5) and third(range(6)) == third(range(4)) == range(2) and third([5]) == [5]
    assert three(range(6)) == range(3) and named(range(6)) == (7, 8)


def test_the_faults_of_the_experiment_can_still_be_planted():
    """Each edit is of a text that stands in its file once."""
    tree = ROOT
    faults = runpy.run_path(str(tree / "experiments" / "check_power.py"))["FAULTS"]

    counts = [(tree / file).read_text().count(before) for fault in faults for file, before, _ in fault.edits]
    assert counts == [1] * len(counts) and len(counts) > 6


FAULTS = {
    "few_in_wrong_rows": ("exposed", REHEARSAL),
    "few_negatives_in_wrong_rows": ("exposed", REHEARSAL),
    "other_when_rehearsed": (REHEARSAL,),
    "zoomed_and_tilted": ("reidentified",),
    "unscored_shown": ("exposed",),
    "picture_in_the_label": (REHEARSAL,),
    "permuted_negative": ("exposed", "reidentified"),
}


def test_the_planted_faults_of_the_suite_are_caught_each_by_its_guard(monkeypatch, tmp_path):
    """As the suite runs them, on its first seed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    registry = load_registry(own_registry(builtin_suite()))
    tables = crosses(builtin_suite(), registry, tmp_path / "records", seeds=[0])
    tables = [table for table in tables if any(PLANTED_FAULT in each.traits for each in table.defenses)]

    cells = [cell for made in run(tables) for cell in made]

    for name, parts in FAULTS.items():
        mine = {part.spec.key: part for cell in cells for part in cell.parts if part.inputs["defense"]["name"] == name}
        kinds = [[each for each in mine.values() if each.spec.kind == kind] for kind in ("release", "attack")]
        row = make_row(RowRecords(kinds[0], kinds[1]))
        failed = {part for part, passes in row.passes.items() if passes is False}
        assert set(parts) <= failed | ({REHEARSAL} if row.mismatch else set()), name
