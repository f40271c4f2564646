"""The checks of a submitted plugin: a good one passes; a bad one does not, with its reason; what changed is found."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from harness.contract.scaffold import new_plugin
from tests.helpers.paths import ROOT

SCRIPT = ROOT / ".ci/check_submission.py"
LEAKS = '''
import torch

from harness.images import average

SEEN = []


def bad(sources, weights, rng):
    """Another image in every call, whatever the generator says."""
    SEEN.append(1)
    return (average(sources, weights) + 0.1 * len(SEEN)) % 1
'''
CRASHES = """
def bad(observation, rng):
    raise RuntimeError("no such kernel")
"""
ENTRY = {
    "defenses": "mixing: {weights: [0.5, 0.5], pairing: permutation, intra_class: false, label: dominant}",
    "attacks": "kind: reconstruction",
}


@pytest.fixture
def check(tmp_path, monkeypatch):
    """check(*arguments) -> exit code, stdout, stderr of the script, run in an empty folder."""
    monkeypatch.setenv("HARNESS_WORKERS", "1")

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, str(SCRIPT), *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=500,
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("check_submission", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["check_submission"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["check_submission"]


def bad_plugin(folder: Path, section: str, code: str) -> Path:
    (folder / "bad.py").write_text(code)
    file = folder / "bad.yaml"
    file.write_text(f"{section}: {{bad: {{use: 'bad:bad', version: 1, cite: me, {ENTRY[section]}}}}}\n")
    return file


@pytest.mark.slow
def test_a_good_defense_passes_and_is_run_with_attacks(check, tmp_path):
    _, registry = new_plugin("defense", "faded", tmp_path)

    code, out, err = check("--registry", registry, "--summary", tmp_path / "summary.md")

    assert (code, err) == (0, "") and out.startswith("defense faded: passes\n")
    for attack in ("look", "linear", "candidate_matching", "multi_release"):
        assert f"faded x {attack}: ok" in out
    assert (tmp_path / "summary.md").read_text() == f"```\n{out}```\n"


def test_a_good_metric_passes_with_a_number(check, tmp_path):
    _, registry = new_plugin("metric", "difference", tmp_path)

    code, out, _ = check("--registry", registry)

    assert code == 0 and "of a release of mix: 0." in out


def test_a_defense_that_ignores_its_generator_does_not_pass_and_is_not_run(check, tmp_path):
    code, out, _ = check("--registry", bad_plugin(tmp_path, "defenses", LEAKS))

    assert code == 1 and out.startswith("defense bad: does not pass\n  FAILED ")
    assert " x smooth" not in out


def test_an_attack_that_fails_does_not_pass_and_its_reason_is_shown(check, tmp_path):
    code, out, _ = check("--registry", bad_plugin(tmp_path, "attacks", CRASHES))

    assert code == 1 and "RuntimeError" in out and "no such kernel" in out


def test_a_plugin_that_cannot_be_imported_does_not_pass(check, tmp_path):
    code, out, _ = check("--registry", bad_plugin(tmp_path, "attacks", "import no_such_module\n"))

    assert code == 1 and "no_such_module" in out


def test_one_that_passes_the_contract_and_fails_in_the_suite_does_not_pass(script, monkeypatch):
    """As a plugin would that fails on images of another size."""
    cells = [{"defense": "mix", "attack": "mine", "status": "failed", "reason": "attack: of 32 px alone", "scores": {}}]
    answers = {"validate": (0, {"checks": [{"check": "a", "ok": True, "why": ""}]}, ""),
               "sweep": (1, {"cells": cells, "verdicts": []}, "")}  # fmt: skip
    monkeypatch.setattr(script, "_harness", lambda arguments: answers[arguments[0]])

    assert script.check("attacks", "mine", None).problems == ["mix x mine: attack: of 32 px alone"]


def test_an_attack_that_suits_no_defense_does_not_pass(script, monkeypatch):
    cells = [{"defense": name, "attack": "mine", "status": "inapplicable", "reason": "attack: not this", "scores": {}}
             for name in ("none", "mix")]  # fmt: skip
    answers = {"validate": (0, {"checks": []}, ""), "sweep": (0, {"cells": cells, "verdicts": []}, "")}
    monkeypatch.setattr(script, "_harness", lambda arguments: answers[arguments[0]])

    assert script.check("attacks", "mine", None).problems == ["it ran nowhere: attack: not this"]


@pytest.fixture
def repository(tmp_path, script, monkeypatch):
    """A repository with two plugins; change(file, text) edits one."""
    tree = tmp_path / "tree"
    (tree / "attacks").mkdir(parents=True)

    def change(file, text):
        (tree / file).write_text(text)

    change("registry.yaml", "attacks:\n  a: {use: 'attacks.a:a', version: 1}\n  b: {use: 'attacks.b:b', version: 1}\n")
    change("attacks/a.py", "1\n")
    change("attacks/b.py", "1\n")
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", str(tree), *words], check=True)
    monkeypatch.setattr(script, "TREE", tree)

    def changed():
        monkeypatch.setattr(sys, "argv", ["check_submission", "--since", "HEAD"])
        return [name for _, name in script._asked(script._arguments())]

    return change, changed


def test_what_changed_is_what_is_checked(repository):
    change, changed = repository

    assert changed() == []
    change("attacks/b.py", "2\n")
    assert changed() == ["b"]
    registry = "attacks:\n  a: {use: 'attacks.a:a', version: 2}\n  b: {use: 'attacks.b:b', version: 1}\n"
    change("registry.yaml", registry + "  c: {use: 'attacks.c:c', version: 1}\n")
    assert changed() == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name plugins"),
        (("--since", "no-such-commit"), "no-such-commit"),
        (("no_such_plugin",), "no_such_plugin"),
        (("--registry", "missing.yaml"), "missing.yaml"),
        (("--since", "HEAD", "mix"), "--since looks in registry.yaml"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_says_what(check, arguments, said):
    code, out, err = check(*arguments)

    assert (code, out) == (2, "") and said in err and "Traceback" not in err


def test_the_makefile_runs_the_script():
    done = subprocess.run(
        ["make", "-n", "-C", str(ROOT), "submission", "REGISTRY=a.yaml"], capture_output=True, text=True, check=True
    )

    assert "python .ci/check_submission.py  --registry a.yaml" in done.stdout
