"""Decoded images are kept: read once, found damaged, made anew."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from harness.data import cache as cache_module
from harness.data import decode
from harness.data.cache import cached, held_by_nobody
from harness.data.decode import LazyImage
from harness.data.load import load
from tests.helpers.folders import parts, refusal, sizes, truncate, write


def test_a_second_load_decodes_nothing_and_gives_the_same_arrays(flat, cache, monkeypatch):
    first = load(flat, cache=cache)
    monkeypatch.setattr(decode, "_decoded", lambda *_: pytest.fail("decoded again"))
    monkeypatch.setattr(decode, "read_image", lambda *_: pytest.fail("read again"))

    second = load(flat, cache=cache)

    for one, other in zip(parts(first), parts(second), strict=True):
        assert isinstance(other.images, np.memmap) and not other.images.flags.writeable
        for field in ("images", "labels", "hashes"):
            assert np.array_equal(getattr(one, field), getattr(other, field))
        assert one.names == other.names
    assert first.fingerprint == second.fingerprint and first.notes == second.notes


def test_each_role_has_its_own_file(flat, cache):
    splits = load(flat, cache=cache)

    for part in parts(splits):
        assert Path(part.images.filename).stat().st_size == part.images.nbytes


def test_a_changed_file_is_decoded_again(flat, cache):
    before = load(flat, cache=cache)
    write(flat / "cat/000.png")
    os.utime(flat / "cat/000.png", ns=(1, 1))

    assert load(flat, cache=cache).fingerprint != before.fingerprint


def zero(path):
    path.write_bytes(bytes(path.stat().st_size))


def edit(path):
    path.write_text(path.read_text().replace("0", "1"))


@pytest.mark.parametrize(("damage", "file"), [(truncate, "*.bin"), (zero, "*.bin"), (edit, "index"), (zero, "index")])
def test_a_damaged_cache_is_reported_renamed_and_made_again(flat, cache, caplog, damage, file):
    good = load(flat, cache=cache)
    copy = np.array(good.private.images)
    del good
    for path in (cache / "roles").glob(f"*/{file}"):
        damage(path)

    again = load(flat, cache=cache)

    assert np.array_equal(again.private.images, copy)
    assert [path.suffix for path in (cache / "roles").iterdir()].count(".corrupt") == 1
    assert "damaged" in caplog.text and str(cache / "roles") in caplog.text


def test_an_interrupted_decode_leaves_nothing_behind(flat, cache, monkeypatch):
    def interrupted(pictures, size):
        yield np.zeros((3, 16, 16), np.uint8)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(decode, "_decoded", interrupted)
        load(flat, cache=cache)

    assert not [path for path in cache.rglob("*") if path.is_file()]
    assert sizes(load(flat, cache=cache)) == [18, 6, 6]


def test_temporary_folders_of_a_killed_run_are_removed_later(flat, cache):
    old, fresh = cache / "roles/dead.tmp", cache / "roles/alive.tmp"
    for leftover in (old, fresh):
        leftover.mkdir(parents=True)
        (leftover / "images.bin").write_bytes(b"half")
    os.utime(old / "images.bin", (0, 0))
    os.utime(old, (0, 0))

    load(flat, cache=cache)

    assert not old.exists() and fresh.exists()


@pytest.mark.skipif(cache_module.fcntl is None, reason="on Windows open files cannot be removed")
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_folder_that_another_run_made_is_held_before_it_is_used(tmp_path, monkeypatch, moment):
    """The other run's folder appears around the look for it; from then on nobody may clear it."""
    folder, hold = tmp_path / "images", cache_module.hold

    def raced(path):
        if path == folder and moment == "before":
            appear()
        held = hold(path)
        if path == folder and moment == "after":
            appear()
        return held

    def appear():
        if not folder.exists():
            cached(tmp_path / "other", lambda place: (place / "a").write_text("1") and {"n": 1}, lambda _: True)
            cache_module.release(tmp_path / "other")  # that run has ended
            (tmp_path / "other").rename(folder)

    def write(place):
        (place / "a").write_text("1")
        return {"n": 1}

    monkeypatch.setattr(cache_module, "hold", raced)
    assert cached(folder, write, lambda _: True) == {"n": 1}

    with held_by_nobody(folder) as free:
        assert free is False
    assert os.listdir(tmp_path) == ["images"]


def test_a_full_disk_is_one_line(flat, cache, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")
        yield

    monkeypatch.setattr(decode, "_decoded", full)

    assert "No space left on device" in refusal(flat, cache=cache)


def test_a_cache_that_cannot_be_made_is_one_line(flat, tmp_path):
    (tmp_path / "file").write_text("in the way")

    assert "cannot write the cache" in refusal(flat, cache=tmp_path / "file")


def test_decoding_holds_few_images_at_a_time(tmp_path, cache):
    """A set larger than memory works: images are written before the last one is decoded."""
    alive, most = set(), 0

    class Pixels(np.ndarray):
        def __del__(self):
            alive.discard(id(self))

    def read(number):
        nonlocal most
        pixels = np.full((8, 8, 3), number % 256, np.uint8)
        pixels[0, 0, 0] = number // 256
        tracked = pixels.view(Pixels)
        alive.add(id(tracked))
        most = max(most, len(alive))
        return tracked

    def many(_):
        return [LazyImage(f"{n:04}", "ab"[n % 2], None, lambda n=n: read(n), str(n)) for n in range(1500)]

    splits = load("many", cache=cache, entries={"many": many})

    assert sizes(splits) == [900, 300, 300]
    assert most <= 4 * decode.BATCH


def test_progress_counts_up_to_the_number_of_files(flat, cache):
    seen = []

    load(flat, cache=cache, progress=lambda what, done, total: seen.append((what, done, total)))

    assert seen[0] == ("decoding", 0, 30) and seen[-1] == ("decoding", 30, 30)
