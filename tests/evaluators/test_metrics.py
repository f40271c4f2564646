"""The metrics agree with independent implementations, with closed forms, and with common sense."""

from __future__ import annotations

import hashlib
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import PIL
import piq
import pytest
import skimage.data
import torch
import torch.nn.functional as F  # noqa: N812
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.metrics import structural_similarity

from harness.errors import HarnessError, Skipped
from harness.plugins.evaluators import inception, weights
from harness.plugins.evaluators.alignment import aligned_dssim
from harness.plugins.evaluators.hashing import hash_bits
from harness.plugins.evaluators.privacy import dhaar, dssim, fid, mse, phash
from harness.train import pretrained
from tests.helpers.paths import ROOT

METRICS = yaml.safe_load((ROOT / "registry.yaml").read_text())["metrics"]
PUBLISHED: dict[str, dict[str, Any]] = {name: entry["params"] for name, entry in METRICS.items()}
SIZES = [(33, 33), (33, 64), (64, 47), (64, 64), (97, 96), (256, 256)]
sizes = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
symmetric = pytest.mark.parametrize("metric", [dssim, dhaar, mse, phash], ids=lambda metric: metric.__name__)
measured = [dssim, aligned_dssim, dhaar, mse, phash]
functions = pytest.mark.parametrize("metric", measured, ids=lambda metric: metric.__name__)
Bytes = np.ndarray[Any, np.dtype[np.uint8]]


def photographs(height: int, width: int, top: int = 20) -> Bytes:
    """(4, H, W, 3) uint8 cut from real photographs; one only where they are large, for speed."""
    names = ("astronaut", "chelsea", "coffee", "rocket") if height < 90 else ("astronaut",)
    return np.stack([getattr(skimage.data, name)()[top : top + height, 30 : 30 + width] for name in names])


def pairs(height: int, width: int) -> tuple[Bytes, Bytes]:
    """Photographs against shifted, noisy, inverted, foreign and random images."""
    rng = np.random.default_rng(7)
    one = photographs(height, width)
    noisy = np.clip(one + rng.normal(0, 30, one.shape), 0, 255).round().astype(np.uint8)
    noise = rng.integers(0, 256, one.shape, dtype=np.uint8)
    others = [photographs(height, width, top=23), noisy, 255 - one, np.roll(one, 1, axis=0), noise, one]
    return np.concatenate(others), np.concatenate([one] * len(others))


def stack(pixels: Bytes, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).to(dtype).div(255).contiguous()


def constant(value: float, side: int = 32) -> torch.Tensor:
    return torch.full((1, 3, side, side), value, dtype=torch.float32)


