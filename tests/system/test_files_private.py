"""Lock files, partial and scratch folders are for their owner alone; those of killed runs go, and no other file."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import filelock
import pytest

from harness.client.release_cache import ReleaseCache
from harness.errors import HarnessError
from harness.system import scratch
from harness.system.files import LOCK_MARK, lock_file, write_atomically, write_private
from harness.system.new_folder import new_folder, remove_abandoned
from tests.helpers.no_locks import refuse_locks
from tests.helpers.paths import ROOT

pytestmark = pytest.mark.skipif(os.name == "nt", reason="modes and flock")


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o277], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    found = [folder, *folder.rglob("*")]
    return {str(path.relative_to(folder)): stat.S_IMODE(path.lstat().st_mode) for path in found}


# ---- modes


@pytest.mark.usefixtures("umask")
def test_what_lies_beside_a_release_is_for_its_owner_alone(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out"):
        write_private(tmp_path / "secret", lambda file: file.write(b"it"))
        write_atomically(tmp_path / "other", lambda file: file.write(b"it"), private=True)
        made = modes(tmp_path)

    assert {name: made[name] for name in (".out.lock", ".out.partial", "secret", "other")} == {
        ".out.lock": 0o600,
        ".out.partial": 0o700,
        "secret": 0o600,
        "other": 0o600,
    }


def test_other_lock_files_follow_the_umask(tmp_path: Path, umask: int) -> None:
    """Those in a folder of records that several users write to."""
    with lock_file(tmp_path / "lock"):
        assert modes(tmp_path)["lock"] == 0o666 & ~umask and (tmp_path / "lock").read_bytes() == LOCK_MARK


@pytest.mark.usefixtures("umask")
def test_scratch_is_for_its_owner_alone(tmp_path: Path) -> None:
    import torch

    from harness.observation import Release
    from harness.release import Secret

    with ExitStack() as held:
        folder = scratch.join_folder("run", held, tmp_path)
        cache = ReleaseCache(folder, room=10**6)
        release = Release(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64))
        rows = torch.zeros(2, 1).numpy()
        cache.get_or_make("name", 0, 100, lambda: (release, Secret(rows.astype("int64"), rows, rows[:, 0] > 1)))
        made = modes(tmp_path / folder.parent.name)

    assert len(made) >= 6 and {0o700, 0o600} == set(made.values())
    assert all(mode == (0o600 if Path(name).suffix else 0o700) for name, mode in made.items() if name != "joining")


# ---- killed runs


KILLED = """
import os, signal, sys
from pathlib import Path
from harness.system.files import lock_file
from harness.system.new_folder import new_folder
with new_folder(Path(sys.argv[1])) as folder, lock_file(Path(sys.argv[1]).with_name(".s.npz.lock"), private=True):
    (folder / "a").mkdir()
    (folder / "a/released.png").touch()
    Path(sys.argv[1]).with_name(".s.npz.0123abcd.partial").touch()
    MOMENT
"""


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Path]:
    """Where a killed run was writing."""
    command = [sys.executable, "-c", KILLED.replace("MOMENT", "os.kill(os.getpid(), signal.SIGKILL)"), tmp_path / "o"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == -signal.SIGKILL
    yield tmp_path / "o"


def test_the_next_run_beside_it_removes_what_a_killed_one_left(run: Path) -> None:
    left = sorted(os.listdir(run.parent))
    assert left == [".o.lock", ".o.partial", ".s.npz.0123abcd.partial", ".s.npz.lock"]

    with new_folder(run.with_name("another")):
        assert sorted(os.listdir(run.parent)) == [".another.lock", ".another.partial"]


def test_what_a_living_run_writes_stays(tmp_path: Path) -> None:
    place = tmp_path / "o"
    waiting = KILLED.replace("MOMENT", "print(flush=True); sys.stdin.read()")
    command = [sys.executable, "-c", waiting, place]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as living:
        assert living.stdout and living.stdin
        living.stdout.readline()
        with new_folder(tmp_path / "another"):
            pass
        with new_folder(tmp_path / "third"), pytest.raises(HarnessError, match="another run is writing"):
            new_folder(place).__enter__()
        living.stdin.close()

    assert living.returncode == 0 and (place / "a/released.png").exists()


def test_a_run_of_this_process_that_is_not_done_stays(tmp_path: Path) -> None:
    with new_folder(tmp_path / "one") as one:
        (one / "file").touch()
        with new_folder(tmp_path / "two"):
            assert (one / "file").exists()

    assert sorted(os.listdir(tmp_path)) == ["one", "two"]


def test_files_of_other_programs_stay(tmp_path: Path) -> None:
    """Locks by existence alone, partial folders without a lock of this program, links."""
    for name in (".theirs.lock", ".git.lock"):
        (tmp_path / name).touch()
    (tmp_path / ".said.lock").write_text("lock of somebody\n" * 2)
    (tmp_path / ".longer.lock").write_bytes(LOCK_MARK + b"more")
    for name in (".theirs.partial", ".rsync.partial", ".said.partial"):
        (tmp_path / name).mkdir()
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").touch()
    (tmp_path / ".linked.partial").symlink_to("kept")
    (tmp_path / ".link.lock").symlink_to(".linked.lock")
    before = sorted(os.listdir(tmp_path))
    (tmp_path / ".linked.lock").write_bytes(LOCK_MARK)  # this program's

    remove_abandoned(tmp_path)

    assert sorted(os.listdir(tmp_path)) == before and (tmp_path / "kept/file").exists()


def test_without_locks_nothing_is_removed(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no telling whether the run lives."""
    refuse_locks(monkeypatch, 38)
    before = sorted(os.listdir(run.parent))

    with new_folder(run.with_name("another")):
        pass

    assert sorted(os.listdir(run.parent)) == sorted([*before, "another"])


def test_a_folder_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    remove_abandoned(tmp_path / "nowhere")


def test_a_private_lock_is_held_as_any_other(tmp_path: Path) -> None:
    with lock_file(tmp_path / "lock", private=True), pytest.raises(filelock.Timeout):
        lock_file(tmp_path / "lock", private=True).__enter__()

    assert os.listdir(tmp_path) == []
