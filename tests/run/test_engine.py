"""Any number of workers gives the same records; a killed piece is done again, and no other."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import yaml

import harness.client.client
from harness.errors import HarnessError
from harness.records import Records
from harness.registry import load_registry
from harness.run.bench import OUT_OF_MEMORY
from harness.run.claims import Claims
from harness.run.cross import Cross
from harness.run.engine import Engine, RunOptions, prepare, run
from harness.run.scheduler import TRIES, InProcess, run_jobs
from tests.helpers.no_locks import refuse_locks
from tests.helpers.planted import attack, bench, picture_folder, record_contents

PLUGINS = {
    "the_release": "reconstruction",
    "killed": "reconstruction",
    "killed_once": "reconstruction",
    "no_memory": "reconstruction",
    "slow": "reconstruction",
}

CODE = '''
"""Attacks that die."""

import os
import signal
import time
from functools import partial
from pathlib import Path

from harness.types import Guess


def the_release(observation, rng):
    return Guess(candidates=observation.images[observation.targets][:, None])


def killed(observation, rng):
    os.kill(os.getpid(), signal.SIGKILL)


def killed_once(observation, rng):
    mark = Path(os.environ["PLANTED_MARK"])
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return the_release(observation, rng)


def no_memory(observation, rng):
    raise MemoryError


def slow(observation, rng):
    time.sleep(60)
'''


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A data set, plugins that die, and their registry."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PLANTED_MARK", str(tmp_path / "mark"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "deadly", raising=False)
    picture_folder(tmp_path / "stripes", each=10)
    (tmp_path / "deadly.py").write_text(CODE)
    entries = {
        name: {"use": f"deadly:{name}", "version": 1, "kind": kind, "cite": "planted"} for name, kind in PLUGINS.items()
    }
    (tmp_path / "deadly.yaml").write_text(yaml.safe_dump({"attacks": entries}))
    return tmp_path


def cross(place: Path, attacks, records="records", defenses=("none", "mix"), **options) -> Cross:
    order = RunOptions(
        list(defenses), list(attacks), str(place / "stripes"), size=16, epochs=2, records=place / records, **options
    )
    return prepare(order, load_registry([place / "deadly.yaml"]))


def test_a_defense_trains_its_utility_before_what_waits_for_a_proof(place):
    pieces = cross(place, ("smooth", "oracle")).pieces
    kinds = ["release", "attack", "attack", "utility", "utility", "release", "attack", "attack"]
    assert [piece.spec.kind for piece in pieces] == kinds
    assert [piece.defense.name for piece in pieces] == ["none"] * 4 + ["mix"] * 4


def test_two_processes_write_the_same_records_as_one(place):
    """Bit for bit, trained models too."""
    run([cross(place, ("smooth", "oracle"), records="one")])
    run([cross(place, ("smooth", "oracle"), records="two")], Engine(workers=2))

    assert record_contents(place / "one") == record_contents(place / "two")
    assert len(record_contents(place / "one")) == 2 * 8


def test_every_epoch_is_obfuscated_once_for_all_attacks_and_for_training(place, monkeypatch):
    made = []
    real = harness.client.client.obfuscate

    def counting(scheme, images, labels, classes, key, device):
        made.append((scheme.name, key))
        return real(scheme, images, labels, classes, key, device)

    monkeypatch.setattr(harness.client.client, "obfuscate", counting)

    run([cross(place, ("smooth", "multi_release", "oracle", "the_release"))])

    assert sorted(name for name, _ in made) == ["mix"] * 2 + ["none"] * 2  # the row check calls the defense alone
    assert len(set(made)) == 4


def test_several_numbers_of_epochs_share_their_releases(place, monkeypatch):
    made = []
    real = harness.client.client.obfuscate
    monkeypatch.setattr(harness.client.client, "obfuscate", lambda *given: made.append(given) or real(*given))
    one = cross(place, ("multi_release",), utility=False, defenses=("mix",))

    run([one.with_epochs(epochs) for epochs in (1, 2, 4)])

    assert len(made) == 2 * 4  # and none's own: as many releases are measured


def test_a_piece_whose_worker_is_killed_is_done_by_the_next(place):
    (cells,) = run([cross(place, ("the_release", "killed_once"), utility=False)], Engine(workers=2))

    assert [cell.status for cell in cells] == ["ok"] * 4
    assert (place / "mark").exists()


def test_a_piece_that_kills_every_worker_has_failed_and_the_rest_goes_on(place):
    (cells,) = run([cross(place, ("killed", "the_release"), utility=False)], Engine(workers=2))

    assert [cell.status for cell in cells] == ["failed", "ok"] * 2
    assert f"lost {TRIES} times (killed by signal 9; out of memory? use fewer --workers)" in cells[0].reason


@pytest.mark.parametrize("workers", [1, 2])
def test_a_cell_whose_worker_is_out_of_memory_fails_with_that_reason(place, workers):
    (cells,) = run([cross(place, ("no_memory", "the_release"), utility=False)], Engine(workers=workers))

    assert [cell.status for cell in cells] == ["failed", "ok"] * 2
    assert cells[0].reason == f"attack: {OUT_OF_MEMORY}"


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_when_the_process_that_started_them_ends(place, blow):
    command = [sys.executable, "-m", "harness.cli", "run", "--defense", "none,mix", "--attack", "slow"]
    command += ["--dataset", str(place / "stripes"), "--size", "16", "--no-utility", "--workers", "2"]
    command += ["--registry", str(place / "deadly.yaml"), "--records", str(place / "records")]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore Ctrl-C
    driver = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heard)
    assert driver.stderr is not None
    try:
        for line in driver.stderr:
            if "attack mix slow" in line or "attack none slow" in line:
                break
        workers = _below(driver.pid)
        assert len(workers) >= 2

        driver.send_signal(blow)
        code = driver.wait(timeout=120)
    finally:
        driver.kill()
        driver.wait()
        driver.stderr.close()

    assert code == (130 if blow == signal.SIGINT else -9)
    deadline = time.monotonic() + 120
    while any(map(_alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(_alive, workers))
    assert {record.spec.kind for record in Records(place / "records").all()} == {"release"}


def _below(pid: int) -> list[int]:
    """The processes that descend from this one."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        if parent == pid:
            found += [int(entry.name), *_below(int(entry.name))]
    return found


