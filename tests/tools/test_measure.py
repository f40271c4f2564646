"""`harness measure` gives every metric of every pair of files, and refuses in one line."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from harness.errors import HarnessError, Skipped
from harness.plugins.evaluators.privacy import dssim, mse
from harness.tools import measure as module
from harness.tools.measure import measure
from tests.helpers.paths import ROOT

DSSIM = partial(dssim, window=11, sigma=1.5, k1=0.01, k2=0.03)
METRICS = {"mse": mse, "dssim": DSSIM}


def save(path: Path, value: int = 0, size: tuple[int, int] = (32, 24)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)
    return path


def refusal(a: Path, b: Path, metrics: Any = METRICS) -> str:
    """The one line with which it refuses."""
    with pytest.raises(HarnessError) as raised:
        measure(a, b, metrics)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Three pairs, 10, 20 and 30 grey levels apart, in two shapes and in subfolders."""
    for row, (name, size) in enumerate({"x/1.png": (32, 24), "2.png": (40, 40), "y/1.png": (32, 24)}.items(), start=1):
        save(tmp_path / "a" / name, 10 * row, size)
        save(tmp_path / "b" / name, 0, size)
    return tmp_path / "a", tmp_path / "b"


def test_a_file_against_itself_is_at_distance_zero(tmp_path: Path) -> None:
    image = save(tmp_path / "a.png", 90)

    scores = measure(image, image, METRICS)["scores"]

    assert scores["mse"] == scores["dssim"] == {"mean": 0, "low": None, "high": None, "p5": 0, "min": 0, "n": 1}


def test_two_files_may_have_different_names(tmp_path: Path) -> None:
    found = measure(save(tmp_path / "a.png", 10), save(tmp_path / "b.bmp", 30), METRICS, per_image=True)

    assert found["scores"]["mse"]["mean"] == pytest.approx(400, rel=1e-5)
    assert found["images"] == {"a.png": {"mse": pytest.approx(400, rel=1e-5), "dssim": pytest.approx(0.4, abs=0.01)}}


def test_folders_are_matched_by_relative_path(folders: tuple[Path, Path]) -> None:
    """Shapes may differ from pair to pair."""
    found = measure(*folders, METRICS, per_image=True)

    assert {name: round(each["mse"]) for name, each in found["images"].items()} == {
        "2.png": 400,
        "x/1.png": 100,
        "y/1.png": 900,
    }
    assert found["scores"]["mse"]["n"] == 3
    assert found["scores"]["mse"]["mean"] == pytest.approx(1400 / 3, rel=1e-5)


