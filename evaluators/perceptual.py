"""LPIPS and DISTS: how far two images are from each other in the features of VGG16, one number per image.

Both are `metric(images, originals) -> (N,)`, larger is farther, 0 for equal images. Figures are in the precision of the
images (float32 or float64), computed without TF32 and autocast, a few images at a time. The weights are those that the
authors published, by their SHA-256 (evaluators.weights). `Skipped` where they are missing, and for images under 16 px.
piq has both metrics; here differences are formed directly, so that equal images are at exactly 0 in float32.

References:
    Zhang, Isola, Efros, Shechtman, Wang 2018, The unreasonable effectiveness of deep features as a perceptual metric
    Ding, Ma, Wang, Simoncelli 2020, Image quality assessment: unifying structure and texture similarity
    Simonyan, Zisserman 2015, Very deep convolutional networks (VGG16)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)

from harness.errors import Skipped
from harness.plugins.evaluators import weights
from harness.plugins.evaluators.compiled import chunk_size
from harness.plugins.evaluators.privacy import check_pair

if TYPE_CHECKING:
    from harness.types import Images

Tensors: TypeAlias = "dict[str, torch.Tensor]"
LEAST = 16  # px a side: four poolings halve it to the one of the fifth stage
LARGEST = 256  # px of the shorter side, to which DISTS shrinks larger images, as its authors do
STAGES = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
"""The convolutions of VGG16 between its poolings, by their numbers in torchvision's `features`."""
MEAN, DEVIATION = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # of ImageNet's pixels, which VGG16 was trained with
_CHANNELS = [3, 64, 128, 256, 512, 512]  # of the image and of the stages
_STABLE = 1e-6  # c1 and c2 of DISTS
_loaded: dict[tuple[str, torch.device, torch.dtype], Tensors] = {}
_missing: dict[str, str] = {}  # why a file's weights are not available, tried once per process


def lpips(images: Images, originals: Images) -> torch.Tensor:
    """Squared difference of unit-length VGG16 features, weighted as people judged (LPIPS v0.1): 0 for equal images.

    Equation 1 of the paper; the published weights are the squares of its w. No image is shrunk, so
    memory grows with the size of one image.
    """
    check_pair("lpips", images, originals, least=1)
    vgg, linear = _networks("lpips", images, weights.LPIPS)
    return _in_stacks(lambda x, y: _lpips(x, y, vgg, linear), images, originals)


def dists(images: Images, originals: Images) -> torch.Tensor:
    """1 - weighted mean of texture (means) and structure (covariances) of VGG16 features: 0 for equal images.

    Equations 6 to 8 of the paper. At most 1 but for negative covariances, whose weights add up to .12. An image of more
    than 256 px a side is shrunk to 256 px on its shorter side with antialiasing, as its authors do (piq: without).
    """
    check_pair("dists", images, originals, least=1)
    vgg, shares = _networks("dists", images, weights.DISTS)
    return _in_stacks(lambda x, y: _dists(x, y, vgg, shares), images, originals)


def _lpips(x: Images, y: Images, vgg: Tensors, linear: Tensors) -> torch.Tensor:
    pairs = zip(_features(x, vgg, _max_pool), _features(y, vgg, _max_pool), strict=True)
    total = x.new_zeros(len(x))
    for stage, (ours, theirs) in enumerate(pairs):
        difference = _unit_length(ours).sub_(_unit_length(theirs)).square_()
        total += difference.mul_(linear[f"lin{stage}.model.1.weight"]).sum(1).mean((1, 2))
    return total


def _unit_length(features: torch.Tensor) -> torch.Tensor:
    return features / (features.square().sum(1, keepdim=True).sqrt_() + 1e-10)


