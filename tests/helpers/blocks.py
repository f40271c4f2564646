"""Code blocks of Markdown pages, and how they are run: as a reader would, in a folder of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.helpers.paths import ROOT


def section(page: str, heading: str) -> str:
    """The text of a section, with its subsections."""
    return (ROOT / page).read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def python_blocks(page: str, heading: str) -> list[str]:
    """The Python blocks of a section, with those of its subsections."""
    return blocks(section(page, heading), "python")


def run(program: str, folder: Path) -> str:
    """What a Python program prints, run as a user's script in a folder of its own."""
    script = folder / "script.py"
    script.write_text(program, encoding="utf-8")
    return _printed([sys.executable, str(script)], folder)


def run_in_shell(program: str, folder: Path) -> str:
    """What a shell program prints, with `harness` as it is in the repository."""
    commands = folder / ".bin"
    commands.mkdir(exist_ok=True)
    command = commands / "harness"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m harness "$@"\n')
    command.chmod(0o755)
    return _printed(["bash", "-euo", "pipefail", "-c", program], folder, PATH=f"{commands}:{os.environ['PATH']}")


def _printed(command: list[str], folder: Path, **more: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / ".cache"), **more}
    ran = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=500, check=False
    )  # fmt: skip
    assert ran.returncode == 0, f"{command[-1]}\n{ran.stderr}"
    return ran.stdout