def _alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_two_runs_at_once_into_one_folder_share_the_work_and_leave_what_one_leaves(place):
    command = [sys.executable, "-m", "harness.cli", "run", "--defense", "none,mix", "--attack", "smooth,oracle"]
    command += ["--dataset", str(place / "stripes"), "--size", "16", "--epochs", "2", "--threads", "1"]
    command += ["--records", str(place / "both"), "--workers", "1"]

    pair = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        said = [each.communicate(timeout=300)[1] for each in pair]
        assert [each.returncode for each in pair] == [0, 0]
        run([cross(place, ("smooth", "oracle"), records="alone")])
    finally:
        for each in pair:
            each.kill()
            each.wait()

    assert record_contents(place / "both") == record_contents(place / "alone")
    begun = re.findall(r"^\[\d+/\d+\] +[\d.]+s (.*?)(?:, about .* left)?$", "".join(said), re.MULTILINE)
    assert len(begun) == 8 and len(set(begun)) == 8  # each by one of them
    assert not [path.name for path in (place / "both").iterdir() if path.suffix not in (".json", ".npz")]


# Claims of another run in the same folder


@pytest.mark.parametrize("target", ["nowhere", "mine"])
def test_a_link_where_a_claim_goes_stops_nothing_and_is_not_followed(tmp_path, target):
    (tmp_path / "mine").touch()
    (tmp_path / ".a.claim").symlink_to(target)

    with Claims() as claims:
        assert claims.take("a", Records(tmp_path))

    assert sorted(os.listdir(tmp_path)) == [".a.claim", "mine"] and (tmp_path / "mine").read_bytes() == b""


