"""The code hash of a figure: an edit to a definition on its path changes it, and the place of a definition does not."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from harness.records import definitions
from harness.records.definitions import Reference, code_hash, reached

FILES = {
    "__init__.py": '"""A scheme of several files."""\n',
    "scheme.py": """
        \"\"\"A defense.\"\"\"
        from __future__ import annotations
        from pathlib import Path
        from typing import TYPE_CHECKING
        import numpy as np
        from PKG import tables
        from PKG.helpers import half, traced
        from PKG.shapes import Fancy
        if TYPE_CHECKING:
            from PKG.types import Camera

        SCALE = 2.0

        @traced
        def fade(sources, weights, camera: Camera, *, strength=0.5):
            \"\"\"Fade them.\"\"\"
            from PKG.late import offset
            scaled = half(sources) * strength * SCALE  # half of it
            return np.clip(scaled, 0, 1) + tables.TABLE["a"] + load() + offset() + Fancy().area() + camera.gain()

        def load():
            return np.loadtxt(Path(__file__).with_name("noise.txt"))

        def unrelated():
            return SCALE * 17
    """,
    "helpers.py": """
        import functools

        def half(x):
            return x / 2

        def third(x):
            return x / 3

        def traced(function):
            @functools.wraps(function)
            def call(*given, **named):
                return function(*given, **named)
            return call
    """,
    "shapes.py": """
        class Plain:
            def area(self):
                return 1

        class Fancy(Plain):
            pass
    """,
    "tables.py": """
        from PKG.helpers import third
        TABLE = {"a": 1}
        TABLE["b"] = 2
        OTHER = {"c": 3}
    """,
    "late.py": "def offset():\n    return 0.25\n",
    "types.py": "class Camera:\n    def gain(self):\n        return 1.5\n",
    "noise.txt": "0.1 0.2\n",
    "unread.txt": "nothing\n",
}
_numbers = itertools.count()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Writes the package with some edits; the hash of its defense. Each call is a package of its own name."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])

    def write(edits: dict[str, Callable[[str], str] | str] | None = None, root: str = "scheme:fade") -> str:
        name = f"tidyscheme{next(_numbers)}"
        files = {file: dedent(text) for file, text in FILES.items()}
        for file, edit in (edits or {}).items():
            after = dedent(edit) if isinstance(edit, str) else edit(files[file])
            assert after != files.get(file), "the edit changes nothing"
            files[file] = after
        for file, text in files.items():
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_text(text.replace("PKG", name))
        module, _, function = root.partition(":")
        return code_hash([(f"{name}.{module}", function)])

    yield write
    definitions.forget()


def swap(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new)


STALE = {
    "arithmetic": {"scheme.py": swap("half(sources) *", "half(sources) +")},
    "arithmetic of a function that it calls": {"helpers.py": swap("x / 2", "x / 4")},
    "a module constant": {"scheme.py": swap("SCALE = 2.0", "SCALE = 3.0")},
    "a constant of another module": {"tables.py": swap('"a": 1', '"a": 5')},
    "an item set afterwards": {"tables.py": swap('TABLE["b"] = 2', 'TABLE["b"] = 7')},
    "a default argument": {"scheme.py": swap("strength=0.5", "strength=0.25")},
    "no decorator": {"scheme.py": swap("@traced\n", "")},
    "what the decorator does": {"helpers.py": swap("return function(*given", "return 2 * function(*given")},
    "a data file": {"noise.txt": "0.3 0.4\n"},
    "a base class": {"shapes.py": swap("return 1", "return 2")},
    "no base class": {"shapes.py": swap("Fancy(Plain)", "Fancy")},
    "a function that is imported when it is called": {"late.py": swap("0.25", "0.5")},
    "a method of an argument's type": {"types.py": swap("1.5", "2.5")},
    "another function under the same name": {"scheme.py": swap("import half,", "import third as half,")},
    "a function of a library": {"scheme.py": swap("np.clip", "np.maximum")},
    "a library's function by another import": {"scheme.py": swap("import numpy as np", "import scipy as np")},
    "a global made at run time": {"scheme.py": swap("SCALE = 2.0", 'globals()["SCALE"] = 2.0')},
    "a statement that runs with every import": {"scheme.py": swap("SCALE = 2.0", "SCALE = 2.0\nnp.seterr()")},
    "an import for its effect": {
        "scheme.py": swap("SCALE = 2.0", "SCALE = 2.0\nimport PKG.patch"),
        "patch.py": "import numpy\nnumpy.seterr(all='raise')\n",
    },
}
"""Edits after which a record is another one."""

VALID = {
    "a comment": {"scheme.py": swap("# half of it", "# divided by two")},
    "a docstring": {"scheme.py": swap("Fade them.", "Make them paler.")},
    "formatting": {"scheme.py": swap("half(sources) * strength", "half(\n        sources,\n    ) * strength")},
    "a definition beside it": {"scheme.py": swap("SCALE * 17", "SCALE * 18")},
    "a constant beside it": {"tables.py": swap('"c": 3', '"c": 4')},
    "a file that is not read": {"unread.txt": "something\n"},
    "an annotation of an argument": {"scheme.py": swap("(sources, ", "(sources: np.ndarray, ")},
    "a public list": {"scheme.py": swap("SCALE = 2.0", '__all__ = ["fade"]\nSCALE = 2.0')},
    "another style of import": {
        "scheme.py": lambda text: text.replace("numpy as np", "numpy").replace("np.", "numpy.")
    },
    "an import that nobody uses": {"scheme.py": swap("import numpy as np", "import numpy as np\nimport scipy")},
    "a helper moved to another file": {
        "helpers.py": swap("def half(x):\n    return x / 2\n", ""),
        "moved.py": "def half(x):\n    return x / 2\n",
        "scheme.py": swap("import half, traced", "import traced\nfrom PKG.moved import half"),
    },
    "a helper moved into the file": {
        "helpers.py": swap("def half(x):\n    return x / 2\n", ""),
        "scheme.py": lambda text: text.replace("half, traced", "traced").replace(
            "SCALE = 2.0\n", "SCALE = 2.0\n\ndef half(x):\n    return x / 2\n"
        ),
    },
    "a constant moved to another file": {
        "scheme.py": swap("SCALE = 2.0\n", "from PKG.settings import SCALE\n"),
        "settings.py": "SCALE = 2.0\n",
    },
    "a module read as an attribute": {
        "scheme.py": lambda text: text.replace("import half, traced", "import traced\nfrom PKG import helpers").replace(
            "half(", "helpers.half("
        )
    },
    "a name that is passed on by the package": {
        "__init__.py": "from PKG.helpers import half\n",
        "scheme.py": swap("PKG.helpers import half, traced", "PKG import half\nfrom PKG.helpers import traced"),
    },
    "a local variable called as a helper is": {
        "scheme.py": swap("def unrelated():", "third = 4\n\ndef unrelated():"),
    },
}
"""Edits after which a record stands for the same figures."""


@pytest.mark.parametrize("edits", STALE.values(), ids=STALE.keys())
def test_an_edit_on_the_path_changes_the_hash(package: Callable[..., str], edits: dict[str, str]) -> None:
    assert package(edits) != package()


@pytest.mark.parametrize("edits", VALID.values(), ids=VALID.keys())
def test_an_edit_beside_the_path_and_a_move_change_nothing(package: Callable[..., str], edits: dict[str, str]) -> None:
    assert package(edits) == package()


def test_the_whole_scheme_may_move_to_another_module(package: Callable[..., str]) -> None:
    """Module and package names do not count, only the definitions."""
    moved = {
        "deep/__init__.py": "",
        "deep/place.py": dedent(FILES["scheme.py"]),
        "deep/noise.txt": FILES["noise.txt"],
        "scheme.py": "",
    }

    assert package(moved, "deep.place:fade") == package()


def test_two_functions_that_change_places_are_noticed(package: Callable[..., str]) -> None:
    """The set of definitions is the same; which of them is called where is not."""
    both = "\ndef first(x):\n    return half(x)\n\ndef second(x):\n    return third(x)\n"
    calls = "\ndef root(x):\n    return first(x) - second(x)\n"
    swapped = "\ndef first(x):\n    return third(x)\n\ndef second(x):\n    return half(x)\n"

    one, other = (
        package({"calls.py": f"from PKG.helpers import half, third\n{part}{calls}"}, "calls:root")
        for part in (both, swapped)
    )
    assert one != other


def test_the_function_that_is_called_first_counts(package: Callable[..., str]) -> None:
    """Two functions that call each other are one set of definitions, from either side."""
    even, odd = "def even(n):\n    return not n or odd(n - 1)\n", "def odd(n):\n    return n and even(n - 1)\n"
    pair = {"pair.py": even + odd}

    assert package(pair, "pair:even") != package(pair, "pair:odd")


def test_star_imports_are_followed(package: Callable[..., str]) -> None:
    star = {"scheme.py": swap("from PKG.helpers import half, traced", "from PKG.helpers import *")}

    assert package(star) == package()
    assert package({**star, "helpers.py": swap("x / 2", "x / 8")}) != package()


def test_a_name_that_cannot_be_resolved_counts_with_its_whole_module(package: Callable[..., str]) -> None:
    dynamic = {"helpers.py": swap("def half(x):", "globals()['half'] = lambda x: x / 2\n\ndef unused(x):")}
    edited = {"helpers.py": lambda text: dynamic["helpers.py"](text).replace("x / 3", "x / 5")}

    assert package(dynamic) != package(edited)


def test_a_module_passed_as_a_value_counts_whole(package: Callable[..., str]) -> None:
    passed = {"scheme.py": swap('tables.TABLE["a"]', 'getattr(tables, "TAB" + "LE")["a"]')}
    edited = {**passed, "tables.py": swap('"c": 3', '"c": 4')}

    assert package(passed) != package(edited)


def test_alternatives_that_are_tried_count_all(package: Callable[..., str]) -> None:
    tried = "try:\n    from PKG.fast import half\nexcept ImportError:\n    from PKG.helpers import half"
    edits = {"scheme.py": swap("from PKG.helpers import half, traced", f"{tried}\nfrom PKG.helpers import traced")}
    fast = {"fast.py": "def half(x):\n    return x * 0.5\n"}

    hashes = {package({**edits, **fast}), package({**edits, "fast.py": "def half(x):\n    return x * 0.6\n"})}
    hashes.add(package({**edits, **fast, "helpers.py": swap("x / 2", "x / 9")}))
    assert len(hashes) == 3


def test_folders_of_data_count_with_all_that_they_hold(package: Callable[..., str]) -> None:
    folder = {
        "scheme.py": swap('with_name("noise.txt")', 'parent / "noises" / choose()'),
        "noises/a.txt": "1\n",
        "noises/b.txt": "2\n",
    }

    assert package(folder) != package({**folder, "noises/b.txt": "3\n"})
    assert package(folder) == package({**folder, "unread.txt": "something\n"})


def test_a_single_file_counts_the_files_that_it_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheme beside a registry file, with a helper beside it."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    (tmp_path / "lonelyscheme.py").write_text("from lonelyhelper import pale\n\ndef fade(x):\n    return pale(x)\n")
    (tmp_path / "lonelyhelper.py").write_text("def pale(x):\n    return x / 2\n")
    before = code_hash([("lonelyscheme", "fade")])

    (tmp_path / "lonelyhelper.py").write_text("def pale(x):\n    return x / 3\n")
    definitions.forget()

    assert code_hash([("lonelyscheme", "fade")]) != before


def test_a_function_of_a_library_is_known_by_its_name() -> None:
    assert reached([("torch.nn.functional", "mse_loss")]) == []
    assert code_hash([("torch.nn.functional", "mse_loss")]) != code_hash([("torch.nn.functional", "l1_loss")])


def test_a_defense_depends_on_what_makes_a_release_and_not_on_registry_or_records() -> None:
    modules = {reference.module for reference in reached([("harness.release", "obfuscate")])}

    assert Reference("harness.release", "_call") in reached([("harness.release", "obfuscate")])
    assert {"harness.mixing", "harness.images.ops", "harness.randomness"} <= modules
    assert not modules & {"harness.registry.load", "harness.records.store", "harness.leaderboard.board"}


def test_every_reference_of_the_harness_is_resolved() -> None:
    """Whole modules are for what cannot be read; the built-in plugins need that for compiled loops alone."""
    from harness.registry import load_registry

    roots = [(entry.module, entry.function) for entry in load_registry().entries if entry.section != "datasets"]
    whole = {reference.module for reference in reached(roots) if reference.name is None}

    assert whole <= {"harness.images.numba_loops", "harness.plugins.evaluators.kernels"}


CODE = '''
"""A module."""
import math


def f(x, *, block=1):
    """Do it."""
    return math.sqrt(x) * block  # why


class C:
    """A class."""

    y = 2.0
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# why", "# another reason, at length"),
        ('"""Do it."""', '"""Do it, said differently."""'),
        ('    """Do it."""\n', ""),
        ('"""A module."""', ""),
        ('    """A class."""\n', ""),
        ("return math.sqrt(x) * block", "return (\n        math.sqrt( x )\n        * block\n    )"),
        ("y = 2.0", "y = 2.00"),
    ],
)
def test_comments_docstrings_and_formatting_make_no_new_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str
) -> None:
    """Explaining code better costs no training run."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    assert old in CODE

    assert hash_of(tmp_path, CODE) == hash_of(tmp_path, CODE.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("* block", "/ block"),
        ("block=1", "block=2"),
        ("block=1", "block=1.0"),
        ("block=1", "block=True"),
        ("block=1", "block"),
        ("f(x", "f(z"),
        ("y = 2.0", "y = 2.5"),
        ("import math", "import cmath as math"),
        ("return math", "math"),
        ("    y = 2.0", "    pass"),
        ("(x)", "(x or None)"),
        ("return math", "'no docstring'\n    return math"),
    ],
)
def test_every_edit_of_the_code_makes_a_new_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str
) -> None:
    """However small."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    assert old in CODE

    assert hash_of(tmp_path, CODE) != hash_of(tmp_path, CODE.replace(old, new))


def hash_of(folder: Path, source: str) -> str:
    name = f"tidymodule{next(_numbers)}"
    (folder / f"{name}.py").write_text(source)
    return code_hash([(name, "f"), (name, "C")])
