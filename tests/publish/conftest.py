"""A client's folder of images, and `harness obfuscate` on it."""

from __future__ import annotations

import json

import pytest

from harness.cli import main
from harness.publish.places import LEDGER
from tests.helpers.planted import picture_folder

EACH = 8  # images per class


@pytest.fixture
def pictures(tmp_path):
    return picture_folder(tmp_path / "pictures", each=EACH)


def obfuscate(folder, place, *options, defense="mix", seed="5"):
    seeded = [] if seed is None else ["--seed", seed]
    out, secret = place / "out", place / "secret.npz"
    paths = ["--dataset", str(folder), "--out", str(out), "--secret", str(secret)]
    return main(["obfuscate", "--defense", defense, *paths, *seeded, *options])


@pytest.fixture
def release(tmp_path, pictures, capsys):
    """release("name", options...) -> exit code, document or None, stderr; secrets lie in `tmp_path/secrets`."""
    (tmp_path / "secrets").mkdir()

    def call(name, *options, data=pictures, secret=None):
        secret = secret or tmp_path / "secrets" / f"{name}.npz"
        words = ["--dataset", str(data), "--out", str(tmp_path / name), "--secret", str(secret)]
        capsys.readouterr()
        code = main(["obfuscate", "--defense", "mix", *words, "--json", *options])
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out else None, said.err

    return call


@pytest.fixture
def ledger(tmp_path):
    return tmp_path / "secrets" / LEDGER


def runs(ledger):
    return json.loads(ledger.read_text())["content"]["runs"]


def refused(answer, *words):
    code, document, err = answer
    assert (code, document) == (2, None), err
    line = err.splitlines()[-1]
    assert line.startswith("harness: ") and all(word in line for word in words), err