@pytest.fixture
def shared(tmp_path, monkeypatch):
    """A cross of one attack on none and mix, what was begun in order, and the claims of another run."""
    planted = bench(tmp_path, None, attack("the_release"))
    entries = [planted.undefended, planted.registry.get("defenses", "mix")]
    one = Cross(planted, entries, [planted.registry.get("attacks", "the_release")], 1, False)
    begun: list[str] = []

    def go():
        return run_jobs(one.jobs(), {}, lambda _: planted, InProcess(lambda _: planted), begun.append)

    with Claims() as other:
        yield one, begun, other, go


def test_a_piece_that_another_run_does_comes_last_and_is_not_done_again(shared, monkeypatch, caplog):
    one, begun, other, go = shared
    first = one.pieces[0]
    assert other.take(first.spec.key, one.bench.records)

    def finish(_):
        Records(one.bench.records.folder).write(one.bench.do(first))
        other.release(first.spec.key)

    monkeypatch.setattr("harness.run.scheduler.pause", finish)
    results = go()

    assert begun == ["attack none the_release", "release mix", "attack mix the_release"]
    assert {result.status for result in results.values()} == {"ok"} and len(results) == 4
    assert "another run in" in caplog.text and "does release none; waiting for it" in caplog.text


def test_a_piece_whose_run_was_killed_is_done_by_the_one_that_waits(shared, monkeypatch):
    one, begun, other, go = shared
    assert other.take(one.pieces[0].spec.key, one.bench.records)
    monkeypatch.setattr("harness.run.scheduler.pause", lambda _: other.release(one.pieces[0].spec.key))

    results = go()

    assert begun[-1] == "release none" and len(results) == 4
    assert not list(one.bench.records.folder.glob(".*"))


def test_without_locks_nothing_is_claimed_and_everything_done(shared, monkeypatch):
    _, begun, _, go = shared
    refuse_locks(monkeypatch, errno.ENOLCK)

    assert len(go()) == len(begun) == 4


def test_a_claim_ends_with_its_process(tmp_path):
    code = "import sys; from pathlib import Path; from harness.run.claims import Claims\n"
    code += "from harness.records import Records; claims = Claims(); claims.take('a', Records(Path(sys.argv[1])))\n"
    code += "print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other, Claims() as claims:
        other.stdout.readline()
        assert not claims.take("a", Records(tmp_path))
        other.kill()
        other.wait()
        assert claims.take("a", Records(tmp_path))
    assert list(tmp_path.iterdir()) == []


# Refusals


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        (Engine("slurm"), "engine 'slurm' is unknown; use local or ray"),
        (Engine(workers=0), "workers 0 is too few"),
        (Engine(address="auto"), "the local engine has none; use --engine ray"),
    ],
)
def test_a_wrong_engine_is_refused_in_one_line(engine, said):
    with pytest.raises(HarnessError, match=said):
        engine.check()


def test_code_that_changed_during_the_run_stops_it(tmp_path):
    """A worker that imports other code than the run was planned with makes another record."""
    planted = bench(tmp_path, None, attack("the_release"))
    one = Cross(planted, [planted.undefended], [planted.registry.get("attacks", "the_release")], 1, False)

    class Changed:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def idle(self):
            return [0]

        def submit(self, worker, job, proof):
            self.job = job

        def wait(self):
            other = planted.do(planted.release_piece(planted.undefended, 1))
            return self.job, other

    with pytest.raises(HarnessError, match="changed while this ran"):
        run_jobs(one.jobs(), {}, lambda _: planted, Changed(), lambda _: None)


def test_what_ties_cells_together_is_on_no_figures_path():
    """An edit of the engine or of a command leaves every record what it is."""
    from harness.records.definitions import reached
    from harness.records.provenance import ROOTS

    for kind in ("release", "utility", "attack"):
        modules = {reference.module for reference in reached(ROOTS[kind])}
        assert "harness.release" in modules and "harness.statistics" in modules
        assert not [
            name for name in modules if name.startswith(("harness.records", "harness.registry", "harness.commands"))
        ]
        assert (
            not {f"harness.run.{name}" for name in ("engine", "scheduler", "process_pool", "options", "bench")}
            & modules
        )
