"""`harness list` and `harness show`; wrong usage."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from harness.commands.plugins import SECTIONS
from harness.registry import load_registry
from tests.helpers.answers import refused

METRICS = "dssim aligned_dssim dhaar mse phash fid lpips dists"


@pytest.mark.parametrize("words", [("fly",), ("list", "defences"), ("show",), ("new", "dataset", "x"), ("run",)])
def test_wrong_usage_is_one_line(harness, words):
    assert refused(harness(*words), "--help")


@pytest.mark.parametrize("words", [(), ("external",)])
def test_without_a_command_help_is_on_stderr_and_the_exit_code_is_that_of_wrong_usage(harness, words):
    """A script whose command is an empty variable does not go on as if something had been done."""
    code, out, err = harness(*words)

    assert (code, out) == (2, "") and err.startswith(" ".join(["usage: harness", *words]))
    assert "commands:" in err and max(map(len, err.splitlines())) <= 80


def test_list_names_every_entry(harness):
    code, out, _ = harness("list")

    assert code == 0
    for word in ("defenses", "shuffle_mix", "attacks", "cnn", "metrics", "dssim", "datasets", "photos"):
        assert word in out


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("section", [(), ("attacks",), ("datasets",)])
def test_list_says_what_each_does_in_whole_words_within_the_terminal(harness, monkeypatch, columns, section):
    monkeypatch.setenv("COLUMNS", str(columns))

    code, out, _ = harness("list", *section)

    assert code == 0 and max(map(len, out.splitlines())) <= columns
    flat = " ".join(out.split())
    for name in section or SECTIONS:
        for entry in load_registry().section(name).values():
            assert entry.does and f"{entry.name} {entry.does}" in flat
            assert not section or entry.cite in flat


def test_an_entry_that_says_nothing_is_listed_by_its_docstring(harness, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "faded.py").write_text('def fade(s, w, rng):\n    """Fade the sources. Twice.\n\n    more"""\n')
    mixing = "{weights: [1.0], pairing: permutation, intra_class: false, label: dominant}"
    file = tmp_path / "mine.yaml"
    file.write_text(f"defenses: {{fade: {{use: 'faded:fade', version: 1, cite: me, mixing: {mixing}}}}}")

    _, out, _ = harness("list", "defenses", "--registry", file)

    assert re.search(r"^  fade +Fade the sources\.$", out, re.MULTILINE)


def test_a_section_is_listed_alone_and_parses(harness):
    code, out, _ = harness("list", "metrics", "--json")

    (listed,) = json.loads(out).values()
    assert code == 0
    assert [entry["name"] for entry in listed] == METRICS.split()
    assert all(entry["unavailable"] is None for entry in listed)


def test_a_plugin_that_cannot_be_imported_is_listed_with_the_reason_and_breaks_nothing_else(harness, tmp_path, run):
    file = tmp_path / "broken.yaml"
    file.write_text("attacks: {broken: {use: 'no_such_module_at_all:fn', version: 1, kind: recognition, cite: nobody}}")

    code, out, _ = harness("list", "attacks", "--registry", file)

    assert code == 0
    assert "No module named 'no_such_module_at_all'" in out and "cnn" in out
    assert refused(run("--registry", file, "--defense", "mix", "--attack", "broken"), "no_such_module_at_all")
    assert run("--registry", file, "--defense", "mix", "--attack", "same", "--no-utility")[0] == 0


def test_list_imports_nothing_that_is_slow():
    """Beside the standard library it imports the harness, PyYAML, msgspec and locks; torch would take two seconds."""
    code = (
        "import sys, yaml; before = set(sys.modules);"
        "from harness.cli import main; main(['list', '--json']);"
        "imported = {name.partition('.')[0] for name in set(sys.modules) - before};"
        "print(*sorted(imported - sys.stdlib_module_names), file=sys.stderr)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    quick = {"harness", "msgspec", "typing_extensions", "filelock", "platformdirs", "__mp_main__"}
    assert set(done.stderr.split()) <= quick
    assert set(json.loads(done.stdout)) >= {"defenses", "attacks", "metrics", "datasets"}


def test_show_prints_all_fields_of_an_entry(harness):
    code, out, _ = harness("show", "shuffle_mix", "--json")

    shown = json.loads(out)
    assert code == 0
    assert shown["params"] == {"block": 8} and shown["mixing"]["weights"] == [0.75, 0.25]
    assert "section 3.3" in shown["cite"] and shown["version"] == 2


def test_show_of_an_unknown_name_is_refused(harness):
    assert refused(harness("show", "dsim"), "'dsim'", "did you mean 'dssim'")
