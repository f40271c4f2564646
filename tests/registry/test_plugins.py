"""Plugins outside this repository: installed packages, files beside a registry file, and how they can be wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from harness.errors import HarnessError
from harness.registry import Entry, Registry, bind, load_registry
from harness.registry.availability import why_unavailable
from harness.registry.source import Location, locate
from tests.helpers.paths import ROOT

REGISTRY = """
defenses:
  tidy_mix:
    use: tidyplugin.fade:tidy_mix
    version: 1
    params: {strength: 0.5}
    mixing: {weights: [0.5, 0.5], pairing: permutation, intra_class: false, label: dominant}
    cite: "a third party"
"""
PLUGIN = """
from tidyplugin.helpers import half

def tidy_mix(sources, weights, rng, *, strength):
    return half(sources) * strength
"""
HELPERS = """
def half(x):
    return x / 2
"""


@pytest.fixture(autouse=True)
def own_modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Paths and modules that a test brings in go with it."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in set(sys.modules) - before:
        if name.split(".")[0].startswith(("tidy", "lonely")):
            del sys.modules[name]


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(dedent(text))
    return folder


def announce(folder: Path, package: str, distribution: str) -> None:
    """What pip leaves behind when it installs a distribution with our entry point."""
    info = folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
    write(
        info,
        {
            "METADATA": f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n",
            "entry_points.txt": f"[harness.registries]\nx = {package}\n",
        },
    )


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path, as site-packages is."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.fixture
def tidyplugin(site: Path) -> Path:
    """An installed third-party package with a plugin, its helper and its registry."""
    files = {"__init__.py": "", "registry.yaml": REGISTRY, "fade.py": PLUGIN, "helpers.py": HELPERS}
    write(site / "tidyplugin", files)
    announce(site, "tidyplugin", "tidy-plugin")
    return site / "tidyplugin"


def entry(use: str) -> Entry:
    return Entry("tidy", "defenses", use)


# ---- found


def test_an_installed_package_is_found_through_its_entry_point(tidyplugin: Path) -> None:
    """Nothing but the installation is needed, and its function runs."""
    found = load_registry().get("defenses", "tidy_mix")

    assert found.origin == "tidy-plugin" and why_unavailable(found) is None
    assert bind(found)(8, None, None) == 2


def test_listing_does_not_import_the_package(tidyplugin: Path) -> None:
    """A package whose import takes minutes, or fails, costs `harness list` nothing."""
    (tidyplugin / "__init__.py").write_text("raise RuntimeError('imported')")

    found = load_registry().get("defenses", "tidy_mix")

    assert why_unavailable(found) is None and "tidyplugin" not in sys.modules
    with pytest.raises(HarnessError, match="defense 'tidy_mix' is unavailable: RuntimeError: imported"):
        bind(found)


def test_a_plugin_is_found_beside_its_registry_file(tmp_path: Path) -> None:
    """--registry needs no package: the file's folder is importable, helpers included."""
    folder = write(
        tmp_path,
        {
            "mine.yaml": REGISTRY.replace("tidyplugin.fade", "tidyfade"),
            "tidyfade.py": PLUGIN.replace("tidyplugin.helpers", "tidyhelpers"),
            "tidyhelpers.py": HELPERS,
        },
    )

    found = load_registry([folder / "mine.yaml"]).get("defenses", "tidy_mix")

    assert bind(found)(8, None, None) == 2


def test_a_file_hides_no_installed_module(tmp_path: Path) -> None:
    """A user's json.py beside the registry file is not the standard library's."""
    write(tmp_path, {"mine.yaml": REGISTRY, "json.py": "raise SystemExit"})

    load_registry([tmp_path / "mine.yaml"])

    assert sys.path[-1] == str(tmp_path) and sys.path[0] != str(tmp_path)


def test_a_users_own_attacks_come_before_those_of_a_checkout_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "attacks"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(ROOT)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    files = {
        "__init__.py": "",
        "tidy.py": PLUGIN.replace("tidyplugin.helpers", "attacks.helpers"),
        "helpers.py": HELPERS,
    }
    write(tmp_path / "attacks", files)
    write(tmp_path, {"mine.yaml": REGISTRY.replace("tidyplugin.fade", "attacks.tidy")})

    assert locate("attacks") == Location(ROOT / "attacks/__init__.py", (ROOT / "attacks",))
    found = load_registry([tmp_path / "mine.yaml"]).get("defenses", "tidy_mix")

    assert why_unavailable(found) is None and bind(found)(8, None, None) == 2
    assert sys.modules[found.module].__file__ == str(tmp_path / "attacks/tidy.py")
    assert locate("harness.plugins.attacks.smooth") is not None and "attacks" not in sys.modules


# ---- broken


