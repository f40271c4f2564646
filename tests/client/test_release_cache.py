"""Releases are made once for all that need them, and whoever takes one has it for himself."""

from __future__ import annotations

import errno
import os
import threading
import time

import numpy as np
import pytest
import torch

from harness.client import release_cache
from harness.client.release_cache import ReleaseCache, node_folder
from harness.types import Release, Secret

SHAPE = (6, 3, 4, 4)
SIZE = int(np.prod(SHAPE))


def made(value: int):
    images = torch.full(SHAPE, value, dtype=torch.uint8)
    rows = np.arange(12).reshape(6, 2)
    return Release(images, torch.arange(6)), Secret(rows, np.full((6, 2), 0.5, np.float32), np.zeros(6, np.int64))


def test_an_epoch_is_made_once_and_comes_back_whole(tmp_path):
    calls = []
    folder = tmp_path / "shelf"
    folder.mkdir()
    for _ in range(3):
        release, secret = ReleaseCache(folder).get_or_make("mix", 0, SIZE, lambda: calls.append(1) or made(7))
        assert torch.equal(release.images, made(7)[0].images) and torch.equal(release.labels, torch.arange(6))
        for name in ("sources", "shares", "dominant"):
            assert np.array_equal(getattr(secret, name), getattr(made(7)[1], name))
    assert calls == [1]


def test_what_one_writes_into_a_release_nobody_else_sees():
    kept = ReleaseCache()
    for _ in range(3):
        release, _ = kept.get_or_make("mix", 0, SIZE, lambda: made(7))
        assert bool((release.images == 7).all())
        release.images.zero_()


def test_a_release_does_not_tell_where_the_secrets_beside_it_are():
    kept = ReleaseCache()
    kept.get_or_make("mix", 0, SIZE, lambda: made(7))
    release, _ = kept.get_or_make("mix", 0, SIZE, lambda: made(8))

    array = release.images.numpy()
    while array is not None:
        assert getattr(array, "filename", None) is None
        array = getattr(array, "base", None)


def test_two_at_once_make_it_once(tmp_path):
    calls = []

    def slowly():
        calls.append(1)
        time.sleep(0.2)
        return made(7)

    callers = [ReleaseCache(tmp_path).get_or_make for _ in range(4)]
    threads = [threading.Thread(target=get_or_make, args=("mix", 0, SIZE, slowly)) for get_or_make in callers]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert calls == [1]


def test_what_is_too_large_is_made_anew_and_what_was_used_longest_ago_makes_room():
    calls = []
    kept = ReleaseCache(room=3 * SIZE)

    def take(name, size=SIZE):
        return kept.get_or_make(name, 0, size, lambda: calls.append(name) or made(7))

    take("large", 4 * SIZE)
    take("large", 4 * SIZE)
    assert calls == ["large", "large"]
    first, _ = take("a")
    os.utime(next(kept.folder.iterdir()), (1, 1))
    take("b")
    take("a")
    assert calls[2:] in (["a", "b"], ["a", "b", "a"])  # what fits beside its secrets stays
    for name in "cdef":
        take(name)
    take("a")
    assert calls[-1] == "a"
    assert bool((first.images == 7).all())  # and a map that is held outlives its file


def test_a_full_disk_costs_time_and_nothing_else(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(release_cache, "_write", full)
    kept = ReleaseCache()

    release, _ = kept.get_or_make("mix", 0, SIZE, lambda: made(7))

    assert bool((release.images == 7).all())


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    left = tmp_path / f"{release_cache.PREFIX}run.dead"
    (left / "epochs").mkdir(parents=True)
    living = node_folder("living")

    node_folder("next")

    assert not left.exists()
    assert living.is_dir()


@pytest.fixture(autouse=True)
def nothing_held():
    yield
    release_cache._held.close()
