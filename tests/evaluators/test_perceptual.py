"""LPIPS and DISTS agree with piq and with the papers' equations in float64, and load no weights but the known ones.

VGG16 has random weights here: the arithmetic is compared, on the same weights; the published ones need the network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import piq
import pytest
import skimage.data
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torchvision.models import VGG16_Weights
from torchvision.models.vgg import cfgs, make_layers
from torchvision.transforms.functional import resize

import harness.metrics
from harness.client.client import Client
from harness.errors import HarnessError, Skipped
from harness.plugins.evaluators import perceptual, weights
from harness.plugins.evaluators.perceptual import dists, lpips
from harness.registry import load_registry
from harness.run.work import measure_release
from tests.helpers.planted import splits
from tests.helpers.pretend_cuda import OnCuda, PretendCuda, values

CHANNELS = [64, 128, 256, 512, 512]
AFTER_RELU = (3, 8, 15, 22, 29)  # relu1_2, relu2_2, relu3_3, relu4_3, relu5_3 of torchvision's `features`
both = pytest.mark.parametrize("metric", [lpips, dists], ids=lambda metric: metric.__name__)


def random_weights() -> dict[str, Any]:
    """VGG16's convolutions, the linear layers of LPIPS, and alpha and beta of DISTS, which add up to 3."""
    torch.manual_seed(0)
    features = make_layers(cfgs["D"], batch_norm=False)
    for layer in features:
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            torch.nn.init.normal_(layer.bias, std=0.05)
    linear = {f"lin{k}.model.1.weight": torch.rand(1, size, 1, 1) for k, size in enumerate(CHANNELS)}
    shares = torch.rand(2, 1, 3 + sum(CHANNELS), 1, 1)
    shares *= 3 / shares.sum()
    return {"VGG16": features, "LPIPS": linear, "DISTS": {"alpha": shares[0], "beta": shares[1]}}


WEIGHTS = random_weights()


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """torch's folder of weights with these, whose digests are the known ones."""
    hub = tmp_path_factory.mktemp("hub")
    place = hub / "checkpoints"
    place.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name, held in WEIGHTS.items():
            if name == "VGG16":
                held = {f"features.{key}": value for key, value in held.state_dict().items()}
                held["classifier.0.bias"] = torch.zeros(4)
            file = getattr(weights, name)
            torch.save(held, place / file.name)
            digest = hashlib.sha256((place / file.name).read_bytes()).hexdigest()
            patch.setattr(weights, name, replace(file, sha256=digest))
        patch.setattr(torch.hub, "get_dir", lambda: str(hub))
        patch.setattr(perceptual, "_loaded", {})
        patch.setattr(perceptual, "_missing", {})
        patch.delenv("HARNESS_DOWNLOAD", raising=False)
        patch.delenv("HARNESS_WEIGHTS_SHA256", raising=False)
        yield place


