"""A client's folder of images, and `harness obfuscate` on it."""

from __future__ import annotations

import pytest

from harness.cli import main
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