def _dists(x: Images, y: Images, vgg: Tensors, shares: Tensors) -> torch.Tensor:
    x, y = _shrunk(x), _shrunk(y)
    whole = shares["alpha"].sum() + shares["beta"].sum()
    alphas, betas = ((shares[name] / whole).flatten().split(_CHANNELS) for name in ("alpha", "beta"))
    total = x.new_zeros(len(x))
    pairs = zip(_with_image(x, vgg), _with_image(y, vgg), alphas, betas, strict=True)
    for ours, theirs, alpha, beta in pairs:
        mean, other = ours.mean((2, 3), keepdim=True), theirs.mean((2, 3), keepdim=True)
        ours, theirs = ours - mean, theirs - other
        variances = ours.square().mean((2, 3)) + theirs.square().mean((2, 3))
        mean, other = mean[..., 0, 0], other[..., 0, 0]
        # 1 - (2ab + c) / (a^2 + b^2 + c) = (a - b)^2 / (a^2 + b^2 + c), and so for covariance and variances
        total += ((mean - other).square() / (mean.square() + other.square() + _STABLE)) @ alpha
        total += (ours.sub_(theirs).square_().mean((2, 3)) / (variances + _STABLE)) @ beta
    return total


def _with_image(images: Images, vgg: Tensors) -> Iterator[torch.Tensor]:
    yield images
    yield from _features(images, vgg, _l2_pool)


def _shrunk(images: Images) -> Images:
    height, width = images.shape[2:]
    if min(height, width) <= LARGEST:
        return images
    shorter = min(height, width)
    size = [LARGEST if side == shorter else int(LARGEST * side / shorter) for side in (height, width)]
    return F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)


def _features(images: Images, vgg: Tensors, pool: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[torch.Tensor]:
    """relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3 of images in [0, 1], with this pooling between the stages."""
    mean, deviation = (_like(images, each).view(3, 1, 1) for each in (MEAN, DEVIATION))
    found = (images - mean) / deviation
    for stage, layers in enumerate(STAGES):
        if stage:
            found = pool(found)
        for layer in layers:
            name = f"features.{layer}"
            found = F.relu_(F.conv2d(found, vgg[f"{name}.weight"], vgg[f"{name}.bias"], padding=1))
        yield found


def _like(images: Images, numbers: Sequence[float]) -> torch.Tensor:
    return torch.tensor(numbers, dtype=images.dtype, device=images.device)


def _max_pool(features: torch.Tensor) -> torch.Tensor:
    return F.max_pool2d(features, 2)


def _l2_pool(features: torch.Tensor) -> torch.Tensor:
    """Root of the mean square under a 3x3 Hann window, every second pixel: pooling without aliases (section 3.2)."""
    taps = _like(features, [0.25, 0.5, 0.25])
    kernel = (taps[:, None] * taps).expand(features.shape[1], 1, 3, 3)
    squares = F.conv2d(features.square(), kernel, stride=2, padding=1, groups=features.shape[1])
    return squares.add_(1e-12).sqrt_()


def _in_stacks(compare: Callable[[Images, Images], torch.Tensor], images: Images, originals: Images) -> torch.Tensor:
    """Four times fewer images at a time than the metrics of pixels: the first stage has 64 channels."""
    size = max(1, chunk_size(images) // 4)
    precise = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
    with torch.no_grad(), torch.autocast(images.device.type, enabled=False), precise:
        pairs = zip(images.split(size), originals.split(size), strict=True)
        return torch.cat([images.new_zeros(0), *(compare(x, y) for x, y in pairs)])


def _networks(metric: str, images: Images, file: weights.WeightFile) -> tuple[Tensors, Tensors]:
    """The weights of VGG16 and of the metric, on the images' device and in their precision; `Skipped` without them."""
    height, width = images.shape[2:]
    if min(height, width) < LEAST:
        raise Skipped(f"{metric}: images of {width}x{height} px; VGG16 needs {LEAST} px a side")
    try:
        return _weights(weights.VGG16, images), _weights(file, images)
    except Skipped as reason:
        raise Skipped(f"{metric}: {reason}") from None


def _weights(file: weights.WeightFile, images: Images) -> Tensors:
    if file.name in _missing:
        raise Skipped(_missing[file.name])
    key = file.name, images.device, images.dtype
    if key not in _loaded:
        try:
            found = _load(file)
        except Skipped as reason:
            _missing[file.name] = str(reason)
            raise
        _loaded[key] = {name: tensor.to(images) for name, tensor in found.items()}
    return _loaded[key]


def _load(file: weights.WeightFile) -> Tensors:
    found = torch.load(weights.checked_file(file), map_location="cpu", weights_only=True)
    wanted = [f"features.{layer}." for stage in STAGES for layer in stage] if file == weights.VGG16 else [""]
    return {name: tensor for name, tensor in found.items() if name.startswith(tuple(wanted))}