@pytest.fixture
def empty(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing loaded yet, and a folder of weights that has VGG16's alone."""
    monkeypatch.setattr(perceptual, "_loaded", {})
    monkeypatch.setattr(perceptual, "_missing", {})
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    place = tmp_path / "checkpoints"
    place.mkdir()
    (place / weights.VGG16.name).symlink_to(folder / weights.VGG16.name)
    return place


def pairs(height: int, width: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    """(5, 3, H, W): a photograph shifted, noisy, inverted, against another one, and flat against flat."""
    first, second = (
        getattr(skimage.data, name)()[40 : 43 + height, 30 : 33 + width] for name in ("astronaut", "coffee")
    )
    one, other = (torch.from_numpy(each.copy()).permute(2, 0, 1).to(dtype) / 255 for each in (first, second))
    crop = one[:, :height, :width]
    noise = torch.randn(crop.shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
    changed = [one[:, 3:, 3:], (crop + 0.1 * noise).clamp(0, 1), 1 - crop, other[:, :height, :width]]
    flat = torch.full_like(crop, 0.4)
    return torch.stack([*changed, flat]), torch.stack([crop] * 4 + [flat + 0.2])


# ---- an implementation of the papers in NumPy ------------------------------------------------------------------------


def stages_of(image: np.ndarray[Any, Any], metric: str) -> list[np.ndarray[Any, Any]]:
    """(C, H, W) float64 feature maps after the last ReLU of each stage, computed from windows and sums."""
    found, stages = (image - np.array([[[0.485]], [[0.456]], [[0.406]]])), []
    found = found / np.array([[[0.229]], [[0.224]], [[0.225]]])
    for place, layer in enumerate(WEIGHTS["VGG16"][: AFTER_RELU[-1] + 1]):
        if isinstance(layer, torch.nn.Conv2d):
            kernel, bias = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()
            windows = sliding_window_view(np.pad(found, ((0, 0), (1, 1), (1, 1))), (3, 3), (1, 2))
            found = np.einsum("chwij,ocij->ohw", windows, kernel, optimize=True) + bias[:, None, None]
        elif isinstance(layer, torch.nn.ReLU):
            found = np.maximum(found, 0)
        elif metric == "lpips":
            rows, columns = (size // 2 * 2 for size in found.shape[1:])
            found = sliding_window_view(found[:, :rows, :columns], (2, 2), (1, 2))[:, ::2, ::2].max((3, 4))
        else:  # section 3.2: the root of g * (x . x), with a Hann window g
            hann = np.outer([1, 2, 1], [1, 2, 1]) / 16
            windows = sliding_window_view(np.pad(found**2, ((0, 0), (1, 1), (1, 1))), (3, 3), (1, 2))
            found = np.sqrt((windows[:, ::2, ::2] * hann).sum((3, 4)) + 1e-12)
        if place in AFTER_RELU:
            stages.append(found)
    return stages


def lpips_of(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> float:
    """Zhang et al., equation 1: sum over l of 1/(H W) sum over h, w of |w_l . (x_hw - y_hw)|^2, of unit vectors."""
    total = 0.0
    for stage, maps in enumerate(zip(stages_of(x, "lpips"), stages_of(y, "lpips"), strict=True)):
        ours, theirs = (each / np.maximum(np.linalg.norm(each, axis=0), 1e-10) for each in maps)
        w = np.sqrt(WEIGHTS["LPIPS"][f"lin{stage}.model.1.weight"].double().numpy()[0])
        total += (np.linalg.norm(w * (ours - theirs), axis=0) ** 2).mean()
    return total


def dists_of(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> float:
    """Ding et al.: 1 - sum of alpha l(x, y) + beta s(x, y) (equations 6 to 8), the image being the stage 0."""
    alpha, beta = (WEIGHTS["DISTS"][name].double().numpy().ravel() for name in ("alpha", "beta"))
    whole, channel, total = alpha.sum() + beta.sum(), 0, 0.0
    for ours, theirs in zip([x, *stages_of(x, "dists")], [y, *stages_of(y, "dists")], strict=True):
        for a, b in zip(ours, theirs, strict=True):
            covariance = np.cov(a.ravel(), b.ravel(), bias=True)
            texture = (2 * a.mean() * b.mean() + 1e-6) / (a.mean() ** 2 + b.mean() ** 2 + 1e-6)
            structure = (2 * covariance[0, 1] + 1e-6) / (covariance[0, 0] + covariance[1, 1] + 1e-6)
            total += alpha[channel] * texture + beta[channel] * structure
            channel += 1
    return float(1 - total / whole)


@pytest.mark.parametrize("size", [(16, 16), (33, 40)], ids=str)
@pytest.mark.parametrize(("metric", "reference"), [(lpips, lpips_of), (dists, dists_of)], ids=["lpips", "dists"])
def test_the_figure_is_that_of_the_papers_equations(metric: Any, reference: Any, size: tuple[int, int]) -> None:
    """In float64 to ten digits, in float32 to five."""
    images, originals = pairs(*size, torch.float64)
    expected = [reference(x, y) for x, y in zip(images.numpy(), originals.numpy(), strict=True)]

    found = metric(images, originals)

    assert found.dtype == torch.float64 and found.tolist() == pytest.approx(expected, rel=1e-8, abs=1e-9)
    assert min(expected) > 1e-3
    narrow = metric(images.float(), originals.float())
    assert narrow.dtype == torch.float32 and narrow.tolist() == pytest.approx(expected, rel=1e-4, abs=1e-5)


# ---- piq -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def of_piq(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """piq's own classes, with these weights where it would fetch the published ones."""

    shares = WEIGHTS["DISTS"]
    files = {
        "lpips_weights.pt": list(WEIGHTS["LPIPS"].values()),
        "dists_weights.pt": {name: share / 3 for name, share in shares.items()},  # piq expects that they add up to 1
    }
    monkeypatch.setattr(piq.perceptual, "vgg16", lambda **_: SimpleNamespace(features=deepcopy(WEIGHTS["VGG16"])))
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda url, **_: files[url.rpartition("/")[2]])
    return {"lpips": piq.LPIPS(reduction="none"), "dists": piq.DISTS(reduction="none")}


@both
@pytest.mark.parametrize("size", [(32, 32), (40, 33), (64, 64)], ids=str)
def test_the_figure_is_that_of_piq(metric: Any, size: tuple[int, int], of_piq: dict[str, Any]) -> None:
    """To six digits: piq holds the mean of the pixels, the window and the sum of the weights in float32."""
    images, originals = pairs(*size, torch.float64)

    expected = of_piq[metric.__name__](images, originals).squeeze()

    assert metric(images, originals).tolist() == pytest.approx(expected.tolist(), rel=1e-6, abs=2e-7)


def test_dists_shrinks_large_images_to_256_px_with_antialiasing(
    of_piq: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As torchvision's `resize`, by which its authors prepare images; piq's own shrinking has no antialiasing."""
    large = pairs(280, 330)[0][:1]
    assert perceptual._shrunk(large).shape[2:] == (256, 301)
    for stack in (large, large.transpose(2, 3), large[..., :256]):
        assert torch.equal(perceptual._shrunk(stack), resize(stack, 256, antialias=True))

    monkeypatch.setattr(perceptual, "LARGEST", 32)
    images, originals = pairs(40, 57, torch.float64)
    expected = of_piq["dists"](*(resize(stack, 32, antialias=True) for stack in (images, originals)))
    assert dists(images, originals).tolist() == pytest.approx(expected.squeeze().tolist(), rel=1e-6, abs=2e-7)


# ---- what holds for both ---------------------------------------------------------------------------------------------


@both
def test_equal_images_are_at_exactly_0_and_others_are_not(metric: Any) -> None:
    images, originals = pairs(33, 40)
    images = torch.cat([images, originals, torch.zeros_like(images[:1]), torch.ones_like(images[:1])])

    assert metric(images, images.clone()).tolist() == [0] * len(images)
    assert metric(*pairs(33, 40)).min() > 1e-3


@both
def test_it_grows_with_noise_and_does_not_depend_on_the_order(metric: Any) -> None:
    original = pairs(48, 48)[1][:1]
    noise = torch.randn(original.shape, generator=torch.Generator().manual_seed(2))
    noisy = torch.cat([(original + sigma * noise).clamp(0, 1) for sigma in (0.02, 0.1, 0.4)])
    originals = original.expand(3, -1, -1, -1)

    found = metric(noisy, originals)

    assert 0 < found[0] < found[1] < found[2]
    assert torch.allclose(found, metric(originals, noisy), rtol=1e-5)


@both
def test_images_are_compared_in_bounded_stacks_and_each_by_itself(metric: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """70 images of 32 px: 16 at a time on a CPU, four stacks and a rest."""
    sizes, compute = [], perceptual._features

    def counted(images: torch.Tensor, *rest: Any) -> Any:
        sizes.append(len(images))
        return compute(images, *rest)

    monkeypatch.setattr(perceptual, "_features", counted)
    images, originals = (stack.repeat(14, 1, 1, 1) for stack in pairs(32, 32))

    found = metric(images, originals)

    assert sizes == [16] * 8 + [6] * 2
    assert torch.allclose(found[:5], found[65:], rtol=1e-5) and found.shape == (70,)
    assert torch.allclose(metric(images[3:4], originals[3:4]), found[3:4], rtol=1e-5)


@both
def test_no_images_give_no_numbers(metric: Any) -> None:
    assert metric(torch.empty(0, 3, 32, 32), torch.empty(0, 3, 32, 32)).shape == (0,)


@both
def test_arguments_are_left_as_they_were_and_no_graph_is_held(metric: Any) -> None:
    images, originals = pairs(20, 24)
    before = images.clone(), originals.clone()

    assert not metric(images.requires_grad_(), originals).requires_grad

    assert torch.equal(images, before[0]) and torch.equal(originals, before[1])


@both
def test_autocast_changes_nothing(metric: Any) -> None:
    expected = metric(*pairs(32, 32))

    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(metric(*pairs(32, 32)), expected)


@both
def test_it_follows_the_device(metric: Any) -> None:
    images, originals = pairs(24, 24)
    with PretendCuda():
        found = metric(images.to("cuda"), originals.to("cuda"))
        assert isinstance(found, OnCuda)

    assert torch.allclose(values(found), metric(images, originals), rtol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@both
def test_cuda_gives_the_figures_of_the_cpu(metric: Any) -> None:
    """TF32, which torch allows in convolutions by default, would move the fourth digit."""
    images, originals = pairs(64, 64)

    with torch.autocast("cuda"):
        found = metric(images.cuda(), originals.cuda())

    assert torch.allclose(found.cpu(), metric(images, originals), rtol=1e-4, atol=1e-6)
    assert metric(images.cuda(), images.cuda()).tolist() == [0] * len(images)


@both
def test_pairs_that_are_none_are_refused(metric: Any) -> None:
    images, originals = pairs(20, 20)

    with pytest.raises(HarnessError, match=f"{metric.__name__}: .*against"):
        metric(images, originals[:, :, :19])
    with pytest.raises(HarnessError, match="float"):
        metric(images.half(), originals.half())


@both
def test_images_under_16_px_have_no_figure_and_the_reason_says_so(metric: Any) -> None:
    images, originals = pairs(15, 40)

    with pytest.raises(Skipped, match=f"^{metric.__name__}: images of 40x15 px; VGG16 needs 16 px a side$"):
        metric(images, originals)


@both
def test_it_is_a_function_of_the_python_api(metric: Any) -> None:
    images, originals = pairs(32, 32)

    found = getattr(harness.metrics, metric.__name__)(images, originals)

    assert torch.equal(found, metric(images, originals))


def test_a_release_is_measured_by_them() -> None:
    """Per original, with an interval, as by every other metric; the release as it is is at 0."""
    registry = load_registry()
    client = Client(splits(private=12, public=24, test=6, size=16), registry, "cpu", 2, 12)

    nothing, mixed = (measure_release(client, registry.get("defenses", name), 0) for name in ("none", "mix"))

    for name in ("lpips", "dists"):
        assert nothing[0][name]["mean"] == 0 and nothing[0][name]["n"] == 12
        score, figures = mixed[0][name], mixed[1][name]
        assert 0 < score["low"] < score["mean"] < score["high"] and len(figures) == len(mixed[1]["dssim"])


# ---- weights ---------------------------------------------------------------------------------------------------------


def test_vgg16_is_torchvisions() -> None:
    assert VGG16_Weights.IMAGENET1K_V1.url == weights.VGG16.url


@both
def test_without_its_weights_it_is_skipped_and_the_reason_names_file_and_folder(metric: Any, empty: Path) -> None:
    file = {"lpips": weights.LPIPS, "dists": weights.DISTS}[metric.__name__]
    with pytest.raises(Skipped) as raised:
        metric(*pairs(32, 32))

    said = str(raised.value)
    assert said.startswith(f"{metric.__name__}: no {file.what} here") and file.url in said and file.name in said
    assert "HARNESS_DOWNLOAD=1" in said and "\n" not in said


@both
def test_another_file_in_its_place_is_refused_and_stays(metric: Any, empty: Path, folder: Path) -> None:
    """Whole and readable weights, but not the published ones."""
    file = {"lpips": weights.LPIPS, "dists": weights.DISTS}[metric.__name__]
    other = {name: tensor + 1 for name, tensor in WEIGHTS[metric.__name__.upper()].items()}
    torch.save(other, empty / file.name)

    with pytest.raises(Skipped, match=f"^{metric.__name__}: {file.name}: the file's SHA-256 begins with .*, expected"):
        metric(*pairs(32, 32))

    assert (empty / file.name).exists()


@both
def test_a_download_is_loaded_only_where_it_has_the_digest(
    metric: Any, empty: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = metric.__name__.upper()
    file = getattr(weights, name)
    monkeypatch.setenv("HARNESS_DOWNLOAD", "1")
    monkeypatch.delenv("HARNESS_OFFLINE", raising=False)
    (tmp_path / "forged").write_bytes((folder / file.name).read_bytes() + b"\0")
    monkeypatch.setattr(weights, name, replace(file, url=(tmp_path / "forged").as_uri()))

    with pytest.raises(
        Skipped, match=rf"{metric.__name__}: no {name} weights \(.* kB\) \(another SHA-256 than expected\)"
    ):
        metric(*pairs(32, 32))
    assert [each.name for each in empty.glob("[!.]*")] == [weights.VGG16.name]

    monkeypatch.setattr(perceptual, "_missing", {})
    monkeypatch.setattr(weights, name, replace(file, url=(folder / file.name).as_uri()))
    assert metric(*pairs(32, 32)).min() > 0
    assert (empty / file.name).read_bytes() == (folder / file.name).read_bytes()


def test_missing_weights_are_asked_for_once_per_process(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_DOWNLOAD", "1")
    monkeypatch.delenv("HARNESS_OFFLINE", raising=False)
    asked: list[str] = []

    def unreachable(url: str, *_: Any, **__: Any) -> None:
        asked.append(url)
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    for _ in range(3):
        with pytest.raises(Skipped, match=r"no LPIPS weights \(7 kB\) \(OSError\)"):
            lpips(*pairs(32, 32))

    assert asked == [weights.LPIPS.url]


def test_a_stated_digest_that_is_not_the_known_one_is_refused(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_WEIGHTS_SHA256", f"{weights.DISTS.name}={'0' * 64}")

    with pytest.raises(Skipped, match=r"dists: HARNESS_WEIGHTS_SHA256: 'dists-f5e65c96.pt' is stated as 0000"):
        dists(*pairs(32, 32))
