"""A user's script beside folders and files that are called like the built-in plugins' folders, as many projects have.

Importing any of them raises. Its folder `registered` holds a registry file whose attack is in the user's own package
`attacks`. Run as a program it writes all of it into the folder given: `.ci/run` does so.
"""

from __future__ import annotations

import sys
from pathlib import Path

PACKAGES = ("attacks", "defenses", "evaluators")
MODULES = ("attacks.py", "evaluators.py", "registry.py", "scores.py")
RAISES = 'raise RuntimeError(f"{__file__} was imported in place of a module of the harness")\n'
SCRIPT = """
import sys
from pathlib import Path

import harness
from harness.cli import main

if __name__ == "__main__":
    options = {"size": 16, "utility": False, "records": "records"}
    (cell,) = harness.evaluate("shuffle_mix", "smooth", sys.argv[1], **options)["cells"]
    assert cell["status"] == "ok", cell
    command = ["run", "--defense", "shuffle_mix", "--attack", "smooth,denoise", "--dataset", sys.argv[1]]
    assert main([*command, "--size", "16", "--no-utility", "--records", "records"]) == 0
    assert not {"attacks", "defenses", "evaluators"} & set(sys.modules)
    print("works from", Path(harness.__file__).parent)
"""
REGISTRY = """
attacks:
  mine: {use: "attacks.smooth:smooth", version: 1, kind: reconstruction, granted: [], params: {level: 1}, cite: me}
  old: {use: "attacks.tuning:tune", version: 1, kind: reconstruction, granted: [], cite: me}
"""
REGISTERED = {
    "mine.yaml": REGISTRY,
    "attacks/__init__.py": "",
    "attacks/smooth.py": """
from attacks.helper import grey


def smooth(observation, rng, *, level):
    return grey(observation, level)
""",
    "attacks/helper.py": """
from harness.observation import Observation
from harness.plugins.attacks.common import rehearse
from harness.types import Guess


def grey(observation: Observation, level):
    return Guess(candidates=rehearse.restore(observation, lambda releases: releases * 0 + level))
""",
}


def write_decoys(folder: Path) -> Path:
    """Write the folders, the files and the script; return the script."""
    for name, text in REGISTERED.items():
        (folder / "registered" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "registered" / name).write_text(text)
    for package in PACKAGES:
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").write_text(RAISES)
    for module in MODULES:
        (folder / module).write_text(RAISES)
    script = folder / "script.py"
    script.write_text(SCRIPT)
    return script


if __name__ == "__main__":
    print(write_decoys(Path(sys.argv[1])))
