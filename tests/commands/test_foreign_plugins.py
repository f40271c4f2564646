"""Whatever a plugin of a registry does to its process fails its own piece or nothing, through the real command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.helpers.planted import picture_folder

ATTACKS = """
import ctypes, os, signal, sys, threading, time
import torch
from harness.types import Guess

print("imported")
os.chdir("/")


def sees(observation, rng):
    return Guess(candidates=observation.images[observation.targets][:, None])


def raises(observation, rng):
    raise RuntimeError("no such kernel")


def exits(observation, rng):
    sys.exit(0)


def ends(observation, rng):
    os._exit(0)


def crashes(observation, rng):
    ctypes.string_at(0)


def is_interrupted(observation, rng):
    raise KeyboardInterrupt


def closes(observation, rng):
    os.closerange(3, 4096)
    return sees(observation, rng)


def disturbs(observation, rng):
    print("noise")
    os.write(1, b"noise")
    os.close(1)
    os.close(2)
    os.chdir("/")
    os.umask(0o777)
    os.environ.clear()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(3)
    threading.Thread(target=time.sleep, args=(600,)).start()
    return sees(observation, rng)


def looks_around(observation, rng):
    time.sleep(0.1)
    assert os.getcwd() == os.environ["PLANTED_FOLDER"]
    assert os.umask(0o022) == 0o022
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert torch.get_default_dtype() == torch.float32 and torch.get_num_threads() == 1
    assert os.fstat(1) and os.fstat(2)
    return sees(observation, rng)
"""
STATUS = {
    "disturbs": "ok",
    "looks_around": "ok",
    "raises": r"RuntimeError: no such kernel (plain.py, line 15)",
    "exits": "ended with sys.exit(0) (plain.py, line 19)",
    "ends": "its worker was lost 3 times (exit code 0)",
    "crashes": "its worker was lost 3 times (killed by signal 11)",
    "is_interrupted": "KeyboardInterrupt (plain.py, line 31)",
    "closes": "its worker was lost 3 times",
    "sees": "ok",
}
DEFENSES = """
import os, sys


def boom(sources, weights, rng):
    return sources[:, 9]


def gone(sources, weights, rng):
    os._exit(0)
"""
MIXING = {"weights": [0.5, 0.5], "pairing": "permutation", "intra_class": False, "label": "dominant"}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PLANTED_FOLDER", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    picture_folder(tmp_path / "stripes", each=10)
    return tmp_path


def registry(place: Path, **sections: dict[str, str]) -> None:
    """Write mine.yaml: name -> `module:function` for each section."""
    common = {"version": 1, "cite": "planted"}
    entries = {
        "attacks": {"kind": "reconstruction"},
        "defenses": {"mixing": MIXING},
        "datasets": {},
        "metrics": {"higher_is": "farther"},
    }
    document = {
        section: {name: {"use": use, **common, **entries[section]} for name, use in names.items()}
        for section, names in sections.items()
    }
    (place / "mine.yaml").write_text(yaml.safe_dump(document))


def harness(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness.cli", *map(str, words), "--registry", "mine.yaml"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_each_piece_fails_for_itself(place: Path) -> None:
    (place / "plain.py").write_text(ATTACKS)
    (place / "shapes.py").write_text(DEFENSES)
    registry(
        place,
        attacks={name: f"plain:{name}" for name in STATUS},
        defenses={"boom": "shapes:boom", "gone": "shapes:gone"},
    )
    options = ("--dataset", "stripes", "--size", 16, "--epochs", 1, "--no-utility", "--workers", 1, "--json")

    done = harness("run", "--defense", "mix,boom,gone", "--attack", ",".join(STATUS), *options)

    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    cells = {(cell["defense"], cell["attack"]): cell for cell in json.loads(done.stdout)["cells"]}
    for attack, expected in STATUS.items():
        cell = cells["mix", attack]
        assert expected in (cell["reason"] or cell["status"]), (attack, cell["reason"])
    index = "IndexError: index 9 is out of bounds for dimension 1 with size 2 (shapes.py, line 6)"
    assert cells["boom", "sees"]["reason"] == f"release: defense 'boom': {index}"
    assert cells["gone", "sees"]["reason"] == "release: its worker was lost 3 times (exit code 0)"
    assert {path.suffix for path in (place / "results").iterdir()} == {".json", ".npz"}


@pytest.mark.parametrize(
    "body", ["import os\nos._exit(0)", "import sys\nsys.exit(0)", "import ctypes\nctypes.string_at(0)"]
)
def test_a_module_that_ends_the_process_when_it_is_imported_is_refused(body: str, place: Path) -> None:
    (place / "bye.py").write_text(f"def bye(sources, weights, rng):\n    return sources[:, 0]\n{body}\n")
    registry(place, defenses={"bye": "bye:bye"})

    done = harness("run", "--defense", "mix,bye", "--attack", "look", "--dataset", "stripes", "--size", 16)

    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1, done.stderr
    assert "defense 'bye' is unavailable: " in done.stderr


COMMANDS = {
    "validate bye": "defense 'bye'",
    "preview --defense bye --dataset stripes --size 16 --images 2": "defense 'bye'",
    "obfuscate --defense bye --dataset stripes --out out --secret secret.npz": "defense 'bye'",
    "tune --defense bye --target dssim=0.5 --knob strength --between 0,1 --dataset stripes --size 16": "defense 'bye'",
    "external release --defense bye --dataset stripes --size 16 --epochs 1 --out out": "defense 'bye'",
    "run --defense mix --attack look --dataset bye_images --size 16": "dataset 'bye_images'",
    "measure stripes/down stripes/down --metric bye_metric": "metric 'bye_metric'",
}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_no_plugin_ends_a_command_with_success(command: str, place: Path) -> None:
    text = "import os\n\n\ndef bye(*_, strength=0.5):\n    os._exit(0)\n"
    (place / "bye.py").write_text(text)
    registry(place, defenses={"bye": "bye:bye"}, datasets={"bye_images": "bye:bye"}, metrics={"bye_metric": "bye:bye"})
    if "--knob" in command:
        document = yaml.safe_load((place / "mine.yaml").read_text())
        document["defenses"]["bye"]["params"] = {"strength": 0.5}
        (place / "mine.yaml").write_text(yaml.safe_dump(document))

    done = harness(*command.split())

    assert done.returncode == 1, done.stderr
    assert f"harness: {COMMANDS[command]} ended the process (exit code 0)" in done.stderr, done.stderr
    assert not (place / "out").exists() and not (place / "secret.npz").exists()
