"""`harness validate` and `harness new`."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from tests.helpers.answers import refused


@pytest.mark.parametrize("name", ["noise_mix", "none", "dhaar"])
def test_validate_passes_what_is_shipped(harness, name):
    code, out, _ = harness("validate", name)

    assert code == 0
    assert "FAILED" not in out and out.count("ok ") >= 5


@pytest.mark.parametrize(
    ("body", "broken"),
    [
        ("return sources[:, 0] * 255", "stays in the range"),
        ("return sources[:, 0, 0]", "one per mixture"),
        ("return sources[:, 0] + torch.rand(()) / 9", "global generator"),
        ("sources.mul_(0.5); return sources[:, 0].clone()", "writes into nothing"),
        ("return sources[:, 0] / 0", "NaN or infinity"),
        ("raise ValueError('no')", "ValueError: no"),
    ],
)
def test_validate_names_what_a_defense_does_wrong(harness, tmp_path, body, broken):
    name = f"wrong_{abs(hash(body)) % 10**8}"
    (tmp_path / f"{name}.py").write_text(f"import torch\n\ndef {name}(sources, weights, rng):\n    {body}\n")
    mixing = "{weights: [0.5, 0.5], pairing: permutation, intra_class: false, label: dominant}"
    file = tmp_path / f"{name}.yaml"
    file.write_text(f"defenses: {{{name}: {{use: '{name}:{name}', version: 1, mixing: {mixing}, cite: nobody}}}}")

    code, out, _ = harness("validate", name, "--registry", file)

    assert code == 1
    assert any("FAILED" in line and broken in line for line in out.splitlines()), out


def test_validate_prints_json(harness, registry):
    code, out, _ = harness("validate", "burst", "--registry", registry, "--json")

    checks = json.loads(out)["checks"]
    assert code == 1
    assert any(not check["ok"] and "the attack burst" in check["why"] for check in checks)


def test_validate_of_an_unknown_name_is_refused(harness):
    assert refused(harness("validate", "mixx"), "'mixx'", "did you mean 'mix")


def test_from_new_to_a_run_in_two_steps(harness, run, place):
    """The generated defense passes the checks unedited, and runs."""
    code, out, _ = harness("new", "defense", "veil")
    assert code == 0 and sorted(path.name for path in place.iterdir()) == ["veil.py", "veil.yaml"]
    assert "harness validate veil --registry veil.yaml" in out

    assert harness("validate", "veil", "--registry", "veil.yaml")[0] == 0
    code, out, err = run(
        *("--registry", "veil.yaml", "--defense", "veil", "--attack", "same", "--no-utility", "--json"),
        *("-D", "strength=0.5"),
    )

    (cell,) = json.loads(out)["cells"]
    assert (code, cell["status"], cell["params"]["strength"]) == (0, "ok", 0.5), err
    assert cell["scores"]["dssim"]["mean"] > 0.1


@pytest.mark.parametrize("kind", ["attack", "metric"])
def test_every_generated_plugin_passes_unedited(harness, kind):
    name = f"fresh_{kind}"
    assert harness("new", kind, name)[0] == 0

    code, out, _ = harness("validate", name, "--registry", f"{name}.yaml")

    assert code == 0, out


def test_new_overwrites_nothing(harness, place):
    harness("new", "defense", "gauze")
    (place / "gauze.py").write_text("mine")

    assert refused(harness("new", "defense", "gauze"), "gauze")
    assert (place / "gauze.py").read_text() == "mine"


@pytest.mark.parametrize(("name", "folder"), [("shuffle_mix", "."), ("two words", "."), ("fine", "missing")])
def test_new_refuses_names_that_are_taken_and_folders_that_are_not_there(harness, place, name, folder):
    assert refused(harness("new", "defense", name, "--folder", folder), name if folder == "." else folder)
    assert list(place.iterdir()) == []


def test_new_on_a_full_disk_is_one_line(harness, place, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", refuse)

    assert refused(harness("new", "defense", "fine"), "No space left on device")
    assert list(place.iterdir()) == []
