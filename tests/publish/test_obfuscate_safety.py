"""`harness obfuscate` refuses bad input, and releases everything or nothing: interruptions, full disks, kills."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from harness.cli import main
from harness.data.decode import decode_into
from harness.publish.places import LEDGER
from tests.helpers.paths import ROOT
from tests.helpers.planted import picture_folder
from tests.publish.conftest import obfuscate


def not_empty(place, pictures):
    (place / "out").mkdir()
    (place / "out/mine.txt").write_text("mine")
    return {}


def secret_inside(place, pictures):
    (place / "out").mkdir()
    return {"--secret": place / "out/secret.npz"}


def secret_inside_by_a_link(place, pictures):
    (place / "out").mkdir()
    (place / "link").symlink_to(place / "out")
    return {"--secret": place / "link/secret.npz"}


def secret_is_the_folder(place, pictures):
    return {"--secret": place / "out"}


def secret_there(place, pictures):
    (place / "secret.npz").write_text("of another release")
    return {}


def no_parent(place, pictures):
    return {"--out": place / "nowhere/out"}


def a_file(place, pictures):
    (place / "out").write_text("mine")
    return {}


def no_epochs(place, pictures):
    return {"--epochs": 0}


def two_roles(place, pictures):
    for role in ("train", "test"):
        picture_folder(place / "both" / role)
    return {"--dataset": place / "both"}


def no_folder(place, pictures):
    return {"--dataset": place / "photos"}


def no_classes(place, pictures):
    (place / "flat").mkdir()
    return {"--dataset": place / "flat"}


def wrong_knob(place, pictures):
    return {"-D": "block=4"}


def too_few(place, pictures):
    return {"-D": "weights=" + ",".join(["0.02"] * 50)}


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (not_empty, "not empty"),
        (secret_inside, "inside the release"),
        (secret_inside_by_a_link, "inside the release"),
        (secret_is_the_folder, "inside the release"),
        (secret_there, "there already"),
        (no_parent, "there is no folder"),
        (a_file, "is a file"),
        (no_epochs, "1 or more"),
        (two_roles, "both/train"),
        (no_folder, "does not exist"),
        (no_classes, "no class folders"),
        (wrong_knob, "block"),
        (too_few, "fewer than the 50 sources"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(prepare, said, pictures, tmp_path, capsys):
    place = tmp_path / "place"
    place.mkdir()
    changed = {str(key): str(value) for key, value in prepare(place, pictures).items()}
    before = {path: path.read_bytes() if path.is_file() else None for path in place.rglob("*")}
    options = {"--defense": "mix", "--dataset": str(pictures), "--out": str(place / "out")}
    options |= {"--secret": str(place / "secret.npz"), **changed}

    code = main(["obfuscate", *(word for pair in options.items() for word in pair)])

    error = capsys.readouterr().err
    assert code == 2
    assert len(error.strip().splitlines()) == 1
    assert said in error
    assert {path: path.read_bytes() if path.is_file() else None for path in place.rglob("*")} == before


@pytest.mark.parametrize(
    "moment", ["obfuscate.decode_into", "obfuscate.obfuscate", "obfuscate.write_images", "secret_file.write_secret"]
)
def test_an_interrupted_run_leaves_nothing(moment, pictures, tmp_path, monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.setattr(f"harness.publish.{moment}", stop)

    assert obfuscate(pictures, place) == 130
    assert "begins anew" in capsys.readouterr().err
    assert list(place.iterdir()) == []


def test_an_interruption_after_the_release_has_its_name_keeps_the_secret(pictures, tmp_path, monkeypatch):
    """The only key to what is out is never removed."""
    place = tmp_path / "place"
    place.mkdir()

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.system.new_folder.shutil.rmtree", stop)

    assert obfuscate(pictures, place) == 130
    assert {path.name for path in place.iterdir()} >= {LEDGER, "out", "secret.npz"}


def test_a_link_to_an_empty_folder_is_that_folder(pictures, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "there")

    assert obfuscate(pictures, tmp_path) == 0
    assert (tmp_path / "there/epoch_000").is_dir()


def test_the_secret_can_be_written_to_a_disk_without_links(pictures, tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)

    assert obfuscate(pictures, tmp_path) == 0
    assert stat.S_IMODE((tmp_path / "secret.npz").stat().st_mode) == 0o600


def test_originals_have_no_name_in_scratch_space_while_they_are_decoded(pictures, tmp_path, monkeypatch):
    """So that nothing of them remains, even after SIGKILL."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    seen = []

    def looking(*given):
        found = decode_into(*given)
        seen.extend((tmp_path / "scratch").iterdir())
        return found

    monkeypatch.setattr("harness.publish.obfuscate.decode_into", looking)

    assert obfuscate(pictures, tmp_path) == 0
    assert seen == []


def test_a_full_disk_is_one_line_and_nothing_is_released(pictures, tmp_path, monkeypatch, capsys):
    def full(self, data):
        raise OSError(28, "No space left on device", str(self))

    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.setattr(Path, "write_bytes", full)

    assert obfuscate(pictures, place, seed=None) == 2
    assert "No space left" in capsys.readouterr().err
    assert list(place.iterdir()) == []


def test_where_the_folder_cannot_get_its_name_the_secret_is_removed_too(pictures, tmp_path, monkeypatch):
    place = tmp_path / "place"
    place.mkdir()

    def someone_was_faster(self, target):
        target.mkdir()
        (target / "theirs").write_text("theirs")
        return os.rename(self, target)

    monkeypatch.setattr(Path, "rename", someone_was_faster)

    assert obfuscate(pictures, place) == 2
    assert [path.name for path in place.iterdir()] == ["out"]
    assert [path.name for path in (place / "out").iterdir()] == ["theirs"]


def test_files_of_a_killed_run_are_removed_by_the_next(pictures, tmp_path, monkeypatch):
    """After SIGKILL there is no release; the same command then makes a complete one from a single root."""
    place = tmp_path / "place"
    place.mkdir()
    words = ["--dataset", str(pictures), "--out", str(place / "out"), "--secret", str(place / "secret.npz")]
    command = [sys.executable, "-m", "harness.cli", "obfuscate", "--defense", "mix", "--epochs", "2000", *words]
    environment = {**os.environ, "HARNESS_IN_PROCESS": "1"}  # the process that is killed is the one that works
    running = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, env=environment)
    partial = place / ".out.partial"
    deadline = time.monotonic() + 300
    while not (partial / "epoch_003").is_dir() and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.02)
    assert (partial / "epoch_003").is_dir()

    busy = obfuscate(pictures, place)  # another run is at it
    running.send_signal(signal.SIGKILL)
    running.wait()
    remaining = [path.name for path in place.iterdir()]
    again = obfuscate(pictures, place)

    assert busy == 2
    assert {".out.partial", ".out.lock", ".secret.npz.lock"} < set(remaining) and "out" not in remaining
    assert again == 0
    assert sorted(path.name for path in place.iterdir()) == [LEDGER, "out", "secret.npz"]
    files = [str(path.relative_to(place / "out")) for path in (place / "out").rglob("*.png")]
    assert sorted(files) == sorted(np.load(place / "secret.npz")["file"])
