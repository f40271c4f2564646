"""Run the notebooks of this folder: `python examples/notebooks/execute.py` writes their outputs into them anew.

Their files hold nothing of the machine and no times: a run that changes no output changes no file. Needs the extra
`notebooks`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
SECONDS = 300
"""That one cell may take."""
ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join([str(HERE.parent.parent), os.environ.get("PYTHONPATH", "")]),
    "PYTHONWARNINGS": "ignore:IProgress not found",  # of tqdm, with a path, where there are no widgets
}


def executed(path: Path) -> Any:
    """The notebook with the outputs of a run in an empty folder, in an interpreter like this one."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory(prefix="notebook.") as folder:
        client = NotebookClient(
            notebook, timeout=SECONDS, kernel_name="python3", record_timing=False,
            resources={"metadata": {"path": folder}},
        )  # fmt: skip
        client.execute(env={**os.environ, **ENVIRONMENT})
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number}", {}
        if cell.cell_type == "code":
            cell.outputs = _joined(cell.outputs)
    return notebook


def _joined(outputs: list[Any]) -> list[Any]:
    """What was printed in several parts, which come as they come, as one."""
    found: list[Any] = []
    for output in outputs:
        if found and output.output_type == "stream" == found[-1].output_type and output.name == found[-1].name:
            found[-1].text += output.text
        else:
            found.append(output)
    return found


def main() -> int:
    """Run those that are named, or all."""
    for path in map(Path, sys.argv[1:]) if sys.argv[1:] else sorted(HERE.glob("*.ipynb")):
        notebook = executed(path)
        nbformat.validate(notebook)
        nbformat.write(notebook, path)
        print(f"ran {path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
