"""registry.yaml and what is layered over it: names that are found, files that are refused."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.errors import HarnessError
from harness.registry import Entry, Registry, load_registry, read_registry

MIXING = {"weights": [0.75, 0.25], "pairing": "permutation", "intra_class": False, "label": "dominant"}
ENTRY: dict[str, Any] = {"use": "os.path:join", "version": 1, "mixing": MIXING, "cite": "here"}


@pytest.fixture(autouse=True)
def own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a registry file adds to sys.path goes with the test."""
    monkeypatch.setattr(sys, "path", list(sys.path))


@functools.cache
def built_in() -> Registry:
    return load_registry()


def shuffle_mix() -> Entry:
    return built_in().get("defenses", "shuffle_mix")


def written(folder: Path, content: Any, name: str = "mine.yaml") -> Path:
    file = folder / name
    file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return file


# ---- names


def test_an_entry_carries_what_the_file_says() -> None:
    """The built-in file's fields arrive unchanged."""
    entry = shuffle_mix()

    assert (entry.module, entry.function) == ("harness.plugins.defenses.shuffle_mix", "shuffle_mix")
    assert entry.params == {"block": 8} and entry.mixing == MIXING
    assert entry.traits == ("linear", "permutes_in_blocks") and entry.origin == "built-in"


@pytest.mark.parametrize(
    ("section", "name", "message"),
    [
        (
            "defenses",
            "shufle_mix",
            "no defense called 'shufle_mix'; did you mean 'shuffle_mix'? (harness list defenses)",
        ),
        ("attacks", "qqqq", "no attack called 'qqqq' (harness list attacks)"),
        ("metrics", "dsim", "no metric called 'dsim'; did you mean 'dssim'? (harness list metrics)"),
        ("datasets", "stl", "no dataset called 'stl'; did you mean 'stl10'? (harness list datasets)"),
    ],
)
def test_an_unknown_name_gets_the_most_similar_one(section: str, name: str, message: str) -> None:
    """In one line."""
    with pytest.raises(HarnessError) as caught:
        built_in().get(section, name)

    assert str(caught.value) == message


def test_find_looks_through_every_section() -> None:
    """`harness show NAME` needs no section unless two sections share the name."""
    registry = built_in()
    blur = registry.get("defenses", "blur")
    twice = Registry((blur, replace(blur, section="attacks")))

    assert registry.find("dssim").section == "metrics"
    assert twice.find("attacks/blur").section == "attacks"
    with pytest.raises(HarnessError, match="names several things; say defenses/blur or attacks/blur"):
        twice.find("blur")
    with pytest.raises(HarnessError, match="nothing is called 'dsssim'; did you mean 'dssim'"):
        registry.find("dsssim")


# ---- files


def test_a_file_is_layered_over_the_built_in_one(tmp_path: Path) -> None:
    """--registry adds; everything built in stays. The same file twice is one file."""
    file = written(tmp_path, {"defenses": {"fade": ENTRY}})

    registry = load_registry([file, file])

    assert registry.get("defenses", "fade").origin == "mine.yaml"
    assert set(built_in().section("defenses")) < set(registry.section("defenses"))


def test_a_name_announced_twice_is_an_error_that_names_both(tmp_path: Path) -> None:
    """Neither of the two is chosen."""
    file = written(tmp_path, {"defenses": {"mix": ENTRY}})
    one = written(tmp_path, {"defenses": {"fade": ENTRY}}, "one.yaml")
    two = written(tmp_path, {"defenses": {"fade": ENTRY}}, "two.yaml")

    with pytest.raises(HarnessError, match=r"defense 'mix' is announced twice, by built-in and by mine\.yaml"):
        load_registry([file])
    with pytest.raises(HarnessError, match=r"defense 'fade' is announced twice, by one\.yaml and by two\.yaml"):
        load_registry([one, two])


def without(key: str) -> dict[str, Any]:
    return {"defenses": {"fade": {name: value for name, value in ENTRY.items() if name != key}}}


