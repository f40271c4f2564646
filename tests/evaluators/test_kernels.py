"""The compiled metrics are the reference, scikit-image and piq: for any image, layout, company and threads."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import piq
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from harness.plugins import evaluators
from harness.plugins.evaluators import compiled
from harness.plugins.evaluators.alignment import aligned_dssim
from harness.plugins.evaluators.hashing import hash_bits
from harness.plugins.evaluators.privacy import dhaar, dssim, mse, phash
from harness.records.definitions import reached
from harness.registry import load_registry
from tests.helpers.paths import ROOT

METRICS = yaml.safe_load((ROOT / "registry.yaml").read_text())["metrics"]
functions = pytest.mark.parametrize(
    "metric", [dssim, aligned_dssim, dhaar, mse, phash], ids=lambda metric: metric.__name__
)
KINDS = ("black", "white", "halves", "cells", "every second pixel", "lines", "dots", "ramp", "faint noise", "noise")


def run(metric: Any, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = metric(a, b, **METRICS[metric.__name__]["params"])
    return result


def drawn(kind: str, height: int, width: int) -> torch.Tensor:
    """(3, height, width) float32: small variances at large levels, which are hard for float32."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    rng = torch.Generator().manual_seed(3)
    noise = torch.rand(3, height, width, generator=rng)
    flat = {
        "black": 0 * x,
        "white": 0 * x + 1,
        "halves": x >= width // 2,
        "cells": (x // 16 + y // 16) % 2,
        "every second pixel": (x + y) % 2,
        "lines": 0.9 + 0.1 * (y % 13 == 0),
        "dots": (x % 7 + y % 7) == 0,
        "ramp": x / width,
    }
    if kind in flat:
        return flat[kind].float().expand(3, -1, -1).contiguous()
    return noise if kind == "noise" else 0.9 + 0.004 * noise


def stacks(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Every kind against every kind."""
    images = torch.stack([drawn(kind, height, width) for kind in KINDS])
    return images.repeat_interleave(len(KINDS), 0), images.repeat(len(KINDS), 1, 1, 1)


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As where numba cannot be imported."""
    monkeypatch.setitem(sys.modules, "numba", None)
    for name in [name for name in sys.modules if name.startswith("harness.plugins.evaluators.kernels")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(evaluators, "kernels", raising=False)
    compiled._load.cache_clear()
    yield
    compiled._load.cache_clear()


def test_the_kernels_are_used_for_float32_on_a_cpu() -> None:
    single = torch.zeros(1, 3, 16, 16)

    assert compiled.kernels(single) is not None
    assert compiled.kernels(single.double()) is None
    assert compiled.kernels(single.to("meta")) is None


@pytest.mark.parametrize("size", [(11, 11), (16, 43), (33, 20), (96, 97)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_dssim_is_scikit_images_on_extreme_images(size: tuple[int, int]) -> None:
    """Within 1e-6 of its float64, on float32 images."""
    ours, theirs = stacks(*size)

    found = run(dssim, ours, theirs)

    how = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    pairs = zip(ours.double().numpy(), theirs.double().numpy(), strict=True)
    expected = torch.tensor([1 - structural_similarity(x, y, channel_axis=0, **how) for x, y in pairs])
    assert (found - expected).abs().max() < 1e-6


@pytest.mark.parametrize("size", [(16, 16), (17, 43), (96, 97)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_dhaar_is_piqs_on_extreme_images(size: tuple[int, int]) -> None:
    """Within 1e-6 of its float64. Without two images of no structure, for which piq divides by zero."""
    ours, theirs = stacks(*size)

    found = run(dhaar, ours, theirs)

    expected = 1 - piq.haarpsi(ours.double(), theirs.double(), reduction="none")
    known = torch.isfinite(expected)
    assert known.sum() > 90
    assert (found - expected)[known].abs().max() < 1e-6


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(16, 80),
    width=st.integers(16, 80),
    blur=st.integers(1, 9),
    contrast=st.floats(0.001, 1),
    noise=st.sampled_from([0.0, 0.003, 0.1, 1.0]),
)
def test_figures_equal_the_references(
    seed: int, height: int, width: int, blur: int, contrast: float, noise: float
) -> None:
    """The reference in float64 on the same numbers: smooth or rough, faint or strong, near or far."""
    rng = torch.Generator().manual_seed(seed)
    rough = torch.rand(2, 3, height, width, generator=rng)
    smooth = torch.nn.functional.avg_pool2d(rough, blur, 1, blur // 2, count_include_pad=False)[..., :height, :width]
    ours = smooth * contrast + (1 - contrast) * torch.rand(1, generator=rng)
    theirs = (ours + noise * torch.randn(ours.shape, generator=rng)).clamp(0, 1)

    for metric, near in ((dssim, 1e-6), (dhaar, 1e-6), (mse, 1e-2)):
        exact = run(metric, ours.double(), theirs.double())
        assert (run(metric, ours, theirs) - exact).abs().max() < near
        assert torch.allclose(run(metric, ours, theirs).double(), exact, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("size", [(20, 90), (90, 20), (32, 32), (97, 96)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_hash_bits_equal_the_references(size: tuple[int, int], request: pytest.FixtureRequest) -> None:
    """Also of what no file holds: numbers below 0 and above 1, halves of a grey level, and none at all."""
    images = torch.randn(20, 3, *size, generator=torch.Generator().manual_seed(0)) + 0.5
    images[10:] = (images[10:] * 255).round() / 255 + 0.5 / 255
    images[3, 1, 5, 7], images[4, 0, 2, 2], images[5] = torch.nan, torch.inf, 0.3

    found = hash_bits(images, **METRICS["phash"]["params"])

    request.getfixturevalue("reference")
    assert compiled.kernels(images) is None
    assert (found == hash_bits(images, **METRICS["phash"]["params"])).all()


def test_a_window_may_have_any_side() -> None:
    ours, theirs = stacks(20, 30)
    how = {"window": 8, "sigma": 2.0, "k1": 0.01, "k2": 0.03}

    assert (dssim(ours, theirs, **how) - dssim(ours.double(), theirs.double(), **how)).abs().max() < 1e-6


@functions
def test_equal_images_are_at_exactly_zero(metric: Any) -> None:
    for height, width in ((16, 16), (17, 75), (96, 96)):
        images = torch.stack([drawn(kind, height, width) for kind in KINDS])

        assert (run(metric, images, images.clone()) == 0).all()


@functions
@pytest.mark.parametrize("strange", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("place", [(0, 0, 0), (1, 20, 30), (2, 39, 49)], ids=["first", "inner", "last"])
def test_nan_has_the_same_effect_as_in_the_reference(
    metric: Any, strange: float, place: tuple[int, int, int], request: pytest.FixtureRequest
) -> None:
    """NaN stays NaN, and only of the image that has it."""
    ours = torch.rand(3, 3, 40, 50, generator=torch.Generator().manual_seed(1))
    theirs = torch.rand(3, 3, 40, 50, generator=torch.Generator().manual_seed(2))
    ours[(1, *place)] = strange

    found = run(metric, ours, theirs)

    request.getfixturevalue("reference")
    assert compiled.kernels(ours) is None
    expected = run(metric, ours, theirs)
    assert torch.isfinite(found[[0, 2]]).all()
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5, equal_nan=True)


@functions
def test_figures_depend_neither_on_threads_nor_on_other_images(metric: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit."""
    ours, theirs = stacks(33, 47)
    monkeypatch.setattr(compiled, "_WORTH_THREADS", 0)
    before = torch.get_num_threads()
    found = {}
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found[threads] = run(metric, ours, theirs)
    finally:
        torch.set_num_threads(before)

    alone = torch.cat([run(metric, ours[i : i + 1], theirs[i : i + 1]) for i in range(len(ours))])
    assert all(torch.equal(figures, alone) for figures in found.values())


@functions
def test_layout_does_not_matter(metric: Any) -> None:
    """Channels last, every second pixel, turned round, one image for all, a column of a larger stack, one to learn."""
    rng = torch.Generator().manual_seed(5)
    large = torch.rand(4, 3, 3, 40, 50, generator=rng)
    one = torch.rand(3, 40, 50, generator=rng)
    layouts = {
        "channels last": large[:, 0].contiguous(memory_format=torch.channels_last),
        "strided": torch.rand(4, 3, 80, 100, generator=rng)[..., ::2, ::2],
        "turned": large[:, 1].transpose(2, 3).contiguous().transpose(2, 3),
        "expanded": one.expand(4, 3, 40, 50),
        "grey": one[:1].expand(4, 3, 40, 50),
        "column": large.unbind(1)[2],
        "learned": large[:, 0].clone().requires_grad_(),
    }
    theirs = large[:, 1].contiguous()

    for name, ours in layouts.items():
        figures = run(metric, ours, theirs)
        assert torch.equal(figures, run(metric, ours.detach().clone(memory_format=torch.contiguous_format), theirs)), (
            name
        )
        assert not figures.requires_grad


@functions
def test_without_numba_the_reference_is_used(metric: Any, reference: None) -> None:
    """With the same figures."""
    ours, theirs = (torch.rand(3, 3, 40, 50, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))

    assert compiled.kernels(ours) is None
    assert torch.allclose(run(metric, ours, theirs), run(metric, ours.double(), theirs.double()).float(), atol=1e-5)


def script(code: str, folder: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_kernel_compiles_where_no_folder_can_be_written(tmp_path: Path) -> None:
    """Neither beside the source nor in the user's cache: files are in the place of the folders."""
    (tmp_path / "jit.py").write_text((ROOT / "evaluators/kernels/jit.py").read_text())
    (tmp_path / "mine.py").write_text("from jit import kernel\n\n@kernel\ndef twice(x):\n    return 2 * x\n")
    for name in ("__pycache__", "home"):
        (tmp_path / name).write_text("")
    nowhere = {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "home"), "NUMBA_CACHE_DIR": ""}

    assert script("import mine; print(mine.twice(21))", tmp_path, **nowhere) == "42\n"


def test_numba_is_imported_with_the_first_figure_and_can_be_switched_off() -> None:
    code = (
        "import sys, torch\n"
        "from evaluators import compiled, privacy\n"
        "print('numba' in sys.modules, compiled.kernels(torch.zeros(1, 3, 16, 16)))"
    )

    assert script(code, ROOT, NUMBA_DISABLE_JIT="1") == "False None\n"


@functions
def test_a_record_hashes_the_kernels_too(metric: Any) -> None:
    entry = load_registry([]).get("metrics", metric.__name__)
    modules = {reference.module for reference in reached([(entry.module, entry.function)])}

    folder = "harness.plugins.evaluators"
    kernels = {f"{folder}.kernels.{file.stem}" for file in (ROOT / "evaluators/kernels").glob("[a-z]*.py")}
    assert {f"{folder}.privacy", f"{folder}.compiled", f"{folder}.kernels"} | kernels <= modules
