"""`harness measure`: the metrics between two files, or two folders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.answers import SCORE, refused
from tests.helpers.planted import stripes


def save(path: Path, pixels) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def test_measure_of_two_files(harness, tmp_path):
    """Flat grey 100 against flat grey 110: a mean squared error of 100."""
    a, b = (save(tmp_path / f"{level}.png", np.full((32, 32, 3), level, np.uint8)) for level in (100, 110))

    code, out, _ = harness("measure", a, b, "--json", "--metric", "mse", "--metric", "dssim")

    scores = json.loads(out)["scores"]
    assert code == 0 and set(scores) == {"mse", "dssim"}
    assert all(set(score) >= SCORE for score in scores.values())
    assert scores["mse"]["mean"] == pytest.approx(100, rel=1e-3) and scores["mse"]["n"] == 1


def test_measure_of_two_folders(harness, tmp_path):
    images, _ = stripes(6, size=32)
    for row, image in enumerate(images.transpose(0, 2, 3, 1)):
        save(tmp_path / "a" / f"{row}.png", image)
        save(tmp_path / "b" / f"{row}.png", image if row else 255 - image)

    code, out, _ = harness("measure", tmp_path / "a", tmp_path / "b", "--json", "--metric", "dssim")

    score = json.loads(out)["scores"]["dssim"]
    assert code == 0
    assert score["n"] == 6 and score["min"] == pytest.approx(0, abs=1e-5)
    assert score["mean"] > 1 / 6  # the inverted one is more than unlike
    assert score["low"] <= score["mean"] <= score["high"]


def test_measure_in_words(harness, tmp_path):
    images, _ = stripes(2, size=32)
    a, b = (save(tmp_path / f"{row}.png", image.transpose(1, 2, 0)) for row, image in enumerate(images))

    code, out, _ = harness("measure", a, b)

    assert code == 0
    metrics = ["dssim", "aligned_dssim", "dhaar", "mse", "phash", "fid", "lpips", "dists"]
    assert [line.split()[0] for line in out.splitlines()] == metrics


def test_measure_refuses_what_cannot_be_compared(harness, tmp_path):
    small, large = (save(tmp_path / f"{side}.png", np.zeros((side, side, 3), np.uint8)) for side in (16, 32))
    (tmp_path / "text.png").write_text("no image")

    assert refused(harness("measure", small, large), "16x16", "32x32")
    assert refused(harness("measure", small, tmp_path / "none.png"), "none.png", "does not exist")
    assert refused(harness("measure", small, tmp_path / "text.png"), "text.png", "cannot be read")
    assert refused(harness("measure", small, small, "--metric", "ssim"), "'ssim'", "did you mean 'dssim'")
