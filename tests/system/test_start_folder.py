"""Files of the current folder hide no modules, and a current folder that is gone is named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("module", ["harness", "harness.cli"])
def test_python_m_takes_no_module_from_the_current_folder(module, tmp_path):
    for name in ("argparse", "logging", "yaml", "json") if module == "harness" else ("cv2", "torch"):
        (tmp_path / f"{name}.py").write_text(f"open('RUN_{name}', 'w').close()\n")

    done = subprocess.run([sys.executable, "-m", module, "list"], cwd=tmp_path, capture_output=True, check=False)

    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.glob("RUN_*"))


def test_a_checkout_is_found_from_its_folder():
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    program = "import runpy, sys; sys.argv = ['harness', '--version']; runpy.run_module('harness', run_name='__main__')"

    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, check=False)

    assert done.returncode == 0 and b"harness" in done.stdout


COMMANDS = (["list"], ["run", "--defense", "mix", "--attack", "smooth"], ["rank", "--records", "r"])


@pytest.mark.parametrize("command", COMMANDS)
def test_a_current_folder_that_is_gone_is_one_line(command, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    enter = f"import os; os.chdir({str(gone)!r}); os.rmdir({str(gone)!r}); os.environ['PWD'] = {str(gone)!r}; "
    call = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from harness.cli import main; sys.exit(main({command}))"

    done = subprocess.run([sys.executable, "-c", enter + call], capture_output=True, text=True, check=False)

    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert str(gone) in done.stderr and "cd to one that is there" in done.stderr
