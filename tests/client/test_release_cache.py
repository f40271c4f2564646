"""A release is made once for all that need it, and each caller has a copy of its own."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.client import release_cache
from harness.client.release_cache import ReleaseCache, node_folder
from harness.errors import HarnessError
from harness.system import scratch
from harness.system.scratch import scratch_folder
from harness.types import Release, Secret
from tests.helpers.no_locks import refuse_locks

SHAPE = (6, 3, 4, 4)
SIZE = int(np.prod(SHAPE))


def an_epoch(value: int):
    images = torch.full(SHAPE, value, dtype=torch.uint8)
    rows = np.arange(12).reshape(6, 2)
    return Release(images, torch.arange(6)), Secret(rows, np.full((6, 2), 0.5, np.float32), np.zeros(6, np.int64))


def test_an_epoch_is_made_once_and_comes_back_whole(tmp_path):
    calls = []
    folder = tmp_path / "cache"
    folder.mkdir()
    for _ in range(3):
        release, secret = ReleaseCache(folder).get_or_make("mix", 0, SIZE, lambda: calls.append(1) or an_epoch(7))
        assert torch.equal(release.images, an_epoch(7)[0].images) and torch.equal(release.labels, torch.arange(6))
        for name in ("sources", "shares", "dominant"):
            assert np.array_equal(getattr(secret, name), getattr(an_epoch(7)[1], name))
    assert calls == [1]


def test_writing_into_a_release_changes_no_other_copy_of_it():
    cache = ReleaseCache()
    for _ in range(3):
        release, _ = cache.get_or_make("mix", 0, SIZE, lambda: an_epoch(7))
        assert bool((release.images == 7).all())
        release.images.zero_()


def test_a_release_does_not_tell_where_the_secrets_beside_it_are():
    cache = ReleaseCache()
    cache.get_or_make("mix", 0, SIZE, lambda: an_epoch(7))
    release, _ = cache.get_or_make("mix", 0, SIZE, lambda: an_epoch(8))

    array = release.images.numpy()
    while array is not None:
        assert getattr(array, "filename", None) is None
        array = getattr(array, "base", None)


def test_a_release_that_several_threads_need_at_once_is_made_once(tmp_path):
    calls = []

    def slowly():
        calls.append(1)
        time.sleep(0.2)
        return an_epoch(7)

    callers = [ReleaseCache(tmp_path).get_or_make for _ in range(4)]
    threads = [threading.Thread(target=get_or_make, args=("mix", 0, SIZE, slowly)) for get_or_make in callers]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert calls == [1]


def test_a_release_that_is_too_large_is_not_kept_and_the_one_used_longest_ago_is_removed():
    calls = []
    cache = ReleaseCache(room=3 * SIZE)

    def get(name, size=SIZE):
        return cache.get_or_make(name, 0, size, lambda: calls.append(name) or an_epoch(7))

    get("large", 4 * SIZE)
    get("large", 4 * SIZE)
    assert calls == ["large", "large"]
    first, _ = get("a")
    os.utime(next(cache.folder.iterdir()), (1, 1))
    get("b")
    get("a")
    assert calls[2:] in (["a", "b"], ["a", "b", "a"])  # what fits beside its secrets stays
    for name in "cdef":
        get(name)
    get("a")
    assert calls[-1] == "a"
    assert bool((first.images == 7).all())  # and a map that is held outlives its file


def test_with_a_full_disk_a_release_is_made_and_not_kept(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(release_cache, "_write", full)
    cache = ReleaseCache()

    release, _ = cache.get_or_make("mix", 0, SIZE, lambda: an_epoch(7))

    assert bool((release.images == 7).all())


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_without_locks_a_release_is_made_by_each_that_needs_it(number, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    refuse_locks(monkeypatch, number)
    living = node_folder("living")
    calls = []

    with scratch_folder() as folder:
        for _ in range(2):
            release, _ = ReleaseCache(folder).get_or_make("mix", 0, SIZE, lambda: calls.append(1) or an_epoch(7))
            assert bool((release.images == 7).all())

    assert calls == [1, 1] and living.is_dir()
    assert list(tmp_path.iterdir()) == [living.parent]


def test_the_folder_of_a_killed_run_is_removed_by_the_next_run_and_that_of_a_living_one_stays(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    abandoned = tmp_path / f"{scratch.PREFIX}run.dead"
    (abandoned / "epochs").mkdir(parents=True)
    living = node_folder("living")

    node_folder("next")

    assert not abandoned.exists()
    assert living.is_dir()


def test_a_cache_of_one_process_is_removed_by_the_next_run_where_it_was_killed(tmp_path, monkeypatch):
    """A cache that no other process uses, as of a run with one worker."""
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    code = "import os, sys, tempfile; tempfile.tempdir = sys.argv[1]\n"
    code += "from harness.client.release_cache import ReleaseCache\n"
    code += "cache = ReleaseCache(); print(cache.folder, flush=True); sys.stdin.read(); os._exit(9)"
    killed = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    folder = Path(killed.stdout.readline().strip())
    here = ReleaseCache()
    assert folder.is_dir()

    killed.communicate()
    del here
    ReleaseCache()

    assert not folder.parent.exists() and list(tmp_path.iterdir()) == []


def test_without_locks_the_folder_of_a_process_that_ended_is_removed_an_hour_later(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    refuse_locks(monkeypatch, errno.ENOLCK)
    mine = node_folder("one").parent
    names = [mine.name, mine.name.replace(f".{os.getpid()}.", f".{int(ended.stdout)}."), f"{mine.name[:-24]}x.1.y"]
    for name in names:
        (tmp_path / name).mkdir(exist_ok=True)
        os.utime(tmp_path / name, (1, 1))

    scratch.remove_abandoned(tmp_path)

    assert {path.name for path in tmp_path.iterdir()} == {names[0], names[2]}  # living, of another machine


def test_a_folder_that_a_process_without_locks_joined_is_not_removed_by_one_with_locks(tmp_path, monkeypatch):
    """A server that is short of locks for a moment."""
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    with monkeypatch.context() as short:
        refuse_locks(short, errno.ENOLCK)
        living = node_folder("living")

    node_folder("next")

    assert living.is_dir()


def test_a_link_is_not_followed(tmp_path):
    """Somebody's link in a shared TMPDIR."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home/kept").touch()
    (tmp_path / f"{scratch.PREFIX}run.link").symlink_to(tmp_path / "home")

    scratch.remove_abandoned(tmp_path)

    assert [path.name for path in (tmp_path / "home").iterdir()] == ["kept"]


def test_no_scratch_folder_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "missing"))

    with pytest.raises(HarnessError, match="no scratch folder: No such file or directory; set TMPDIR to a folder"):
        ReleaseCache()


@pytest.fixture(autouse=True)
def no_lock_held():
    yield
    release_cache._held.close()


def test_a_folder_stays_while_one_process_of_its_run_lives(tmp_path, monkeypatch):
    """Two processes of one run: the folder is removed only after both have ended."""
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    code = (
        "import sys, tempfile; tempfile.tempdir = sys.argv[1]; from harness.client.release_cache import node_folder; "
    )
    code += "print(node_folder('one'), flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(tmp_path)]
    pair = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        (folder,) = {Path(each.stdout.readline().strip()) for each in pair}
        pair[0].kill()
        pair[0].wait()
        node_folder("two")
        assert folder.is_dir()
    finally:
        for each in pair:
            each.kill()
            each.communicate()

    node_folder("three")
    assert not folder.parent.exists()


def test_the_release_cache_needs_no_unix_module():
    """On Windows there is no fcntl."""
    code = "import sys; sys.modules['fcntl'] = None; import harness.client.release_cache"
    subprocess.run([sys.executable, "-c", code], check=True)
