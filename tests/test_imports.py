"""Imports point one way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.helpers.paths import ROOT


def test_imports_point_one_way() -> None:
    """The contracts in pyproject.toml hold: layers, plugins apart from each other, the harness apart from plugins."""
    lint = Path(sys.executable).parent / "lint-imports"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}

    done = subprocess.run(
        [str(lint), "--no-cache", "--no-logo"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_registry_is_read_without_torch() -> None:
    """`harness list` must not wait for torch: neither the registry nor the package's front imports it."""
    code = "import sys, harness, harness.registry; print('torch' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"
