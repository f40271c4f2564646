"""dSSIM after an image is laid onto its original: turned, mirrored, shifted, inverted or recoloured, it still shows it.

1. Of the eight poses (four turns, each as it is and mirrored) and every circular shift, take those with the largest
   absolute normalised cross-correlation of luminance with the original: zero mean, circular, over all pixels. Its sign
   says whether to invert. Images that are not square keep only the four poses that keep their shape: as it is, turned
   by half, mirrored either way.
2. Of the image so laid, (a) each channel gets the original channel's mean and standard deviation, without clipping;
   (b) each channel gets the original channel's sorted values (exact histogram specification).
3. The figure is the smallest dSSIM of the image as it is, of (a) and of (b).

Two correlations that differ by less than 1e-5 are tied, and the first pose counts, then the first shift by rows. Of
equal pixels in (b), the first by rows gets the smaller value. A constant luminance (one that spans less than 1e-5) has
no correlation: the image stays as it is. A constant channel gets the original's mean in (a).

No coefficient is fitted: least squares would shrink any image to the original's mean colour, which is nearer to it
than what is seen (uniform noise: .99 to .74).

References:
    Lewis 1995, Fast normalized cross-correlation; Bracewell 1986, The Hartley transform
    Coltuc, Bolon, Chassery 2006, Exact histogram specification
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

import scipy.fft
import torch

from harness.plugins.evaluators.compiled import chunk_size, kernels, per_image
from harness.plugins.evaluators.privacy import check_pair, dssim, ssim_settings

if TYPE_CHECKING:
    from harness.types import Array, Images

FLAT, TIE = 1e-5, 1e-5
_LUMINANCE = (0.299, 0.587, 0.114)


def aligned_dssim(
    images: Images, originals: Images, *, window: int, sigma: float, k1: float, k2: float
) -> torch.Tensor:
    """The smallest dSSIM of the images as they are and laid onto the originals: (N,), at most `dssim`.

    images, originals      (N, 3, H, W) float in [0, 1], of one shape and on one device
    window, sigma, k1, k2  of dSSIM: see evaluators.privacy
    """
    check_pair("aligned_dssim", images, originals, least=window)
    if (compiled := kernels(images)) is not None:
        square, settings = images.shape[2] == images.shape[3], ssim_settings(window, sigma, k1, k2)
        found = per_image(_with_kernels(compiled, square, settings), images, originals)
        return torch.from_numpy(found).to(images.dtype)
    distance = partial(dssim, window=window, sigma=sigma, k1=k1, k2=k2)
    figures = distance(images, originals)
    size = max(1, chunk_size(images) // 4)  # eight correlations of each
    with torch.no_grad():
        for start in range(0, len(images), size):
            rows = slice(start, start + size)
            for laid in _matched(images[rows], originals[rows]):
                other = distance(laid, originals[rows])
                figures[rows] = torch.where(other < figures[rows], other, figures[rows])  # NaN stays
    return figures


def _with_kernels(compiled: ModuleType, square: bool, settings: tuple[Any, ...]) -> Callable[[Array, Array], float]:
    """The figure of one pair, on one core: so it depends neither on other images nor on the number of threads."""

    def nearest(image: Array, original: Array) -> float:
        spectrum = scipy.fft.fft2(compiled.unit_luminance(image, original))
        planes = scipy.fft.ifft2(compiled.packed_products(spectrum, square), overwrite_x=True)
        figure: float = compiled.ssim_loss(image, original, *settings)
        for laid in compiled.matched(image, original, *compiled.best_pose(planes)):
            found = compiled.ssim_loss(laid, original, *settings)
            figure = found if found < figure else figure  # NaN stays
        return figure

    return nearest


def _matched(images: Images, originals: Images) -> torch.Tensor:
    """(2, N, 3, H, W) (a) and (b) of step 2, in torch alone, on any device."""
    laid = _laid(images, originals)
    channels, targets = laid.flatten(2), originals.flatten(2)
    deviation, mean = torch.std_mean(channels, 2, correction=0, keepdim=True)
    spread, level = torch.std_mean(targets, 2, correction=0, keepdim=True)
    flat = channels.amax(2, keepdim=True) - channels.amin(2, keepdim=True) < FLAT
    levelled = (channels - mean) * torch.where(flat, 0, spread / deviation.where(~flat, 1)) + level
    ranked = torch.empty_like(channels).scatter_(2, channels.argsort(dim=2, stable=True), targets.sort(2).values)
    return torch.stack([levelled, ranked]).view(2, *images.shape)


def _laid(images: Images, originals: Images) -> torch.Tensor:
    """Step 1; inverted images are negated, which to step 2 is the same as 1 - image."""
    count, _, height, width = images.shape
    pose, shift, sign = _best_pose(_correlations(images, originals))
    rows = torch.arange(height, device=images.device) - torch.div(shift, width, rounding_mode="floor")[:, None]
    columns = torch.arange(width, device=images.device) - (shift % width)[:, None]
    turn, flip, swap = pose % 2, pose // 2 % 2, pose // 4 > 0
    rows = torch.where((flip != turn)[:, None], -rows, rows) % height
    columns = torch.where((turn > 0)[:, None], -columns, columns) % width
    down, along = rows[:, :, None], columns[:, None, :]
    source = torch.where(swap[:, None, None], along * width + down, down * width + along).view(count, 1, -1)
    laid = images.flatten(2).gather(2, source.expand(-1, 3, -1)).view_as(images)
    return laid * sign[:, None, None, None]


def _best_pose(correlations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(N,) pose, shift by rows, and sign of the largest absolute correlation; ties: the first."""
    poses, pixels = correlations.shape[1], correlations[0, 0].numel()
    values = correlations.flatten(1)
    least = values.abs().amax(1, keepdim=True) - TIE
    place = torch.arange(poses * pixels, device=values.device)
    first = torch.where((values.abs() >= least) & (least > 0), place, poses * pixels).amin(1)
    first = torch.where(first == poses * pixels, 0, first)
    sign = torch.where(least[:, 0] > 0, values.gather(1, first[:, None])[:, 0].sign(), 1)
    return first // pixels, first % pixels, sign


