"""`harness calibrate`: what it prints, writes and refuses; and that its thresholds are a registry file for boards."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from scipy.special import expit

from harness.cli import main
from harness.registry import load_registry
from harness.study.calibration import output
from tests.helpers.answers import refused
from tests.helpers.judged import DATASET, write_by_hand

PEOPLE = tuple("abcdefgh")
FILES = {"calibration.md", "calibration.json", "thresholds.yaml", "roc_people.svg", "roc_people.png", "fpr_people.svg",
         "fpr_people.png"}  # fmt: skip


@pytest.fixture
def harness(capsys):
    def call(*arguments):
        code = main(["calibrate", *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def judged(tmp_path):
    """SIMULATED: eight people judge eighty images; half is recognised at .5."""
    rng = np.random.default_rng(7)
    distances = rng.uniform(0.1, 0.9, 80)
    seen = rng.random((8, 80)) > expit((distances - 0.5) / 0.06)
    return write_by_hand(tmp_path / "judgements.json", distances, seen, PEOPLE, dataset={**DATASET, "simulated": True})


def test_a_folder_of_tables_figures_and_thresholds(harness, judged, tmp_path):
    code, out, _ = harness(judged, "--out", tmp_path / "calibration")

    assert code == 0 and out.startswith("SIMULATED: Calibration of pictures (64x64)")
    assert all(len(line) <= 100 for line in out.splitlines()[:8])
    assert {file.name for file in (tmp_path / "calibration").iterdir()} == FILES
    page = (tmp_path / "calibration/calibration.md").read_text()
    assert page.startswith("# SIMULATED: ") and "| Table 3, STL-10, 96 px | .86 |" in page
    assert "![roc\\_people]" in page or "![roc_people]" in page
    for file in (tmp_path / "calibration").glob("*.png"):
        with Image.open(file) as picture:
            assert picture.width >= 800
    for file in (tmp_path / "calibration").glob("*.svg"):
        assert "SIMULATED" in file.read_text()


def test_the_thresholds_are_read_as_a_registry(harness, judged, tmp_path):
    code, out, _ = harness(judged, "--out", tmp_path / "calibration", "--json")
    found = json.loads(out)
    (entry,) = load_registry([tmp_path / "calibration/thresholds.yaml"]).thresholds

    assert code == 0 and found["simulated"] and found["thresholds"] == entry.values
    assert entry.images == ("pictures", 64, 64) and entry.source.startswith("SIMULATED: 8 people, 640 judgements")
    assert found["against"][0]["metrics"][0]["t_acc"]["low"] < 0.5 < found["against"][0]["metrics"][0]["t_acc"]["high"]
    assert json.loads((tmp_path / "calibration/calibration.json").read_text())["thresholds"] == entry.values
    assert set(found["files"]) == {str(tmp_path / "calibration" / name) for name in FILES}


def test_the_same_judgements_make_the_same_files(harness, judged, tmp_path):
    for folder in ("one", "other"):
        harness(judged, "--out", tmp_path / folder)

    for file in (tmp_path / "one").iterdir():
        if file.suffix != ".png":
            assert file.read_bytes() == (tmp_path / "other" / file.name).read_bytes(), file.name


def test_thresholds_of_an_earlier_call_do_not_stay_where_there_are_none(harness, judged, tmp_path):
    harness(judged, "--out", tmp_path / "calibration")
    noise = write_by_hand(tmp_path / "noise.json", np.linspace(0.1, 0.9, 40), np.arange(40) % 2, PEOPLE)

    code, out, _ = harness(noise, "--out", tmp_path / "calibration")

    assert code == 0 and "No thresholds for boards of pictures at 64x64" in out
    assert not (tmp_path / "calibration/thresholds.yaml").exists()


def test_places_that_are_refused(harness, judged, tmp_path):
    (tmp_path / "file").write_text("mine")
    copy = tmp_path / "calibration.json"
    copy.write_bytes(judged.read_bytes())

    assert refused(harness(judged, "--out", tmp_path / "file"), "is a file; name a folder")
    assert refused(harness(judged, "--out", tmp_path / "no/where"), "there is no folder")
    assert refused(harness(copy, "--out", tmp_path), "would be replaced")
    assert copy.read_bytes() == judged.read_bytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda document: document["pairs"][0]["metrics"].update(dssim="far"), "dssim: expected"),
        (lambda document: document["judgements"][0].update(image="q99"), "which is no pair of it"),
        (lambda document: document.update(judgements=[]), "holds no judgements"),
        (lambda document: document["dataset"].pop("name"), "name is missing"),
        (lambda document: document["dataset"].update(width=10**9), "width: expected"),
        (lambda document: document.update(more=1), "no field 'more'"),
        (lambda document: document["pairs"][0]["metrics"].update(dssim=1e308), "is 1e+308; no distance is above"),
    ],
)
def test_judgements_that_anybody_may_have_sent(harness, judged, tmp_path, change, said):
    document = json.loads(judged.read_text())
    change(document)
    judged.write_text(json.dumps(document))

    answer = harness(judged, "--out", tmp_path / "calibration")

    assert refused(answer, str(judged), said)


def test_names_of_other_people_do_no_harm_on_the_page_or_in_the_registry(harness, judged, tmp_path):
    document = json.loads(judged.read_text())
    document["dataset"]["name"] = "<b>x</b>|\n'$\\x$: {a}"
    judged.write_text(json.dumps(document))

    code, _, err = harness(judged, "--out", tmp_path / "calibration")

    page = (tmp_path / "calibration/calibration.md").read_text()
    assert code == 0 and "Traceback" not in err and "<b>" not in page
    (entry,) = load_registry([tmp_path / "calibration" / output.THRESHOLDS]).thresholds
    assert entry.dataset == document["dataset"]["name"]