def test_figures_do_not_depend_on_what_is_measured_together(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = measure(*folders, METRICS)

    monkeypatch.setattr(module, "PIXELS_AT_ONCE", 1)

    assert measure(*folders, METRICS) == whole


def test_a_release_in_png_is_matched_to_its_original_in_jpeg(tmp_path: Path) -> None:
    save(tmp_path / "a" / "cats" / "1.png", 50)
    save(tmp_path / "b" / "cats" / "1.JPG", 50)

    assert measure(tmp_path / "a", tmp_path / "b", METRICS)["scores"]["mse"]["mean"] < 1


def test_the_same_path_goes_before_the_same_stem(tmp_path: Path) -> None:
    for suffix, value in ((".png", 10), (".bmp", 200)):
        save(tmp_path / "a" / f"1{suffix}", value)
        save(tmp_path / "b" / f"1{suffix}", value)

    assert measure(tmp_path / "a", tmp_path / "b", METRICS)["scores"]["mse"]["mean"] == 0


def test_other_files_in_folders_are_ignored(folders: tuple[Path, Path]) -> None:
    (folders[0] / "labels.csv").write_text("1,cat")
    (folders[0] / "._2.png").write_bytes(b"left by a Mac")

    assert measure(*folders, METRICS)["scores"]["mse"]["n"] == 3


def test_images_come_first_and_originals_second(tmp_path: Path) -> None:
    """Metrics need not be symmetric."""
    a, b = save(tmp_path / "a.png", 255), save(tmp_path / "b.png", 0)

    scores = measure(a, b, {"excess": lambda images, originals: (images - originals).mean((1, 2, 3))})["scores"]

    assert scores["excess"]["mean"] == 1


def test_a_skipped_metric_gives_its_reason_and_the_others_are_measured(folders: tuple[Path, Path]) -> None:
    def lacking(images: torch.Tensor, originals: torch.Tensor) -> torch.Tensor:
        raise Skipped("lacking: no weights; place them here")

    scores = measure(*folders, {"lacking": lacking, "mse": mse})["scores"]

    nothing = dict.fromkeys(("mean", "low", "high", "p5", "min"))
    assert scores["lacking"] == {**nothing, "n": 0, "reason": "lacking: no weights; place them here"}
    assert scores["mse"]["n"] == 3


def test_progress_is_reported_from_none_to_all(folders: tuple[Path, Path]) -> None:
    reported: list[tuple[int, int]] = []

    measure(*folders, METRICS, progress=lambda what, done, total: reported.append((done, total)))

    assert reported == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    assert "gone.png does not exist" in refusal(tmp_path / "gone.png", save(tmp_path / "b.png"))


def test_a_file_against_a_folder_is_refused(tmp_path: Path) -> None:
    assert "is a file and" in refusal(save(tmp_path / "a.png"), tmp_path)
    assert "is a file and" in refusal(tmp_path, tmp_path / "a.png")


def test_folders_without_images_or_common_names_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "a" / "1.png")
    save(tmp_path / "b" / "2.png")
    (tmp_path / "c").mkdir()

    assert "shares its name" in refusal(tmp_path / "a", tmp_path / "b")
    assert "c holds no images" in refusal(tmp_path / "a", tmp_path / "c")


def test_images_on_one_side_only_are_counted_and_named(folders: tuple[Path, Path]) -> None:
    for name in ("3", "4", "5", "6"):
        save(folders[1] / f"{name}.png")

    message = refusal(*folders)

    assert message.startswith(f"4 images are only in {folders[1]}: 3.png, 4.png, 5.png, ...;")


def test_two_files_with_one_stem_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "a" / "1.png")
    save(tmp_path / "a" / "1.bmp")
    save(tmp_path / "b" / "1.jpg")

    assert "1.bmp and 1.png" in refusal(tmp_path / "a", tmp_path / "b")


def test_unequal_sizes_are_both_named(tmp_path: Path) -> None:
    message = refusal(save(tmp_path / "a.png", size=(32, 24)), save(tmp_path / "b.png", size=(24, 32)))

    assert "a.png is 32x24" in message and "b.png is 24x32" in message


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("not an image")

    assert "a.png cannot be read as an image" in refusal(tmp_path / "a.png", save(tmp_path / "b.png"))


def test_an_image_too_small_for_a_metric_is_named(tmp_path: Path) -> None:
    small = save(tmp_path / "a.png", size=(10, 40))

    assert refusal(small, small).startswith("a.png: dssim: images of 10x40 px")


def test_a_refusal_by_another_packages_metric_is_one_line(tmp_path: Path) -> None:
    def picky(images: torch.Tensor, originals: torch.Tensor) -> torch.Tensor:
        raise ValueError("too\nsmall")

    image = save(tmp_path / "a.png")

    assert refusal(image, image, {"picky": picky}) == "a.png: picky: too small"


def test_a_nan_is_never_averaged(tmp_path: Path) -> None:
    image = save(tmp_path / "a.png")

    assert "nan is not a finite number" in refusal(image, image, {"nan": lambda x, y: x.mean((1, 2, 3)) * np.nan})


def test_importing_it_does_not_import_torch() -> None:
    """`harness list` answers in half a second."""
    code = "import sys, harness.tools.measure; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