def changed(section: str = "defenses", **fields: Any) -> dict[str, Any]:
    return {section: {"fade": {**ENTRY, **fields}}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no table"),
        ("- a", "holds no table"),
        ("defenses: {fade: [", r"line \d: not YAML"),
        ("? [a]\n: b", "line 1: a list as a name; names are text"),
        ("defenses:\n  fade: {}\n  fade: {}\n", "'fade' is written twice"),
        ("\x00", "not YAML"),
        ({"defences": {}}, "no section 'defences'; did you mean 'defenses'"),
        ({"defenses": ["fade"]}, "expected a table of entries by name"),
        ({"defenses": {"fade": None}}, "defenses.fade: expected a table, got nothing"),
        ("defenses: {no: {}}", "line 1: no is false or text; write false, or quote it"),
        ("defenses: {'a b': {}}", "defenses.'a b': not a name"),
        ("defenses: {'-a': {}}", "not a name"),
        ({"defenses": {"x" * 101: ENTRY}}, "not a name"),
        ({"defenses": {"all": ENTRY}}, "defenses.'all': not a name"),
        (without("use"), "defenses.fade: use is missing; add it: module:function"),
        (without("version"), "defenses.fade: version is missing; add it: a whole number"),
        (without("cite"), "defenses.fade: cite is missing; add it: where"),
        (without("mixing"), "defenses.fade: mixing is missing; add it"),
        (changed(verion=1), "no field 'verion'; did you mean 'version'"),
        (changed(kind="recognition"), "no field 'kind'"),
        (changed(use="fade"), "fade: use: expected module:function, such as defenses.mix:mix, got 'fade'"),
        (
            changed(version=True),
            "version: expected a whole number from 1, raised .*, got true",
        ),
        (changed(version=0), "version: expected a whole number, 1 or more, got 0"),
        (changed(params=[1]), r"params: expected a table or nothing, got \[1\]"),
        (changed(params={"since": float("nan")}), "line 12: .nan is no finite number"),
        (changed(params={"since": 1e300}), "params: 1e[+]300 is too large; use at most 1,000,000,000,000,000"),
        (changed(params={"a b": 1}), "params: the name 'a b': expected the name of an argument"),
        (changed(params={1: 1}), "1 as a name; names are text"),
        (changed(mixing="x"), "mixing: expected a table, got 'x'"),
        (changed(mixing={**MIXING, "weights": [[[1.0]]]}), "mixing.weights.#1.#1: expected a number"),
        (changed(tune={"knob": ["a"]}), "tune.knob: expected text, got"),
        (changed(cite="x" * 6000), "cite: expected text of length 5000 or less"),
        (changed(params={"pairing": 1}), "params.pairing is a part of mixing"),
        (changed(traits="linear"), "traits: expected a list or nothing, got 'linear'"),
        (changed(mixing={**MIXING, "weights": [0.5, 0.4]}), "defenses.fade: weights 0.5,0.4 sum to 0.9, not 1"),
        (
            {"attacks": {"fade": {"use": "a:b", "version": 1, "cite": "x"}}},
            "fade: kind is missing; add it: recognition",
        ),
        (
            {
                "attacks": {
                    "fade": {"use": "a:b", "version": 1, "cite": "x", "kind": "recognition", "granted": ["lables"]}
                }
            },
            "granted.#1: expected .*, got 'lables'; did you mean 'labels'",
        ),
        (
            {
                "attacks": {
                    "fade": {"use": "a:b", "version": 1, "cite": "x", "kind": "recognition", "granted": ["gallery"]}
                }
            },
            "granted gallery is for kind: reidentification only",
        ),
        (
            {"metrics": {"fade": {"use": "a:b", "version": 1, "cite": "x", "higher_is": "better"}}},
            "higher_is: expected closer or farther, got 'better'",
        ),
    ],
)
def test_a_malformed_file_is_one_line_with_the_place_and_the_fix(tmp_path: Path, content: Any, message: str) -> None:
    """File, entry, field and what to do; never a traceback of the YAML reader."""
    file = written(tmp_path, content)

    with pytest.raises(HarnessError, match=message) as caught:
        read_registry(file, "mine.yaml")

    assert str(caught.value).startswith(str(file)) and "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """So is a folder given for a file."""
    with pytest.raises(HarnessError, match=r"gone\.yaml: no such registry file"):
        load_registry([tmp_path / "gone.yaml"])
    with pytest.raises(HarnessError, match="cannot be read"):
        load_registry([tmp_path])


def test_listing_is_quick_and_imports_no_plugin() -> None:
    """`harness list` answers in under half a second once its bytecode is written: no torch, no NumPy, no plugin."""
    code = (
        "import sys, time; start = time.process_time()\n"
        "from harness.registry.availability import why_unavailable\n"
        "from harness.registry import load_registry\n"
        "[why_unavailable(entry) for entry in load_registry().entries]\n"
        "heavy = {'torch', 'numpy', 'pandas', 'cv2', 'defenses', 'attacks', 'evaluators'} & set(sys.modules)\n"
        "print(sorted(heavy), time.process_time() - start < 0.5)"
    )

    written = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    answers = []
    while len(answers) < 3 and "[] True" not in answers:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=written)
        answers.append(done.stdout.strip())

    assert "[] True" in answers