def run(metric: Any, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The metric with its published settings."""
    result: torch.Tensor = metric(a, b, **PUBLISHED[metric.__name__])
    return result


@functions
def test_an_image_is_at_no_distance_from_itself(metric: Any) -> None:
    """Exactly zero, on photographs, on noise and on flat images."""
    images = stack(np.concatenate([*pairs(33, 40), np.zeros((1, 33, 40, 3), np.uint8)]))

    distance = run(metric, images, images.clone())

    assert distance.abs().max() < 1e-12


@symmetric
def test_distance_does_not_depend_on_which_image_comes_first(metric: Any) -> None:
    a, b = (stack(pixels) for pixels in pairs(40, 33))

    assert torch.allclose(run(metric, a, b), run(metric, b, a), rtol=1e-5, atol=1e-7)


@functions
def test_an_image_scores_alike_alone_and_among_others(metric: Any) -> None:
    """64 pairs span several chunks; no figure depends on its neighbours."""
    a, b = (stack(np.concatenate([pixels] * 3)[:64]) for pixels in pairs(64, 64))

    together = run(metric, a, b)

    alone = torch.cat([run(metric, a[i : i + 1], b[i : i + 1]) for i in (0, 17, 63)])
    assert together.shape == (64,) and together.dtype == torch.float32
    assert torch.allclose(together[[0, 17, 63]], alone, rtol=1e-6, atol=1e-7)


@functions
def test_arguments_are_left_as_they_were(metric: Any) -> None:
    a, b = (stack(pixels) for pixels in pairs(33, 33))
    before = a.clone(), b.clone()

    run(metric, a, b)

    assert torch.equal(a, before[0]) and torch.equal(b, before[1])


@functions
def test_no_images_give_no_numbers(metric: Any) -> None:
    assert run(metric, torch.empty(0, 3, 32, 32), torch.empty(0, 3, 32, 32)).shape == (0,)


@functions
@pytest.mark.parametrize(
    ("images", "originals"),
    [
        (torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 33)),
        (torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 32, 32)),
        (torch.zeros(3, 32, 32), torch.zeros(3, 32, 32)),
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), torch.zeros(1, 3, 32, 32, dtype=torch.uint8)),
    ],
    ids=["unequal", "grey", "no batch", "bytes"],
)
def test_invalid_stacks_are_refused_with_the_metrics_name(
    metric: Any, images: torch.Tensor, originals: torch.Tensor
) -> None:
    with pytest.raises(HarnessError, match=f"^{metric.__name__}: .*"):
        run(metric, images, originals)


@pytest.mark.parametrize(("metric", "least"), [(dssim, 11), (dhaar, 16)], ids=["dssim", "dhaar"])
def test_images_smaller_than_the_window_are_refused(metric: Any, least: int) -> None:
    fits, small = torch.rand(1, 3, least, 40), torch.rand(1, 3, least - 1, 40)

    assert run(metric, fits, fits).shape == (1,)
    with pytest.raises(HarnessError, match=f"40x{least - 1} px; it needs {least} px"):
        run(metric, small, small)


@sizes
def test_dssim_is_scikit_images(size: tuple[int, int]) -> None:
    """Within 1e-6 in float64, 1e-5 in float32: Wang's window, per channel, no border."""
    ours, theirs = pairs(*size)

    exact = run(dssim, stack(ours, torch.float64), stack(theirs, torch.float64))
    single = run(dssim, stack(ours), stack(theirs))

    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    expected = torch.tensor(
        [
            1 - structural_similarity(x / 255, y / 255, channel_axis=-1, **settings)
            for x, y in zip(ours, theirs, strict=True)
        ]
    )
    assert exact.dtype == torch.float64
    assert (exact - expected).abs().max() < 1e-6
    assert (single - expected).abs().max() < 1e-5


@sizes
def test_dssim_is_piqs_without_its_downsampling(size: tuple[int, int]) -> None:
    """Ours in float32 against piq in float64: piq's own float32 is off by up to 6e-5 on photographs."""
    ours, theirs = pairs(*size)

    expected = 1 - piq.ssim(
        stack(ours, torch.float64), stack(theirs, torch.float64), downsample=False, reduction="none"
    )

    assert (run(dssim, stack(ours), stack(theirs)) - expected).abs().max() < 1e-5


def test_dssim_never_averages_down() -> None:
    """At 384 px piq halves the image first and sees fine noise less; ours stays Wang's formula."""
    b = stack(skimage.data.astronaut()[None, :384, :384])
    a = (b + 0.1 * torch.randn(b.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)

    distance = run(dssim, a, b).item()

    assert distance == pytest.approx(1 - piq.ssim(a, b, downsample=False).item(), abs=1e-4)
    assert distance > 1 - piq.ssim(a, b).item() + 0.05


@pytest.mark.parametrize(("a", "b"), [(0.0, 1.0), (0.2, 0.6), (1.0, 0.99)])
def test_dssim_of_flat_images_is_wangs_luminance_term(a: float, b: float) -> None:
    expected = 1 - (2 * a * b + 1e-4) / (a * a + b * b + 1e-4)

    assert run(dssim, constant(a), constant(b)).item() == pytest.approx(expected, abs=2e-6)


def test_dssim_of_a_negative_is_above_one() -> None:
    image = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    assert (run(dssim, 1 - image, image) > 1).all()


@sizes
def test_dhaar_is_piqs(size: tuple[int, int]) -> None:
    """Within 1e-5 of piq in float32, which is as near as piq's own float32 is to its float64."""
    ours, theirs = pairs(*size)

    exact = 1 - piq.haarpsi(stack(ours, torch.float64), stack(theirs, torch.float64), reduction="none")
    single = 1 - piq.haarpsi(stack(ours), stack(theirs), reduction="none")

    assert (run(dhaar, stack(ours, torch.float64), stack(theirs, torch.float64)) - exact).abs().max() < 1e-9
    assert (run(dhaar, stack(ours), stack(theirs)) - exact).abs().max() < 1e-6
    assert (run(dhaar, stack(ours), stack(theirs)) - single).abs().max() < 1e-5


def test_dhaar_of_two_black_images_is_zero() -> None:
    """Nothing has any weight there; piq answers infinity."""
    assert run(dhaar, constant(0), constant(0)).item() == pytest.approx(0, abs=1e-12)


def test_mse_of_flat_images_is_the_square_of_their_difference() -> None:
    assert run(mse, constant(30 / 255), constant(50 / 255)).item() == pytest.approx(400, rel=1e-5)


@sizes
def test_mse_is_numpys(size: tuple[int, int]) -> None:
    ours, theirs = pairs(*size)

    expected = ((ours.astype(float) - theirs) ** 2).mean((1, 2, 3))

    assert np.allclose(run(mse, stack(ours), stack(theirs)), expected, rtol=1e-5)


@pytest.mark.parametrize("size", [*SIZES, (32, 32), (32, 50), (50, 32), (12, 20), (255, 250)])
def test_phash_has_the_bits_of_imagehash(size: tuple[int, int]) -> None:
    """Bit for bit, on photographs, noise and flat images, shrunk or enlarged."""
    if size == (64, 47) and int(PIL.__version__.split(".")[0]) < 13:
        pytest.skip("Pillow 13 changed the order of the passes for tall images")
    flat = np.stack([np.full((*size, 3), value, np.uint8) for value in (0, 1, 128, 255)])
    pixels = np.concatenate([pairs(*size)[0], flat])

    bits = hash_bits(stack(pixels), **PUBLISHED["phash"])

    assert (bits == np.stack([imagehash.phash(Image.fromarray(image)).hash for image in pixels])).all()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), height=st.integers(5, 90), width=st.integers(5, 90))
