"""Re-identification by what survives where thumbnails fail: amplitudes of the spectrum, and colours without places.

`evaluators.reidentification` has the embedding by thumbnails and the ranks. The figures below are rank 1 of 300
originals in a gallery of 700 images of imagenette10_96 at 64 px, chance .001.
References: shift-invariant amplitudes, Casasent and Psaltis 1976; joint colour histograms, Swain and Ballard 1991; the
distance ratio of the nearest two, Lowe 2004.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from harness.errors import HarnessError
from harness.images import to_images
from harness.images.thumbnails import whitening
from harness.types import Bytes, Scores

_CHUNK = 64
_FINE = 16  # levels of a channel that are counted, before they are shared among the bins
_EQUAL = 1e-6  # distances below are not told apart


def identity_invariant(images: Bytes, gallery: Bytes, device: str, *, frequencies: int, floor: float) -> Scores:
    """Likeness that survives circular shifts, the eight poses, and each channel's sign, brightness and contrast.

    The cosine of amplitude spectra: low frequencies, root mean square over the channels, each of mean 0 and length 1;
    their square roots, whitened on the gallery in all its poses. The largest over the poses of the gallery's image.

    Compared: luminance alone (a channel of the other sign leaves .98, here 1.00); 6, 8, 12 and 16 frequencies (16 lose
    .2-.4 of pixelized mixtures, 6 find no more); amplitudes as they are and their logarithms (blurred mixtures .78 and
    .83, square roots .87); the mean spectrum over the poses, without a choice of one (blurred mixtures .22, noisy ones
    .97 for .99). Shifted, turned, mirrored, inverted or recoloured images are found in 1.00, uniform noise in .00.

    images       (n, M, 3, H, W) uint8
    gallery      (G, 3, H, W) uint8
    frequencies  the highest, in periods per image; at most what the image resolves
    floor        variance added to every principal component of the gallery, as a share of the largest
    returns      (n, M, G) float32 in [-1, 1], on the device
    """
    _check(images, gallery)
    most = min(frequencies, (min(gallery.shape[2:]) - 1) // 2)
    known = _poses(_amplitudes(gallery, most, device), square=gallery.shape[2] == gallery.shape[3])
    mean, whiten = whitening(_half(known).flatten(0, 1), floor)
    known = functional.normalize((_half(known) - mean) @ whiten, dim=-1).flatten(0, 1)
    likeness = []
    for some in images.flatten(0, 1).split(_CHUNK):
        shown = functional.normalize((_half(_amplitudes(some, most, device)) - mean) @ whiten, dim=-1)
        likeness.append((shown @ known.T).view(len(some), len(gallery), -1).amax(2).float())
    return torch.cat(likeness).view(*images.shape[:2], len(gallery))


def _amplitudes(images: Bytes, most: int, device: str) -> torch.Tensor:
    """(N, 3, H, W) uint8 -> (N, 2 most + 1, 2 most + 1) float64, frequencies -most to most down and along."""
    parts = []
    for some in images.split(_CHUNK):
        channels = to_images(some.to(device))
        channels = channels - channels.mean((2, 3), keepdim=True)
        length = channels.square().sum((2, 3), keepdim=True).sqrt()
        power = torch.fft.fft2(channels / length.clamp(min=_EQUAL)).abs().double().square().mean(1)
        places = torch.arange(-most, most + 1, device=power.device)
        parts.append(power[:, places % power.shape[1]][:, :, places % power.shape[2]] ** 0.25)
    return torch.cat(parts)


def _poses(spectra: torch.Tensor, *, square: bool) -> torch.Tensor:
    """(N, P, F, F): a half turn leaves amplitudes in place, so four poses, or two of images that are not square."""
    swapped = [spectra, spectra.transpose(1, 2)] if square else [spectra]
    return torch.stack([each for one in swapped for each in (one, one.flip(1))], 1)


def _half(spectra: torch.Tensor) -> torch.Tensor:
    """(..., F, F) -> one of each pair of opposite frequencies, without the mean."""
    flat = spectra.flatten(-2)
    return flat[..., flat.shape[-1] // 2 + 1 :]


def identity_histogram(images: Bytes, gallery: Bytes, device: str, *, bins: int) -> Scores:
    """Likeness of colours, wherever in the image they are: a permutation of pixels changes nothing.

    Two distances, the Hellinger distance of joint colour histograms and the distance of mean colours; each as a ratio
    to the smallest of the other images in the gallery, so that the one that singles an image out decides. The
    likeness is minus the logarithm of the smaller ratio.

    A fresh permutation of all pixels is found in 1.00, a constant of the image's mean colour in 1.00 (.997), which no
    histogram finds (.04), uniform noise in .00. Compared: 6, 8, 12 and 16 bins (noisy images are found in .67, .53,
    .33 and .26, mixtures of shuffled blocks in .33, .37, .37 and .38); sorted values of each channel, alone (mean
    colour .02) or as a third distance (.98); whitened mean colours (.993); ratios to the power of the gallery's
    dimension, Levina and Bickel 2004 (.95).

    images   (n, M, 3, H, W) uint8
    gallery  (G, 3, H, W) uint8
    bins     of each channel; a level is shared linearly by the two nearest
    returns  (n, M, G) float32 on the device
    """
    _check(images, gallery)
    known, means = _histograms(gallery, bins, device).sqrt(), _mean_colours(gallery, device)
    likeness = []
    for some in images.flatten(0, 1).split(_CHUNK):
        shared = (_histograms(some, bins, device).sqrt() @ known.T).clamp(max=1)
        away = torch.cdist(_mean_colours(some, device), means, compute_mode="donot_use_mm_for_euclid_dist")
        likeness.append(-torch.minimum(_ratios((1 - shared).sqrt()), _ratios(away)).clamp(min=_EQUAL**2).log().float())
    return torch.cat(likeness).view(*images.shape[:2], len(gallery))


def _histograms(images: Bytes, bins: int, device: str) -> torch.Tensor:
    """(N, 3, H, W) uint8 -> (N, bins^3) float64 that sum to 1."""
    centres = (torch.arange(_FINE, dtype=torch.float64, device=device) + 0.5) / _FINE * bins - 0.5
    near = (1 - (centres - torch.arange(bins, device=device)[:, None]).abs()).clamp(min=0)
    share = near / near.sum(0)  # (bins, _FINE)
    found = []
    for image in images:
        red, green, blue = (image.to(device).long() * _FINE // 256).flatten(1)
        counts = torch.bincount((red * _FINE + green) * _FINE + blue, minlength=_FINE**3).double()
        cube = (share @ counts.view(_FINE, -1)).view(bins, _FINE, _FINE)
        found.append((share @ (cube @ share.T)).flatten() / len(red))
    return torch.stack(found)


def _mean_colours(images: Bytes, device: str) -> torch.Tensor:
    """(N, 3) float64"""
    return torch.stack([image.to(device).double().mean((1, 2)) / 255 for image in images])


def _ratios(distances: torch.Tensor) -> torch.Tensor:
    """Of (n, G) distances, each to the smallest of the others in its row."""
    nearest = functional.pad(distances, (0, 1), value=torch.inf).topk(2, 1, largest=False)
    others = nearest.values[:, :1].expand_as(distances).clone()
    others.scatter_(1, nearest.indices[:, :1], nearest.values[:, 1:])
    return (distances + _EQUAL) / (others + _EQUAL)


def _check(images: Bytes, gallery: Bytes) -> None:
    if images.shape[2:] != gallery.shape[1:]:
        raise HarnessError(f"images of {tuple(images.shape[2:])} and a gallery of {tuple(gallery.shape[1:])} differ")
