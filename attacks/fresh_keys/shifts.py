"""Circular shifts drawn for every image, channel or row: the seam is found, and rolled back to the border.

Opposite borders of a photograph differ, so the place where they meet is the roughest of all neighbouring rows. A weight
for each sign of roughness is learned on public images, whose seam is known (conditional logit, McFadden 1974); the
residual of linear prediction over a boundary is that of the jigsaw solver of Gallagher 2012. Rows and channels that
moved against each other are aligned by circular cross-correlation first.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from harness.images import to_images
from harness.types import Bytes

_FITTED = 256  # public images
_ITERATIONS = 50
_PENALTY = 1e-3
_LEAST = 1e-3
_CHUNK = 256
_ALIGNED = 16  # images whose rows are aligned at a time: all shifts of a row are in memory


@dataclass(frozen=True)
class Seam:
    """Weights of the signs of roughness of a boundary: (signs,) for boundaries of rows and of columns."""

    rows: Tensor
    columns: Tensor

    @classmethod
    def fit(cls, public: Bytes, device: str) -> Seam:
        """Learn from at most 256 public images, (N, 3, H, W) uint8, at least 8 pixels a side: their seam is at 0."""
        images = public[:_FITTED].to(device)
        return cls(_weights(_signs(images)), _weights(_signs(images.transpose(2, 3))))

    def find(self, images: Bytes) -> tuple[Tensor, Tensor]:
        """(n,) int64 each: the row, and the column, that was the first before the image was shifted."""
        rows, columns = _signs(images), _signs(images.transpose(2, 3))
        return (rows @ self.rows.to(rows)).argmax(1), (columns @ self.columns.to(columns)).argmax(1)

    def roll_back(self, images: Bytes, rows: bool = True, columns: bool = True) -> Bytes:
        """(n, 3, H, W) uint8 with the seam at the border.

        rows, columns  along which it is looked for: whether the image moved down, and across
        """
        down, across = self.find(images)
        images = rolled(images, down, 2) if rows else images
        return rolled(images, across, 3) if columns else images


def rolled(images: Bytes, by: Tensor, dim: int) -> Bytes:
    """Every image rolled back along a dimension by its own number of pixels: entry `by` becomes the first.

    images  (n, ..., H, W)
    by      (n,) or, of more dimensions, broadcast with the images but for `dim`, where it has length 1
    """
    size = images.shape[dim]
    shape = [1] * images.ndim
    shape[dim] = size
    by = by.view(-1, *[1] * (images.ndim - 1)) if by.ndim == 1 else by
    index = (torch.arange(size, device=images.device).view(shape) + by) % size
    return images.gather(dim, index.expand(images.shape))


def roll_back_rows(images: Bytes, band: int = 1) -> Bytes:
    """Rows that moved to the left or right on their own, in bands of so many, put under each other again.

    Each is moved to where it is most like the row above it, by the mean root of the differences of values and slopes.
    What is left is one shift of the whole image.
    """
    floats = images.float()
    features = torch.cat([floats, (floats - floats.roll(1, 3)) / 2], 1)
    turns = torch.zeros(len(images), images.shape[2], dtype=torch.long, device=images.device)
    places = torch.arange(images.shape[3], device=images.device)
    shifted = (places.unsqueeze(1) + places) % len(places)
    for start in range(0, len(images), _ALIGNED):
        rows = slice(start, start + _ALIGNED)
        above = features[rows, :, band - 1]
        for row in range(band, images.shape[2], band):
            variants = features[rows, :, row][:, :, shifted]  # (n, 6, shift, W)
            turn = (variants - above.unsqueeze(2)).abs().sqrt().mean((1, 3)).argmin(1)
            turns[rows, row : row + band] = turn.unsqueeze(1)
            above = features[rows, :, min(row + band, images.shape[2]) - 1]
            above = above.gather(2, shifted[turn].unsqueeze(1).expand(above.shape))
    return rolled(images, turns.view(len(images), 1, -1, 1), 3)


def roll_back_columns(images: Bytes, band: int = 1) -> Bytes:
    """The same for columns that moved up or down."""
    return roll_back_rows(images.transpose(2, 3), band).transpose(2, 3).contiguous()


def roll_back_channels(images: Bytes) -> Bytes:
    """Red and blue rolled onto green, by the circular cross-correlation of their edges."""
    edges = _edges(to_images(images))
    spectra = torch.fft.rfft2(edges)
    product = spectra[:, 1:2].conj() * spectra
    correlation = torch.fft.irfft2(product, s=images.shape[2:])
    best = correlation.flatten(2).argmax(2)
    down, across = best // images.shape[3], best % images.shape[3]
    return rolled(rolled(images, down.view(-1, 3, 1, 1), 2), across.view(-1, 3, 1, 1), 3)


def _edges(images: Tensor) -> Tensor:
    """Sizes of circular gradients, less their mean; normalised."""
    across, down = images - images.roll(1, 3), images - images.roll(1, 2)
    size = (across.square() + down.square()).sqrt()
    return size - size.mean((2, 3), keepdim=True)


def _signs(images: Bytes) -> Tensor:
    """(n, H, signs) float32: how rough the boundary above every row is, on scales common to all images."""
    return torch.cat([_of_chunk(to_images(chunk)) for chunk in images.split(_CHUNK)])


def _of_chunk(images: Tensor) -> Tensor:
    step = images - images.roll(1, 2)  # over the boundary above each row
    before, after = step.roll(1, 2), step.roll(-1, 2)
    residual = step - (before + after) / 2
    sizes = [
        step.abs().mean((1, 3)),
        residual.abs().mean((1, 3)),
        step.mean((1, 3)).abs(),
        residual.square().mean((1, 3)).sqrt(),
        _smooth(step).abs().mean((1, 3)),
        ((images + images.roll(-1, 2) - images.roll(1, 2) - images.roll(2, 2)) / 2).abs().mean((1, 3)),
    ]
    near = (before.abs() + after.abs()).mean((1, 3)) / 2
    logs = [size.clamp(min=_LEAST).log() for size in (*sizes, near)]
    logs = [log - log.mean(1, keepdim=True) for log in logs]
    return torch.stack([*logs, (sizes[0] > 0).float(), logs[0].square(), logs[1].square()], 2)


def _smooth(fields: Tensor) -> Tensor:
    """Mean of each value and its neighbours along the row, whose noise is lower."""
    return functional.avg_pool2d(fields, (1, 5), stride=1, padding=(0, 2))


def _weights(signs: Tensor) -> Tensor:
    """Such that the first of the boundaries of every image wins."""
    weights = torch.zeros(signs.shape[2], device=signs.device, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")
    target = torch.zeros(len(signs), dtype=torch.long, device=signs.device)

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = functional.cross_entropy(signs @ weights, target) + _PENALTY * weights.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
    return weights.detach()
