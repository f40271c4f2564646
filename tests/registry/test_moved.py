"""A registry file that names a module's old place gets its new name, or still works."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import harness
from harness.data.load import load
from harness.errors import HarnessError
from harness.registry import Entry, bind, load_registry
from harness.registry.availability import why_unavailable
from harness.registry.moved import MOVED, new_name
from harness.registry.source import locate


@pytest.fixture(autouse=True)
def own_paths(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules that a test brings in go with it."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("tidyold", None)


def entry(use: str) -> Entry:
    return Entry("mine", "attacks", use, origin="mine.yaml")


# ---- names


@pytest.mark.parametrize("old", MOVED)
def test_every_new_name_exists(old: str) -> None:
    assert new_name(old) == MOVED[old]
    assert not old.startswith("harness.") or locate(old) is None


def test_what_has_not_moved_has_no_new_name() -> None:
    for module in ("harness.train", "harness.randomness", "attacks.unheard_of", "numpy", "harness"):
        assert new_name(module) is None
    assert new_name("defenses.mix") == "harness.plugins.defenses.mix"


# ---- plugins


@pytest.mark.parametrize(
    ("use", "new"),
    [
        ("attacks.tuning:choose", "harness.plugins.attacks.common.rehearse"),
        ("harness.networks:build", "harness.train.networks"),
    ],
)
def test_a_plugin_at_an_old_place_is_refused_with_the_new_one(use: str, new: str) -> None:
    module, _, function = use.partition(":")
    message = f"{module} has moved; write use: {new}:{function}"

    assert why_unavailable(entry(use)) == message
    with pytest.raises(HarnessError, match=f"attack 'mine' is unavailable: {message}"):
        bind(entry(use))


def test_built_in_plugins_are_found_under_their_old_names_where_only_harness_is_installed(tmp_path: Path) -> None:
    """In a checkout the folder `attacks` is importable too; in an installation it is not."""
    (tmp_path / "harness").symlink_to(Path(harness.__file__).parent)
    code = (
        "import sys, pathlib; sys.path = [place for place in sys.path if not pathlib.Path(place, 'attacks').is_dir()]; "
        "from harness.registry import Entry; from harness.registry.availability import why_unavailable; "
        "print(why_unavailable(Entry('mine', 'attacks', 'attacks.cnn:cnn', origin='mine.yaml')))"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )

    assert done.stdout == "attacks.cnn has moved; write use: harness.plugins.attacks.cnn:cnn\n"


def test_a_plugin_that_imports_a_moved_module_is_refused_with_the_new_name(tmp_path: Path) -> None:
    (tmp_path / "tidyold.py").write_text("from harness.draws import Draws\n\ndef attack(observation, rng): ...\n")
    sys.path.append(str(tmp_path))
    hint = "harness.draws has moved to harness.images.draws"

    assert (why_unavailable(entry("tidyold:attack")) or "").endswith(f"(imported by tidyold); {hint}")
    with pytest.raises(HarnessError, match=r"No module named 'harness\.draws'; it has moved to harness\.images\.draws"):
        bind(entry("tidyold:attack"))


# ---- data sets

COARSE = """
datasets:
  mine: {use: "harness.coarse:coarse", version: 1, cite: me, params: {of: FOLDER, groups: {pet: [cat], wild: [fox]}}}
"""
ARCHIVES = """
datasets:
  mine: {use: "harness.archives:class_folders", version: 1, cite: me, params: {folder: mine, archives: {}, classes: {},
    test_list: null, per_class: {train: 1, test: 1}, size: 64}}
"""


def test_a_coarse_data_set_still_works_under_its_old_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The registry file of an earlier version's documentation."""
    for name, level in (("cat", 0), ("fox", 100)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(8):
            Image.new("RGB", (16, 16), (level + number,) * 3).save(tmp_path / f"images/{name}/{number}.png")
    (tmp_path / "mine.yaml").write_text(COARSE.replace("FOLDER", str(tmp_path / "images")))

    with caplog.at_level(logging.WARNING):
        found = load_registry([tmp_path / "mine.yaml"]).get("datasets", "mine")

    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.endswith("harness.coarse has moved; write use: harness.data.sources.coarse:coarse")
    assert why_unavailable(found) is None and found.module == "harness.data.sources.coarse"
    assert load("mine", cache=tmp_path / "cache", entries={"mine": bind(found)}).private.classes == ("pet", "wild")


def test_class_folders_still_work_under_their_old_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "mine.yaml").write_text(ARCHIVES)

    found = load_registry([tmp_path / "mine.yaml"]).get("datasets", "mine")

    assert bind(found).func.__module__ == "harness.data.sources.archives"  # type: ignore[attr-defined]
    assert "write use: harness.data.sources.archives:class_folders" in caplog.text
    assert "\n" not in caplog.records[0].getMessage()


def test_built_in_entries_name_current_modules(caplog: pytest.LogCaptureFixture) -> None:
    load_registry()

    assert not caplog.records