def test_phash_is_the_share_of_bits_that_differ(seed: int, height: int, width: int) -> None:
    """A multiple of 1/64, equal to imagehash's Hamming distance, for any shape that Pillow shrinks across first."""
    height = min(height, max(32, width))
    rng = np.random.default_rng(seed)
    ours, theirs = rng.integers(0, 256, (2, height, width, 3), dtype=np.uint8)

    distance = run(phash, stack(ours[None]), stack(theirs[None])).item()

    expected = imagehash.phash(Image.fromarray(ours)) - imagehash.phash(Image.fromarray(theirs))
    assert distance * 64 == expected


@pytest.mark.parametrize("name", ["gmsd", "vif_p", "fsim", "haarpsi"])
def test_a_metric_of_piq_needs_only_a_registry_entry(name: str, tmp_path: Path) -> None:
    """`use: "piq:vif_p"` and its settings; nothing to write in code."""
    registry = pytest.importorskip("harness.registry")
    entry = {"use": f"piq:{name}", "version": 1, "higher_is": "closer", "cite": "piq"}
    file = tmp_path / "mine.yaml"
    file.write_text(
        yaml.safe_dump({"metrics": {f"my_{name}": {**entry, "params": {"data_range": 1.0, "reduction": "none"}}}})
    )
    a, b = (stack(pixels) for pixels in pairs(64, 64))

    metric = registry.bind(registry.load_registry([file]).find(f"my_{name}"))

    figures = metric(a, b)
    assert figures.shape == (len(a),) and torch.isfinite(figures).all()


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A process that has not tried to load weights yet, and an empty torch.hub folder."""
    monkeypatch.setattr(inception, "_networks", {})
    monkeypatch.setattr(inception, "_missing", [])
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.delenv("HARNESS_DOWNLOAD", raising=False)
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints" / "inception_v3_google-0cc3c7bd.pth"


def test_fid_without_weights_is_skipped_and_the_reason_names_file_and_folder(fresh: Path) -> None:
    with pytest.raises(Skipped) as raised:
        fid(constant(0), constant(1))

    assert "https://" in str(raised.value) and "HARNESS_DOWNLOAD=1" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_fid_asks_for_missing_weights_once_per_process(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without network the first call fails in seconds, every later one at once; nothing is printed on stdout."""
    monkeypatch.setenv("HARNESS_DOWNLOAD", "1")
    asked: list[Any] = []

    def unreachable(*args: Any, **kwargs: Any) -> None:
        asked.append(socket.getdefaulttimeout())
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    for _ in range(3):
        with pytest.raises(Skipped, match="no Inception-v3 weights"):
            fid(constant(0), constant(1))

    assert asked == [pretrained.TIMEOUT]
    assert socket.getdefaulttimeout() is None


