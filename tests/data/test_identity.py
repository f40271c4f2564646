"""Data changed in place are seen, and another folder is not taken for the one that was decoded."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data import identity
from harness.data.load import load
from tests.helpers.folders import parts

LONG_AGO = (10**18, 10**18)


def pictures(root: Path, seed: int) -> Path:
    """Uncompressed: all files have one length."""
    rng = np.random.default_rng(seed)
    for label in ("cat", "dog"):
        for number in range(6):
            path = root / label / f"{number}.bmp"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(path)
            os.utime(path, ns=LONG_AGO)
    return root


def files(root: Path) -> list[Path]:
    return sorted(root.rglob("*.bmp"))


def on_disk(root: Path) -> set[bytes]:
    return {np.asarray(Image.open(path)).tobytes() for path in files(root)}


def loaded(root: Path, cache: Path) -> set[bytes]:
    return {
        image.transpose(1, 2, 0).tobytes() for part in parts(load(root, cache=cache)) for image in np.array(part.images)
    }


@pytest.fixture(params=["its state is a proof", "changed just now", "whole seconds"])
def clock(request, monkeypatch):
    """File systems as they are: one whose ctime tells, one that is asked too early, one that counts seconds."""
    if request.param == "its state is a proof":
        monkeypatch.setattr(identity, "JUST_NOW", -(10**18))
    elif request.param == "whole seconds":  # all in one
        monkeypatch.setattr(identity, "state_of", lambda found: f"{found.st_size} {found.st_ino}")
        monkeypatch.setattr(identity, "is_proof", lambda found, now: False)
    return request.param


def write_in_place(path: Path, other: Path) -> None:
    """As cp does: the file stays, its content is another."""
    with path.open("r+b") as file:
        file.write(other.read_bytes())
    os.utime(path, ns=LONG_AGO)


def replace_by_rename(path: Path, other: Path) -> None:
    """As rsync -t does."""
    shutil.copyfile(other, path.with_suffix(".new"))
    os.utime(path.with_suffix(".new"), ns=LONG_AGO)
    path.with_suffix(".new").replace(path)


def link_to_another(path: Path, other: Path) -> None:
    path.unlink()
    path.symlink_to(other)


CHANGES = (write_in_place, replace_by_rename, link_to_another)


@pytest.mark.parametrize("change", CHANGES, ids=lambda function: function.__name__)
def test_a_file_of_the_same_name_length_and_time_with_other_content_is_seen(tmp_path, clock, change):
    one, other = pictures(tmp_path / "pets", 1), pictures(tmp_path / "other", 2)
    assert loaded(one, tmp_path / "cache") == on_disk(one)

    for path, new in zip(files(one), files(other), strict=True):
        change(path, new)

    assert loaded(one, tmp_path / "cache") == on_disk(one) == on_disk(other)


def test_one_changed_picture_of_many_is_enough(tmp_path, clock):
    one, other = pictures(tmp_path / "pets", 1), pictures(tmp_path / "other", 2)
    loaded(one, tmp_path / "cache")

    write_in_place(files(one)[5], files(other)[5])

    assert loaded(one, tmp_path / "cache") == on_disk(one)


def test_two_folders_that_agree_in_every_name_length_and_time_are_two_data_sets(tmp_path, clock):
    one, other = pictures(tmp_path / "a/pets", 1), pictures(tmp_path / "b/pets", 2)

    assert loaded(one, tmp_path / "cache") == on_disk(one)
    assert loaded(other, tmp_path / "cache") == on_disk(other)


def test_another_folder_moved_to_the_place_of_one_is_another_data_set(tmp_path, clock):
    one, other = pictures(tmp_path / "pets", 1), pictures(tmp_path / "other", 2)
    loaded(one, tmp_path / "cache")

    one.rename(tmp_path / "before")
    other.rename(one)

    assert loaded(one, tmp_path / "cache") == on_disk(one)


def test_a_link_that_leads_elsewhere_now_is_another_data_set(tmp_path, clock):
    one, other = pictures(tmp_path / "one", 1), pictures(tmp_path / "other", 2)
    link = tmp_path / "pets"
    link.symlink_to(one)
    loaded(link, tmp_path / "cache")

    link.unlink()
    link.symlink_to(other)

    assert loaded(link, tmp_path / "cache") == on_disk(other)


def test_a_link_and_its_folder_are_one_entry(tmp_path):
    one = pictures(tmp_path / "one", 1)
    (tmp_path / "link").symlink_to(one)

    loaded(one, tmp_path / "cache")
    loaded(tmp_path / "link", tmp_path / "cache")

    assert len(list((tmp_path / "cache/roles").iterdir())) == 1


def test_files_changed_just_now_are_decoded_once_and_their_content_is_compared(tmp_path, monkeypatch):
    """Also by a later load, when their state is a proof."""
    one = pictures(tmp_path / "pets", 1)
    loaded(one, tmp_path / "cache")
    monkeypatch.setattr(identity, "is_proof", lambda found, now: True)
    monkeypatch.setattr("harness.data.load.decode_into", lambda *_: pytest.fail("decoded again"))

    assert loaded(one, tmp_path / "cache") == on_disk(one)


SECOND = identity.SECOND


@pytest.mark.parametrize(
    ("changed", "now", "expected"),
    [
        (5 * SECOND + 1, 100 * SECOND, True),
        (99 * SECOND + 1, 100 * SECOND, False),  # just now
        (5 * SECOND, 100 * SECOND, False),  # a file system that counts whole seconds
        (200 * SECOND + 1, 100 * SECOND, False),  # the clock was set back since
    ],
)
def test_when_the_time_of_the_last_change_is_a_proof(changed, now, expected):
    class Found:
        st_ctime_ns = changed

    assert identity.is_proof(Found, now) == (expected and os.name != "nt")


def test_the_time_of_a_later_change_differs_where_it_is_said_to_be_a_proof(tmp_path):
    """What the whole rests on, on this file system: nobody can set ctime back."""
    path = tmp_path / "file"
    path.write_bytes(b"one")
    os.utime(path, ns=LONG_AGO)
    before, _ = identity.file_state(path)
    time.sleep(0.02)

    path.write_bytes(b"two")
    os.utime(path, ns=LONG_AGO)

    assert identity.file_state(path)[0] != before
