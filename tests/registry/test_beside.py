"""A registry's folder loses to nothing: not to Python's own modules, to installed packages or to another registry's."""

from __future__ import annotations

import glob
import json
import sys
from pathlib import Path

import pytest
import yaml

from harness.errors import HarnessError
from harness.records.definitions import code_hash
from harness.registry import bind, load_registry
from harness.registry.availability import why_unavailable
from harness.registry.entry import Entry

MIXING = {"weights": [1.0], "pairing": "permutation", "intra_class": False, "label": "dominant"}
RETURNS = "def f(sources, weights, rng):\n    return {}\n"


@pytest.fixture(autouse=True)
def same_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))


def plugin(folder: Path, use: str, files: dict[str, str]) -> Entry:
    """The defense of a registry file in this folder, beside these files."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    fields = {"use": use, "version": 1, "cite": "me", "mixing": MIXING}
    folder.mkdir(exist_ok=True)
    (folder / "mine.yaml").write_text(yaml.safe_dump({"defenses": {f"mine_{folder.name}": fields}}))
    return load_registry([folder / "mine.yaml"]).get("defenses", f"mine_{folder.name}")


def answer(entry: Entry) -> object:
    assert why_unavailable(entry) is None
    return bind(entry)(None, None, None)


@pytest.mark.parametrize("name", ["glob", "json", "random", "sys", "numpy", "yaml", "site", "__main__", "attacks"])
def test_a_module_beside_the_file_is_the_one_that_runs(name: str, tmp_path: Path) -> None:
    entry = plugin(tmp_path / "one", f"{name}:f", {f"{name}.py": RETURNS.format("'beside'")})

    assert answer(entry) == "beside"


def test_everybody_else_keeps_theirs(tmp_path: Path) -> None:
    answer(plugin(tmp_path / "one", "glob:f", {"glob.py": RETURNS.format(1), "json.py": "raise SystemExit"}))

    assert sys.modules["glob"] is glob and glob.glob(str(tmp_path)) == [str(tmp_path)]
    assert sys.modules["json"] is json


IMPORTS = {
    "import helper": "helper.value",
    "import helper as h": "h.value",
    "from helper import value": "value",
    "from helper import *": "value",
    "import tools.helper": "tools.helper.value",
    "import tools.helper as h": "h.value",
    "from tools import helper": "helper.value",
    "from tools.helper import value": "value",
    "from .helper import value": "value",
    "from . import helper": "helper.value",
    "from bare import helper": "helper.value",
    "import bare.helper": "bare.helper.value",
    "import json.helper": "json.helper.value",
}


@pytest.mark.parametrize("statement", IMPORTS)
@pytest.mark.parametrize("inside", [False, True])
def test_two_registries_with_modules_of_one_name_do_not_mix(statement: str, inside: bool, tmp_path: Path) -> None:
    """Neither their modules nor what those import, at the top or in a function; and each has a code hash of its own."""
    body = f"    {statement}\n    return {IMPORTS[statement]}\n"
    source = f"def f(sources, weights, rng):\n{body}"
    if not inside or "*" in statement:
        source = f"{statement}\n{RETURNS.format(IMPORTS[statement])}"
    entries = []
    for name in ("one", "two"):
        helper = f"value = {name!r}\n"
        files = dict.fromkeys(("helper.py", "tools/helper.py", "bare/helper.py", "json/helper.py"), helper)
        entries.append(plugin(tmp_path / name, "work:f", {**files, "tools/__init__.py": "", "work.py": source}))

    assert [answer(entry) for entry in entries] == ["one", "two"]
    first, second = (code_hash([(entry.module, entry.function)]) for entry in entries)
    assert first != second


def test_where_a_plugin_stands_does_not_change_its_code_hash(tmp_path: Path) -> None:
    files = {"work.py": f"import helper\n{RETURNS.format('helper.value')}", "helper.py": "value = 1\n"}
    named = {"glob.py": files["work.py"], "helper.py": files["helper.py"]}
    entries = [plugin(tmp_path / "a", "work:f", files), plugin(tmp_path / "b", "glob:f", named)]

    first, second = (code_hash([(entry.module, entry.function)]) for entry in entries)
    assert first == second


def test_a_module_that_wraps_the_one_that_it_hides_gets_it(tmp_path: Path) -> None:
    source = f"import glob\nfrom glob import escape\n{RETURNS.format('glob.__file__, escape')}"

    assert answer(plugin(tmp_path / "one", "glob:f", {"glob.py": source})) == (glob.__file__, glob.escape)


def test_a_folder_of_pictures_hides_no_library(tmp_path: Path) -> None:
    (tmp_path / "one/numpy").mkdir(parents=True)
    (tmp_path / "one/numpy/cat.png").touch()

    source = f"import numpy\n{RETURNS.format('numpy.__name__')}"
    assert answer(plugin(tmp_path / "one", "work:f", {"work.py": source})) == "numpy"


def test_a_folder_called_harness_does_not_hide_the_harness(tmp_path: Path) -> None:
    files = {"harness/__init__.py": "raise SystemExit", "work.py": f"import harness.types\n{RETURNS.format(1)}"}

    assert answer(plugin(tmp_path / "one", "work:f", files)) == 1


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"work.py": "import gone"}, "No module named 'gone'"),
        ({"work.py": "from tools import gone", "tools/__init__.py": ""}, "cannot import name 'gone' from 'tools'"),
        ({"work.py": "import tools.gone", "tools/__init__.py": ""}, "No module named 'tools.gone'"),
        ({"work.py": "x = 1"}, "module 'work' has no attribute 'f'"),
        ({"work.py": "1 / 0"}, r"ZeroDivisionError: division by zero \(work.py, line 1\)"),
        (
            {"work.py": "import part", "part.py": "\n\n1 / 0"},
            r"ZeroDivisionError: division by zero \(part.py, line 3\)",
        ),
        ({"work.py": "import sys\nsys.exit(0)"}, r"ended with sys.exit\(0\) \(work.py, line 2\)"),
        ({"work.py": "raise SystemExit"}, r"ended with sys.exit\(None\) \(work.py, line 1\)"),
    ],
)
def test_a_module_that_cannot_be_imported_is_named_as_its_author_named_it(
    files: dict[str, str], said: str, tmp_path: Path
) -> None:
    entry = plugin(tmp_path / "one", "work:f", files)

    with pytest.raises(HarnessError, match=f"defense 'mine_one' is unavailable: .*{said}") as raised:
        bind(entry)
    assert "harness_registry" not in str(raised.value) and "harness_registry" not in str(why_unavailable(entry))