def _correlations(images: Images, originals: Images) -> torch.Tensor:
    """(N, 8, H, W) normalised cross-correlations, 4 poses where the images are not square.

    Pose 2p + 1 is the half turn of pose 2p; 2 and 3 mirror rows; 4 to 7 swap rows and columns first. With the image's
    Hartley transform (Re - Im of its spectrum, the only real one whose sign changes nothing under a half turn) times
    the original's spectrum, both correlations of such a pair come from one inverse transform: re - im and re + im.
    """
    spectrum = torch.fft.fft2(_unit_luminance(images))
    hartley, original = spectrum.real - spectrum.imag, torch.fft.fft2(_unit_luminance(originals))
    square = images.shape[2] == images.shape[3]
    poses = [hartley, hartley.transpose(1, 2)] if square else [hartley]
    both = torch.stack([each for pose in poses for each in (pose, pose.roll(-1, 1).flip(1))], 1)  # (u, v), (-u, v)
    pairs = torch.fft.ifft2(both * original[:, None])
    return torch.stack([pairs.real - pairs.imag, pairs.real + pairs.imag], 2).flatten(1, 2)


def _unit_luminance(images: Images) -> torch.Tensor:
    """(N, H, W) luminance of mean 0 and length 1; all 0 where it is constant."""
    red, green, blue = (plane * share for plane, share in zip(images.unbind(1), _LUMINANCE, strict=True))
    grey = red + green + blue
    flat = grey.amax((1, 2), keepdim=True) - grey.amin((1, 2), keepdim=True) < FLAT
    grey = grey - grey.mean((1, 2), keepdim=True)
    return torch.where(flat, 0, grey / grey.square().sum((1, 2), keepdim=True).sqrt().where(~flat, 1))
