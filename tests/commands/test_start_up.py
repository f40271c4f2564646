"""What a command does not use is not imported: a finished run is printed from its records without torch."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from harness.cli import main
from tests.helpers.planted import picture_folder

HEAVY = ("torch", "torchvision", "piq", "timm", "matplotlib", "pandas", "skimage", "sklearn")
LOADED = f"print(json.dumps([name for name in {HEAVY} if name in sys.modules]))"


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    """The options of a run that is finished."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("start_up")
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        given = ["--dataset", str(picture_folder(root / "stripes", each=12)), "--records", str(root / "records")]
        given += ["--defense", "shuffle_mix", "--attack", "smooth", "--epochs", "2", "--no-utility", "--workers", "1"]
        assert main(["run", *given]) == 0
        yield given


@pytest.fixture(autouse=True)
def cache(options, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", options[1].removesuffix("stripes") + "cache")


def imported(command):
    """The heavy modules that a command, run in a process of its own, has imported there."""
    code = f"import json, sys\nfrom harness.cli import parser\ngiven = parser().parse_args({command!r})\n"
    code += f"sys.stdout, real = sys.stderr, sys.stdout\nassert given.command(given) == 0\nsys.stdout = real\n{LOADED}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_a_finished_run_is_printed_without_torch(options):
    assert imported(["run", *options]) == []


def test_a_board_is_ranked_without_torch(options, tmp_path):
    records = options[options.index("--records") + 1]

    assert imported(["rank", "--records", records, "--out", str(tmp_path)]) == []


def test_a_site_is_made_without_torch(options, tmp_path):
    records = options[options.index("--records") + 1]

    assert imported(["site", "--records", records, "--out", str(tmp_path / "site")]) == []


def test_work_that_is_left_imports_it(options):
    assert "torch" in imported(["run", *options, "--seeds", "2"])