def known(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this file held the published weights."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setattr(weights, "INCEPTION", replace(weights.INCEPTION, sha256=digest))


def test_fid_names_a_file_of_weights_that_cannot_be_read(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh.write_bytes(b"not weights")
    known(fresh, monkeypatch)

    with pytest.raises(Skipped, match="unreadable Inception-v3 weights"):
        fid(constant(0), constant(1))


def test_fid_refuses_weights_with_another_digest(fresh: Path) -> None:
    """Whole weights of the right network: only the digest says that they are not the published ones."""
    from torchvision.models import inception_v3

    torch.save(inception_v3(weights=None, transform_input=True, init_weights=False).state_dict(), fresh)

    with pytest.raises(
        Skipped, match=r"fid: inception_v3_google-0cc3c7bd.pth: the file's SHA-256 begins with .*, expe"
    ):
        fid(constant(0), constant(1))
    assert fresh.exists()


def test_fid_is_the_squared_distance_of_pooled_features(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading only: the real loading code on a stand-in checkpoint, against torchvision's own network."""
    from torchvision.models import inception_v3

    torch.manual_seed(0)
    network = inception_v3(weights=None, transform_input=True, init_weights=False).eval()
    torch.save(network.state_dict(), fresh)
    known(fresh, monkeypatch)
    a, b = (stack(pixels[:1]) for pixels in pairs(64, 64))

    distance = fid(a, b)

    pooled: list[torch.Tensor] = []
    network.avgpool.register_forward_hook(lambda module, inputs, output: pooled.append(output.flatten()))
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        for images in (a, b):
            large = F.interpolate(images, size=299, mode="bilinear", antialias=True)
            network((large - mean[:, None, None]) / deviation[:, None, None])
    assert distance.shape == (1,) and distance.item() > 0
    assert distance.item() == pytest.approx((pooled[0] - pooled[1]).square().sum().item(), rel=1e-3)
    assert fid(a, a).item() == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@functions
@pytest.mark.parametrize("tf32", [False, True], ids=["ieee", "tf32"])
def test_cuda_gives_the_figures_of_the_cpu(metric: Any, tf32: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a training has switched on: no metric goes through a product that TF32 or autocast would round."""
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", tf32)
    a, b = (stack(pixels) for pixels in pairs(97, 96))

    with torch.autocast("cuda", enabled=tf32):
        there = run(metric, a.cuda(), b.cuda())

    assert there.device.type == "cuda"
    assert torch.allclose(there.cpu(), run(metric, a, b), rtol=1e-5, atol=1e-5)
