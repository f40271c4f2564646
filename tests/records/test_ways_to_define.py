"""Edits that change what a function computes in a way that is not in its own text: the hash must change with all."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from harness.records.definitions import code_hash, forget
from tests.records.planted_edits import PLANTED_EDITS


@pytest.mark.parametrize(("files", "edit"), PLANTED_EDITS.values(), ids=PLANTED_EDITS.keys())
def test_an_edit_that_reaches_a_figure_changes_the_hash(
    hash_of: Callable[..., str], files: dict[str, str], edit: tuple[str, str, str]
) -> None:
    file, old, new = edit
    text = dedent(files[file])
    assert old in text

    assert hash_of(files) != hash_of({**files, file: text.replace(old, new)})


VALID = {
    "an attribute's docstring": (
        {"m.py": "class C:\n    a = 1\n    'An a.'\ndef root(): return C.a\n"},
        ("An a.", "The a."),
    ),
    "an import of one's own that nobody uses": (
        {"h.py": "X = 1\n", "m.py": "import PKG.h\ndef root(): return 1\n"},
        ("import PKG.h\n", ""),
    ),
    "a function beside, with a decorator that registers nothing": (
        {"m.py": "def d(f):\n    t = {}\n    t[f] = 1\n    return f\n@d\ndef g(): return 1\ndef root(): return 2\n"},
        ("return 1", "return 3"),
    ),
    "another table that is filled beside": (
        {"m.py": "T, U = [], []\nT.append(1)\nU.append(1)\ndef root(): return 1\n"},
        ("U.append(1)", "U.append(2)"),
    ),
    "a class beside, with a base that keeps no list": (
        {"m.py": "class B: pass\nclass C(B):\n    k = 1\ndef root(): return B()\n"},
        ("k = 1", "k = 2"),
    ),
    "star imports by name": (
        {
            "a.py": "def f(): return 1\n",
            "b.py": "def g(): return 2\n",
            "m.py": "from PKG.a import *\nfrom PKG.b import *\ndef root(): return f() + g()\n",
        },
        ("from PKG.a import *\nfrom PKG.b import *", "from PKG.b import g\nfrom PKG.a import f"),
    ),
}


@pytest.mark.parametrize(("files", "edit"), VALID.values(), ids=VALID.keys())
def test_an_edit_beside_the_figure_changes_nothing(
    hash_of: Callable[..., str], files: dict[str, str], edit: tuple[str, str]
) -> None:
    assert edit[0] in files["m.py"]

    assert hash_of(files) == hash_of({**files, "m.py": files["m.py"].replace(*edit)})


def test_a_table_may_move_with_the_functions_that_are_registered_in_it(hash_of: Callable[..., str]) -> None:
    table = "T = {}\ndef add(f):\n    T['a'] = f\n    return f\n"
    first, root = "@add\ndef first(): return 1\n", "def root(): return T['a']()\n"
    apart = {"t.py": table, "i.py": f"from PKG.t import add\n{first}"}
    apart["m.py"] = f"from PKG.t import T\nimport PKG.i\n{root}"

    assert hash_of({"m.py": table + first + root}) == hash_of(apart)


def test_an_import_that_is_tried_may_move_to_a_module_of_its_own(hash_of: Callable[..., str]) -> None:
    tried, root = "try:\n    import json as j\nexcept ImportError:\n    j = None\n", "def root(): return j.dumps(1)\n"

    assert hash_of({"m.py": tried + root}) == hash_of({"c.py": tried, "m.py": f"from PKG.c import j\n{root}"})


def test_a_compiled_module_counts_with_its_content(hash_of: Callable[..., str]) -> None:
    root = "from PKG.fast import f\ndef root(): return f()\n"

    assert hash_of({"m.py": root, "fast.so": b"1"}) != hash_of({"m.py": root, "fast.so": b"2"})


def test_a_folder_that_is_put_on_the_path_is_read(hash_of: Callable[..., str]) -> None:
    root = """
        import os, sys
        sys.path.insert(0, os.path.join(os.path.dirname(__file__), "vendor"))
        import tidyvendored
        def root(): return tidyvendored.f()
    """
    first, second = ({"m.py": root, "vendor/tidyvendored.py": f"def f(): return {value}\n"} for value in (1, 2))

    assert hash_of(first) != hash_of(second)


ODD = {
    "latin-1": {"m.py": b"# -*- coding: latin-1 -*-\ndef root(): return '\xe9'\n"},
    "not utf-8": {"m.py": b"def root(): return '\xff'\n"},
    "not Python": {"m.py": b"def root(:\n"},
    "half a character": {"m.py": b"def root(): return '\\ud800'\n"},
    "a long sum": {"m.py": b"def root(): return " + b"+".join([b"1"] * 3000)},
    "too deep": {"m.py": b"def root(): return " + b"-" * 20_000 + b"1\n"},
    "a long if": {"m.py": b"x = 1\nif x: y = 0\n" + b"elif x == 2: y = 0\n" * 900 + b"root = y\n"},
    "a circle": {
        "a.py": b"from PKG.b import f\n",
        "b.py": b"from PKG.a import f\n",
        "m.py": b"from PKG.a import f\nroot = f.g\n",
    },
    "stars in a circle": {
        "a.py": b"from PKG.b import *\n",
        "b.py": b"from PKG.a import *\n",
        "m.py": b"from PKG.a import *\nroot = f\n",
    },
    "above the top": {"m.py": b"from .....x import y\nroot = y\n"},
}


@pytest.mark.parametrize("files", ODD.values(), ids=ODD.keys())
def test_odd_sources_have_a_hash_too(hash_of: Callable[..., str], files: dict[str, bytes]) -> None:
    assert len(hash_of(files)) == 64


def test_a_hash_does_not_depend_on_what_was_hashed_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed scheme that builds on another one."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "tidyfirst.py").write_text("from tidysecond import g\ndef f(): return g()\n")
    (folder / "tidysecond.py").write_text("def g(): return 1\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])

    before = code_hash([("tidyfirst", "f")])
    code_hash([("tidysecond", "g")])

    assert code_hash([("tidyfirst", "f")]) == before
    forget()
