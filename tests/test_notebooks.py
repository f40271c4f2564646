"""The notebooks: run from the first cell to the last, their outputs are those that stand in them."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import harness
from tests.helpers.paths import ROOT

FOLDER = ROOT / "examples/notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LARGEST = 300_000  # bytes of one file
CLOSE = 0.1
"""By how much a figure may differ: other processors round otherwise, and a hit may turn into a miss."""
NUMBER = re.compile(r"[+-]?\d*\.\d+|\d+")
names = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path: Path, kind: str) -> list[dict[str, Any]]:
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in found if cell["cell_type"] == kind]


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def said(cell: dict[str, Any]) -> list[tuple[str, str]]:
    """What a cell has put out: kind and text, with single spaces; of a picture that it is one."""
    found = []
    for output in cell["outputs"]:
        data = output.get("data", {})
        kind = "image" if "image/png" in data else output["output_type"]
        text = output.get("text") or data.get("text/plain", "")
        found.append((kind, " ".join("".join(text).split())))
    return found


def test_there_are_three_and_the_documents_name_them() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["add_a_defense", "judge_my_folder", "read_a_board"]
    usage = (ROOT / "docs/usage.md").read_text(encoding="utf-8")
    assert [path.stem for path in NOTEBOOKS if f"../examples/notebooks/{path.name}" not in usage] == []


@names
def test_it_opens_with_a_sentence_on_what_the_reader_gets(path: Path) -> None:
    title, sentence, *_ = source(cells(path, "markdown")[0]).split("\n\n")

    assert title.startswith("# ") and sentence.startswith("You get ") and sentence.count(".") == 1


@names
def test_it_stands_with_the_outputs_of_one_run_and_nothing_of_the_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")

    assert [cell["execution_count"] for cell in cells(path, "code")] == list(range(1, len(cells(path, "code")) + 1))
    outputs = [output for cell in cells(path, "code") for output in cell["outputs"]]
    assert outputs and any("image/png" in output.get("data", {}) for output in outputs)
    assert [each for each in outputs if each["output_type"] == "error" or each.get("name") == "stderr"] == []
    assert len(text) < LARGEST
    shown = "".join(str(each) for cell in cells(path, "code") for each in said(cell))
    assert not re.search(r"/(tmp|home|root|work|usr|var)/|[A-Z]:\\\\", shown)


@names
def test_it_uses_what_a_user_may_import(path: Path) -> None:
    """`harness` and its public names, and of its modules those that plugins import."""
    code = "\n".join(re.sub(r"^%.*", "", source(cell), flags=re.MULTILINE) for cell in cells(path, "code"))
    tree = ast.parse(code)

    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name for name in modules if name and name.startswith("harness")} <= {"harness.images", "harness.types"}
    used = [node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name) and node.value.id == "harness"]  # fmt: skip
    assert used and set(used) <= set(harness.__all__)


def test_commands_in_their_text_are_commands() -> None:
    from harness.cli import parser

    lines = [line.strip() for path in NOTEBOOKS for cell in cells(path, "markdown") for line in source(cell).split("\n")
             if line.startswith("    harness ")]  # fmt: skip

    assert lines
    for line in lines:
        parser().parse_args(line.split()[1:])


@pytest.mark.slow
@names
def test_a_run_puts_out_what_stands_in_it(path: Path, tmp_path: Path) -> None:
    missing = [name for name in ("nbclient", "ipykernel") if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed; pip install -e '.[notebooks]'")
    copied = Path(shutil.copy(path, tmp_path))

    command = [sys.executable, str(FOLDER / "execute.py"), str(copied)]
    apart = {name: str(tmp_path / name) for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR")}  # else in the user's home
    subprocess.run(command, env={**os.environ, **apart}, check=True, timeout=900)

    for then, now in zip(cells(path, "code"), cells(copied, "code"), strict=True):
        for (kind, old), (kind_now, new) in zip(said(then), said(now), strict=True):
            assert (kind, NUMBER.sub("#", old)) == (kind_now, NUMBER.sub("#", new))
            figures = [[float(each) for each in NUMBER.findall(text)] for text in (old, new)]
            assert figures[1] == pytest.approx(figures[0], abs=CLOSE, rel=CLOSE)
