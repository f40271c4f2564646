"""Check what a wheel holds: `python .ci/check_wheel.py dist/*.whl`.

One top-level package, so that nothing beside a user's script is hidden or taken for ours; plugins and data files in it.
"""

from __future__ import annotations

import sys
import tomllib
import zipfile
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent


def check(wheel: Path, tree: Path = TREE) -> list[str]:
    """What is wrong with the wheel, in one line each."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    top_level = {name.partition("/")[0] for name in names}
    others = {name for name in top_level if name != "harness" and not name.endswith(".dist-info")}
    problems = [f"top-level {name!r}: expected `harness` and one `.dist-info` folder" for name in sorted(others)]

    settings = tomllib.loads((tree / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    expected = {"harness/py.typed", "harness/registry.yaml", "harness/ci.yaml", *settings["force-include"].values()}
    for file in (tree / "harness").rglob("*"):
        if file.suffix in (".py", ".html", ".css", ".js"):
            expected.add(file.relative_to(tree).as_posix())
    for folder in ("attacks", "defenses", "evaluators"):
        files = list((tree / folder).rglob("*.py"))
        if not files:
            problems.append(f"no Python file in {tree / folder}")
        expected |= {f"harness/plugins/{file.relative_to(tree).as_posix()}" for file in files}
    problems += [f"{name} is missing" for name in sorted(expected - names)]
    problems += [f"{name} is no part of the package" for name in sorted(names) if "__pycache__" in name]
    return problems


if __name__ == "__main__":
    found = [f"{argument}: {problem}" for argument in sys.argv[1:] for problem in check(Path(argument))]
    sys.exit("\n".join(found) or None)
