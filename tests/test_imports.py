"""Imports point one way, and a user's own modules are never taken for the harness's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import pytest

from tests.helpers.decoys import PACKAGES, write_decoys
from tests.helpers.paths import ROOT
from tests.helpers.planted import picture_folder


def lint_imports(tree: Path) -> subprocess.CompletedProcess[str]:
    """What the contracts in pyproject.toml say of a tree."""
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--no-logo"]
    environment = {**os.environ, "PYTHONPATH": str(tree), "NO_COLOR": "1"}
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def copied_tree(tmp_path: Path) -> Path:
    """The code of the harness and of its plugins, and pyproject.toml, to plant errors in."""
    ignored = shutil.ignore_patterns("__pycache__")
    for folder in ("harness", *PACKAGES):
        shutil.copytree(ROOT / folder, tmp_path / folder, symlinks=True, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_imports_point_one_way() -> None:
    """The contract in pyproject.toml holds: layers, and plugins of one kind apart from those of another."""
    done = lint_imports(ROOT)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("file", "statement", "reported"),
    [
        ("attacks/smooth.py", "import harness.report", "harness.plugins.attacks.smooth -> harness.report"),
        (
            "attacks/smooth.py",
            "from harness.plugins.defenses import mix",
            "harness.plugins.attacks.smooth -> harness.plugins.defenses",
        ),
        ("evaluators/success.py", "import harness.run", "harness.plugins.evaluators.success -> harness.run"),
        ("harness/images/ops.py", "import harness.run", "harness.images.ops -> harness.run"),
    ],
    ids=["up from an attack", "attack to defense", "up from an evaluator", "up in the harness"],
)
def test_a_forbidden_import_is_reported(copied_tree: Path, file: str, statement: str, reported: str) -> None:
    with (copied_tree / file).open("a") as code:
        code.write(f"\n{statement}\n")

    done = lint_imports(copied_tree)

    assert done.returncode == 1
    assert reported in done.stdout


def test_the_harness_meets_plugins_only_through_registry_entries() -> None:
    """No module outside `harness.plugins` imports one of it."""
    graph = grimp.build_graph("harness", cache_dir=None)
    plugins = {module for module in graph.modules if module.startswith("harness.plugins")}

    importers = {each for plugin in plugins for each in graph.find_modules_that_directly_import(plugin)}

    assert len(plugins) > 30 and importers - plugins == set()


def test_every_part_of_the_harness_has_a_layer() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = " | ".join(next(each["layers"] for each in contracts if each["type"] == "layers"))
    listed = {name.strip("() ").split(".")[1] for name in layers.split("|")}

    parts = {file.stem for file in (ROOT / "harness").glob("*.py")} - {"__init__"}
    parts |= {file.parent.name for file in (ROOT / "harness").glob("*/__init__.py")}

    assert parts - listed == set()


@pytest.mark.parametrize("folder", PACKAGES)
def test_the_built_in_plugins_are_the_top_level_folders(folder: str) -> None:
    assert (ROOT / "harness" / "plugins" / folder).resolve() == (ROOT / folder).resolve()


def test_a_script_beside_folders_called_like_the_plugins_works(tmp_path: Path) -> None:
    """`harness.evaluate` and `harness run`, with the script's folder first on the path."""
    data = picture_folder(tmp_path / "stripes", each=10)
    script = write_decoys(tmp_path / "project")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "cache")}

    command = [sys.executable, str(script), str(data)]
    done = subprocess.run(
        command, cwd=script.parent, env=environment, capture_output=True, text=True, timeout=300, check=False
    )

    assert done.returncode == 0, done.stderr
    assert f"works from {ROOT / 'harness'}" in done.stdout


def test_a_registered_attack_in_a_users_own_package_attacks_is_the_users(tmp_path: Path) -> None:
    """With the checkout on the path before the user's folder, as in an editable install."""
    folder = write_decoys(tmp_path / "project").parent / "registered"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def validate(name: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).parent / "harness"), "validate", name, "--registry", "mine.yaml"]
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
        )

    mine, old = validate("mine"), validate("old")

    assert mine.returncode == 0, mine.stdout + mine.stderr
    new = "harness.plugins.attacks.common.rehearse"
    assert f"attacks.tuning has moved to {new}" in old.stdout + old.stderr and old.returncode != 0


def test_the_registry_is_read_without_torch() -> None:
    """`harness list` must not wait for torch: neither the registry nor the package's front imports it."""
    code = "import sys, harness, harness.registry; print('torch' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"
