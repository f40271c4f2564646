"""The ledger counts releases by content over all runs, keeps a budget, and is never lost in silence."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from harness.publish.places import LEDGER
from tests.helpers.no_locks import refuse_locks
from tests.helpers.paths import ROOT
from tests.helpers.planted import picture_folder
from tests.publish.conftest import EACH, refused, runs


def test_epochs_are_counted_over_runs(release, ledger):
    assert release("a", "--epochs", "2")[1]["released_before"] == 0
    code, document, err = release("b", "--epochs", "3")

    assert code == 0 and document["released_before"] == 2
    assert "5 releases of the same images (2 of them by earlier runs)" in err and "--epochs 5" in err
    assert [(run["state"], run["releases"]) for run in runs(ledger)] == [("released", 2), ("released", 3)]
    assert stat.S_IMODE(ledger.stat().st_mode) == 0o600


def test_it_says_what_was_released_from_which_folder(release, ledger, pictures, tmp_path):
    release("a", "-D", "weights=0.75,0.25")

    (run,) = runs(ledger)
    assert run["folder"] == str(pictures) and run["out"] == str(tmp_path / "a")
    assert run["defense"] == "mix" and json.loads(run["settings"])["weights"] == [0.75, 0.25]
    assert len(json.loads(ledger.read_text())["content"]["sets"][run["pictures"]]) == 3 * EACH


def copied(pictures, place):
    return shutil.copytree(pictures, place)


def renamed(pictures, place):
    shutil.copytree(pictures, place)
    for number, file in enumerate(sorted(place.rglob("*.png"))):
        file.rename(file.with_name(f"x{number}.png"))
    return place


def other_classes(pictures, place):
    shutil.copytree(pictures, place)
    for label in sorted(place.iterdir()):
        label.rename(place / f"class {label.name}")
    return place


def other_format(pictures, place):
    for file in pictures.rglob("*.png"):
        target = place / file.parent.name / f"{file.stem}.bmp"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(file).convert("RGB").save(target)
    return place


def linked(pictures, place):
    place.symlink_to(pictures)
    return place


def one_of_them(pictures, place):
    """Among others that were never released."""
    picture_folder(place, each=4, seed=9)
    first = sorted(pictures.rglob("*.png"))[0]
    shutil.copy(first, place / first.parent.name / "again.png")
    return place


@pytest.mark.parametrize("make", [copied, renamed, other_classes, other_format, linked, one_of_them])
def test_pictures_are_known_by_their_content(release, pictures, tmp_path, make):
    release("a", "--epochs", "2")
    data = make(pictures, tmp_path / "data")

    assert release("b", data=data)[1]["released_before"] == 2
    refused(release("c", "--at-most", "3", data=data), "--at-most 3")


def test_another_size_is_the_same_picture(release):
    release("a", "--size", "8")

    assert release("b", "--size", "16")[1]["released_before"] == 1


def test_other_pictures_are_counted_apart(release, tmp_path):
    release("a", "--epochs", "2")

    other = picture_folder(tmp_path / "other", each=EACH, seed=6)
    assert release("b", "--at-most", "1", data=other)[1]["released_before"] == 0


# The budget


def test_a_budget_is_kept_over_runs(release, tmp_path, ledger):
    assert release("a", "--epochs", "2", "--at-most", "3")[0] == 0
    before = ledger.read_bytes()

    refused(release("b", "--epochs", "2"), "released up to 2 times before", "2 more", "nothing was released")
    assert ledger.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "pictures", "secrets"]
    assert sorted(path.name for path in (tmp_path / "secrets").iterdir()) == ["a.npz", LEDGER]
    assert release("b")[0] == 0
    refused(release("c"), "3 times")


def test_the_budget_that_was_stated_last_counts_and_raising_it_is_said(release, caplog):
    release("a", "--at-most", "1")
    refused(release("b"), "1")

    assert release("c", "--at-most", "3")[0] == 0
    assert "raised from 1 to 3" in caplog.text
    assert release("d")[0] == 0
    refused(release("e"), "the budget in")


def test_more_releases_than_the_budget_are_refused_at_once(release, ledger):
    refused(release("a", "--epochs", "5", "--at-most", "4"), "5 releases", "--at-most")
    assert not ledger.exists()


def test_releases_and_not_epochs_are_counted(release):
    assert release("a", "--epochs", "5", "--releases", "2", "--at-most", "2")[0] == 0
    assert release("b", "--at-most", "9")[1]["released_before"] == 2


def twice_in_a_class(pictures, first):
    shutil.copy(first, first.with_name("copy.png"))


def in_another_class(pictures, first):
    other = next(label for label in sorted(pictures.iterdir()) if label != first.parent)
    shutil.copy(first, other / "copy.png")


def as_another_file(pictures, first):
    Image.open(first).convert("RGB").save(first.with_name("copy.bmp"))


@pytest.mark.parametrize("make", [twice_in_a_class, in_another_class, as_another_file])
def test_every_copy_of_a_picture_counts(release, pictures, tmp_path, make):
    make(pictures, sorted(pictures.rglob("*.png"))[0])

    refused(release("a", "--at-most", "1"), "2 of 25 pictures have copies, up to 2", "keep one of each")
    assert not (tmp_path / "a").exists()
    assert release("b", "--at-most", "2")[1]["released_before"] == 0
    assert release("c", "--at-most", "4")[1]["released_before"] == 2
    refused(release("d"), "up to 4 times before")


def test_one_of_each_is_as_before_where_copies_were_released(release, pictures, tmp_path):
    kept = shutil.copytree(pictures, tmp_path / "kept")
    twice_in_a_class(pictures, sorted(pictures.rglob("*.png"))[0])
    release("a")

    assert release("b", "--at-most", "3", data=kept)[1]["released_before"] == 2
    refused(release("c", data=kept), "1 of 24 pictures", "up to 3 times before")


def test_a_link_to_a_picture_is_a_copy(release, pictures, caplog):
    first = sorted(pictures.rglob("*.png"))[0]
    first.with_name("link.png").symlink_to(first.name)

    refused(release("a", "--at-most", "1"), "copies")
    assert "1 picture several times in a class" in caplog.text


# Runs that fail, and several at once


@pytest.mark.parametrize("moment", ["obfuscate.write_images", "secret_file.write_secret", "ledger.Entry.confirm"])
def test_a_run_that_fails_counts_nothing(release, ledger, tmp_path, monkeypatch, moment):
    release("a")
    before = runs(ledger)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(f"harness.publish.{moment}", full)
        refused(release("b"), "No space left")

    assert runs(ledger) == before
    assert not (tmp_path / "secrets/b.npz").exists() and not (tmp_path / "b").exists()
    assert release("c")[1]["released_before"] == 1


def test_the_first_run_that_fails_leaves_no_ledger(release, tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.publish.obfuscate.write_images", stop)

    assert release("a")[0] == 130
    assert list((tmp_path / "secrets").iterdir()) == []


def test_a_killed_run_counts_nothing_once_it_is_gone(release, ledger, pictures, tmp_path):
    """Killed just before its release gets its name."""
    script = (
        "import os, signal, sys; from harness.publish.ledger import Entry; from harness.cli import main\n"
        "Entry.confirm = lambda self: os.kill(os.getpid(), signal.SIGKILL)\n"
        "main(sys.argv[1:])"
    )
    words = ["obfuscate", "--defense", "mix", "--dataset", str(pictures), "--out", str(tmp_path / "killed")]
    words += ["--secret", str(tmp_path / "secrets/killed.npz")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", script, *words], env=environment, check=False).returncode == -9
    assert [run["state"] for run in runs(ledger)] == ["begun"]

    assert release("a", "--at-most", "1")[1]["released_before"] == 0
    assert [run["state"] for run in runs(ledger)] == ["killed", "released"]
    names = {path.name for path in (tmp_path / "secrets").iterdir()}
    assert not [name for name in names if name.startswith(f".{LEDGER}")]


def test_runs_at_once_are_all_counted_and_none_goes_beyond_the_budget(pictures, tmp_path):
    """Real processes: four that want one release each of a budget of two."""
    (tmp_path / "secrets").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def run(number):
        words = ["--dataset", str(pictures), "--out", str(tmp_path / f"o{number}"), "--at-most", "2"]
        words += ["--secret", str(tmp_path / f"secrets/{number}.npz")]
        command = [sys.executable, "-m", "harness.cli", "obfuscate", "--defense", "mix", *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(run, range(4)))

    assert sorted(each.returncode for each in done) == [0, 0, 2, 2]
    assert all("--at-most 2" in each.stderr for each in done if each.returncode)
    assert len(list(tmp_path.glob("o?"))) == len(list((tmp_path / "secrets").glob("*.npz"))) == 2
    assert [run["state"] for run in runs(tmp_path / "secrets" / LEDGER)] == ["released"] * 2


@pytest.mark.parametrize("number", [38, 95])  # ENOSYS, EOPNOTSUPP
def test_it_counts_on_a_file_system_without_locks(release, monkeypatch, number):
    refuse_locks(monkeypatch, number)

    assert release("a")[0] == release("b")[0] == 0
    assert release("c")[1]["released_before"] == 2