def problems_and_rest(registry: Registry) -> tuple[str, bool]:
    return "; ".join(registry.problems), "shuffle_mix" in registry.section("defenses")


@pytest.mark.parametrize(
    ("files", "package", "reason"),
    [
        ({}, "tidygone", "package 'tidy-broken' is unavailable: No module named 'tidygone'"),
        ({"tidybare/__init__.py": ""}, "tidybare", "'tidybare' holds no registry.yaml"),
        ({"tidybad/__init__.py": "", "tidybad/registry.yaml": "defenses: ["}, "tidybad", "not YAML"),
        ({"tidyodd/__init__.py": "", "tidyodd/registry.yaml": "defences: {}"}, "tidyodd", "no section 'defences'"),
    ],
)
def test_a_broken_package_is_listed_and_breaks_nothing_else(
    site: Path, files: dict[str, str], package: str, reason: str
) -> None:
    """The mistake is reported, and everything else works."""
    write(site, files)
    announce(site, package, "tidy-broken")

    problems, rest = problems_and_rest(load_registry())

    assert reason in problems and rest


def test_a_package_that_takes_a_built_in_name_is_an_error_that_names_both(tidyplugin: Path) -> None:
    """Neither of the two is chosen."""
    (tidyplugin / "registry.yaml").write_text(REGISTRY.replace("tidy_mix:\n", "mix:\n"))

    with pytest.raises(HarnessError, match="defense 'mix' is announced twice, by built-in and by tidy-plugin"):
        load_registry()


@pytest.mark.parametrize(
    ("use", "source", "reason"),
    [
        ("tidygone:f", None, "No module named 'tidygone'"),
        ("tidypackage.gone:f", "", "No module named 'tidypackage.gone'"),
        ("tidypackage.mod:f", "def g(): pass", "no function 'f' in "),
        ("tidypackage.mod:f", "def f(:", "syntax error in "),
        (
            "tidypackage.mod:f",
            "import tidygone\ndef f(): pass",
            "No module named 'tidygone' (imported by tidypackage.mod)",
        ),
        ("tidypackage.mod:f", "import tidygone.sub as s\ndef f(): pass", "No module named 'tidygone' (imported by"),
        ("tidypackage.mod:f", "from .gone import g\ndef f(): pass", "No module named 'tidypackage.gone' (imported by"),
        (
            "tidypackage.mod:f",
            "from . import other\ndef f(): pass",
            "No module named 'tidyfar' (imported by tidypackage.other)",
        ),
        ("tidypackage.mod:f", "from harness.gone import g\ndef f(): pass", "No module named 'harness.gone'"),
    ],
)
def test_an_unavailable_plugin_says_why(site: Path, use: str, source: str | None, reason: str) -> None:
    """Without importing it."""
    files = {"tidypackage/__init__.py": "", "tidypackage/other.py": "import tidyfar"}
    write(site, files if source is None else {**files, "tidypackage/mod.py": source})

    answer = why_unavailable(entry(use))

    assert answer is not None and reason in answer and "\n" not in answer
    assert "tidypackage" not in sys.modules
    with pytest.raises(HarnessError, match="defense 'tidy' is unavailable: "):
        bind(entry(use))


@pytest.mark.parametrize(
    "source",
    [
        "def f(): pass",
        "async def f(): pass",
        "from os.path import join as f",
        "from .base import *",
        "f = len",
        "f: object = len",
        "import sys\nif sys.version_info:\n    def f(): pass",
        "try:\n    import tidygone\nexcept ImportError:\n    tidygone = None\ndef f(): pass",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import tidygone\ndef f(): pass",
        "def f():\n    import tidygone",
        "import xml.dom.minidom, yaml\nfrom . import __name__ as n\ndef f(): pass",
        "def __getattr__(name): return len",
    ],
)
def test_a_plugin_that_can_be_imported_is_available(site: Path, source: str) -> None:
    """Optional imports, lazy imports and names made at import time are all fine."""
    files = {"tidypackage/__init__.py": "", "tidypackage/base.py": "def f(): pass", "tidypackage/mod.py": source}
    write(site, files)

    assert why_unavailable(entry("tidypackage.mod:f")) is None
    bind(Entry("tidy", "datasets", "tidypackage.mod:f"))


@pytest.mark.parametrize("use", ["piq:vif_p", "math:sqrt", "skimage.metrics:structural_similarity", "tidyspace.mod:f"])
def test_re_exports_and_compiled_modules_and_namespace_packages_are_accepted(site: Path, use: str) -> None:
    """A module that exists but whose source cannot be read counts as available."""
    write(site, {"tidyspace/mod.py": "def f(): pass"})  # no __init__.py: a namespace package

    assert why_unavailable(entry(use)) is None
