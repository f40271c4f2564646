"""Fixed affine maps of blocks, rows, colours or whole images, perhaps under a table of grey levels, found by probing.

Four steps, none of which needs a gradient or the function's inside:
1. Images on one line show the table (attacks.ensemble.straighten).
2. Images that differ only in some rows, columns or channels show which block of the image each value of a release
   depends on.
3. Images of two levels in the pattern of a Hadamard matrix, the same in every block, show the matrix of each block,
   each coefficient averaged over all images.
4. The linear estimate of least mean square error given the noise measured on public images, and the covariance of
   natural images, undoes the map (Wiener 1949); rehearsals choose how far the noise is trusted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import hadamard
from torch import Tensor

from harness.images import to_images
from harness.observation import Observation
from harness.plugins.attacks.common import rehearse
from harness.plugins.attacks.ensemble.probes import BlackBox
from harness.plugins.attacks.ensemble.straighten import straightening_table
from harness.plugins.attacks.ensemble.undo import Undoing
from harness.randomness import key_from, numpy_generator
from harness.types import Bytes, Generator

_OTHER_ATTACKS = {"blurs", "pixelizes"}  # traits of maps that other members know by their parameters
_REMOVED = frozenset({"keyed", "permutes_in_blocks"})
_AMPLITUDE = 64  # grey levels around the middle that probes reach
_PAIRS = 4  # of random images that show dependence
_LARGEST = 4096  # entries of a block whose matrix is solved for
_FEWEST = 64  # probes, so that small matrices are averaged well
_JUDGED = 48  # public images that the noise is measured on
_TRUST = (1.0, 16.0)  # multiples of the measured noise variance that rehearsals choose between
_LITTLE = 4.0  # grey levels
_AGREE = 0.1  # of their mean size: coefficients of blocks that differ less are taken for the same
_EXPLAINED = 0.5  # least share of the variance of releases that the map explains
_LEAST_VARIANCE = 0.25  # of releases of different images, in squared grey levels: less is rounding
_NOISY = 8.0  # grey levels of noise beyond which a value is not used, where others are quiet


def linear_map(observation: Observation, rng: Generator) -> Undoing | None:
    """A finder (attacks.ensemble.undo): the affine map of each block, or None."""
    if observation.defense.traits & _OTHER_ATTACKS:
        return None
    box = BlackBox(observation, rng)
    draws = numpy_generator(key_from(rng))
    if _changes_little(box):
        return None
    noise = _noise(box)
    quiet = noise <= max(_NOISY, 1.0)
    if float(quiet.float().mean()) < 0.02:
        return None
    table = straightening_table(box, draws, quiet)
    groups = _groups(box, draws, quiet)
    if groups is None or groups.inputs.shape[1] > _LARGEST:
        return None
    solved = _solved(observation, box, draws, table, groups)
    if solved is None:
        return None
    curved = "" if table is None else " under a table of grey levels"
    return Undoing(f"{groups.said}{curved}", solved, _REMOVED)


@dataclass(frozen=True)
class _Groups:
    """Which entries of a release depend on which entries of the image.

    inputs   (G, g) entries of the image, of each block
    outputs  (G, p) entries of a release that depend on these alone; d (one too many) where there are fewer
    said     what the blocks are called
    """

    inputs: Tensor
    outputs: Tensor
    said: str


@dataclass(frozen=True)
class _Solved:
    """The linear estimate: image = mean + weights @ (values - offset), block by block.

    table    (256,) straightens the values of a release, or None
    weights  (1 or G, g, p)
    """

    table: Tensor | None
    groups: _Groups
    weights: Tensor
    offset: Tensor
    mean: Tensor

    def __call__(self, released: Bytes) -> Bytes:
        values = _padded(_straight(released, self.table))[:, self.groups.outputs.to(released.device)]
        weights, offset, mean = (part.to(released.device) for part in (self.weights, self.offset, self.mean))
        blocks = torch.einsum("agp,nbp->nbg" if len(weights) == 1 else "bgp,nbp->nbg", weights, values - offset) + mean
        image = torch.zeros(len(released), released[0].numel(), device=released.device)
        image[:, self.groups.inputs.flatten().to(released.device)] = blocks.flatten(1)
        return image.view(released.shape).round().clamp(0, 255).to(torch.uint8)


def _changes_little(box: BlackBox) -> bool:
    """Whether releases are nearly the images themselves: then there is no map to undo."""
    images = box.public(16)
    return float((box.repeated(images, 4).float().mean(0) - images.float()).abs().mean()) < _LITTLE


def _noise(box: BlackBox) -> Tensor:
    """(d,) standard deviation of each entry of a release over draws, in grey levels, of the same images."""
    released = box.repeated(torch.cat([box.random(2), box.public(2)]), 4).float()
    noise: Tensor = released.std(0).mean(0).flatten()
    return noise


def _straight(released: Bytes, table: Tensor | None) -> Tensor:
    """(n, d) float values of a release, straightened."""
    flat = released.flatten(1)
    return flat.float() if table is None else table.to(flat.device)[flat.long()]


def _padded(values: Tensor) -> Tensor:
    """With a last entry that is always 0."""
    return torch.cat([values, values.new_zeros(len(values), 1)], 1)


def _groups(box: BlackBox, draws: np.random.Generator, quiet: Tensor) -> _Groups | None:
    """The smallest blocks of rows, columns and channels that each entry of a release depends on."""
    _, height, width = box.shape
    first, second = (box.random(_PAIRS) for _ in range(2))
    ends = box(first).int(), box(second).int()
    tolerance = 1 if float(quiet.float().mean()) == 1 else 2

    def source(label: np.ndarray, count: int) -> Tensor | None:
        """(d,) the label that each entry depends on alone, -1 for none; None where many depend on several.

        label  of every entry of the image, broadcast to its shape, in [0, count)
        """
        found = torch.zeros(int(np.prod(box.shape)), dtype=torch.long, device=box.device)
        never = torch.ones_like(found, dtype=torch.bool)
        several = torch.zeros_like(never)
        labels = torch.from_numpy(np.broadcast_to(label, box.shape).copy()).to(box.device)
        for digit in range(max(1, (count - 1).bit_length())):
            inside = labels >> digit & 1 == 1
            released = box(torch.where(inside, second, first)).int()
            on_inside = ((released - ends[0]).abs() > tolerance).any(0).flatten()
            on_outside = ((released - ends[1]).abs() > tolerance).any(0).flatten()
            several |= on_inside & on_outside
            never &= ~(on_inside | on_outside)
            found += on_inside.long() << digit
        used = quiet & ~never
        if float(used.float().mean()) < 0.02 or float((several & used).float().sum() / used.sum()) > 0.02:
            return None
        return torch.where(used & ~several & (found < count), found, -1)

    down = _smallest(lambda side: source(np.arange(height).reshape(1, -1, 1) // side, height // side), height)
    across = _smallest(lambda side: source(np.arange(width).reshape(1, 1, -1) // side, width // side), width)
    colour = source(np.arange(3).reshape(-1, 1, 1), 3)
    tall, row = down or (height, torch.zeros(int(np.prod(box.shape)), dtype=torch.long, device=box.device))
    wide, column = across or (width, torch.zeros_like(row))
    planes = 3 if colour is None else 1
    channel = torch.zeros_like(row) if colour is None else colour
    valid = (row >= 0) & (column >= 0) & (channel >= 0) & quiet
    grid = (3 // planes, height // tall, width // wide)
    group = (channel * grid[1] + row) * grid[2] + column
    number = int(np.prod(grid))
    outputs = _listed(torch.where(valid, group, number), number)
    place = np.arange(int(np.prod(box.shape))).reshape(grid[0], planes, grid[1], tall, grid[2], wide)
    inputs = torch.from_numpy(place.transpose(0, 2, 4, 1, 3, 5).reshape(number, -1).copy()).to(box.device)
    return _Groups(inputs, outputs, _in_words(tall, wide, planes, height, width))


def _smallest(source: Callable[[int], Tensor | None], size: int) -> tuple[int, Tensor] | None:
    """The smallest side that divides the size and whose blocks each entry depends on alone, and on which."""
    best = None
    for side in (side for side in range(size // 2, 0, -1) if size % side == 0):
        found = source(side)
        if found is None:
            if best is None and side < size // 8:
                break
            continue
        best = side, found
    return best


def _listed(group: Tensor, number: int) -> Tensor:
    """(number, p) the entries of each group in order; one beyond the last where there are fewer."""
    order = group.argsort(stable=True)
    counts = torch.bincount(group, minlength=number + 1)[:number]
    starts = counts.cumsum(0) - counts
    columns = torch.arange(int(counts.max()), device=group.device)
    picked = order[(starts[:, None] + columns).clamp(max=len(order) - 1)]
    return torch.where(columns < counts[:, None], picked, len(group))


def _in_words(tall: int, wide: int, planes: int, height: int, width: int) -> str:
    colours = " and all channels" if planes == 3 else ""
    if (tall, wide) == (1, 1):
        return "a fixed linear map of the channels of each pixel"
    if (tall, wide) == (height, width):
        return f"a fixed linear map of the whole image{colours}"
    if tall == 1 and wide == width:
        return f"a fixed linear map of each row{colours}"
    if wide == 1 and tall == height:
        return f"a fixed linear map of each column{colours}"
    return f"a fixed linear map of blocks of {tall} x {wide} pixels{colours}"


def _solved(
    observation: Observation, box: BlackBox, draws: np.random.Generator, table: Tensor | None, groups: _Groups
) -> _Solved | None:
    """The estimate of each block, with the trust that rehearsals choose; None where no map explains the releases."""
    matrix, offset = _matrices(box, draws, table, groups)
    images = box.public(_JUDGED)
    values = _padded(_straight(box(images), table))[:, groups.outputs]
    truth = images.flatten(1).float()[:, groups.inputs]
    equation = "apg,nbg->nbp" if len(matrix) == 1 else "bpg,nbg->nbp"
    residual = values - torch.einsum(equation, matrix, truth) - offset
    offset, residual = offset + residual.mean(0), residual - residual.mean(0)
    variance = (values - values.mean(0)).square().mean()
    if float(variance) < _LEAST_VARIANCE or float(residual.square().mean()) > (1 - _EXPLAINED) * float(variance):
        return None
    error = residual.square().mean(0).clamp(min=1e-3)  # (G, p)
    if len(matrix) == 1:
        error = error.mean(0, keepdim=True)
    mean = images.float().mean((0, 2, 3))[groups.inputs // int(np.prod(box.shape[1:]))]
    covariance = _covariance(images, groups, box.shape)
    predicted = torch.einsum("apg,bg->bp" if len(matrix) == 1 else "bpg,bg->bp", matrix, mean) + offset
    released, originals = _rehearsal(observation)
    tried = []
    for trust in _TRUST if groups.inputs.shape[1] <= 1024 else _TRUST[:1]:
        solved = _Solved(table, groups, _estimator(matrix, covariance, trust * error), predicted, mean)
        tried.append((float(rehearse.best_ssim(solved(released), originals).mean()), solved))
    return max(tried, key=lambda pair: pair[0])[1]


def _rehearsal(observation: Observation) -> tuple[Bytes, Bytes]:
    """Releases of a few mixtures of equal images, and these images."""
    rows = rehearse.first_rows(observation, 24)
    own = observation.public.images[torch.from_numpy(rows)].to(observation.device)
    release, secret = observation.rehearse(own, observation.public.labels[rows], 0)
    shares = torch.from_numpy(secret.shares).to(own.device)
    stack = to_images(own[torch.from_numpy(secret.sources).to(own.device)])
    mixtures = (torch.einsum("nk,nkchw->nchw", shares, stack) * 255).round().to(torch.uint8)
    return release.images, mixtures


def _matrices(
    box: BlackBox, draws: np.random.Generator, table: Tensor | None, groups: _Groups
) -> tuple[Tensor, Tensor]:
    """(1 or G, p, g) matrices and (G, p) offsets; one matrix where those of all blocks agree."""
    number, entries = groups.inputs.shape
    count = max(_FEWEST, 1 << entries.bit_length())
    pattern = torch.from_numpy(hadamard(count).astype(np.int8)).to(box.device)
    order = torch.from_numpy(draws.permutation(count - 1)[:entries] + 1).to(box.device)
    signs = torch.from_numpy(draws.integers(0, 2, (number, entries)) * 2 - 1).to(box.device, torch.int8)
    released = []
    for start in range(0, count, 256):
        rows = pattern[start : start + 256][:, order]
        picture = torch.empty(len(rows), int(np.prod(box.shape)), dtype=torch.int16, device=box.device)
        picture[:, groups.inputs] = (rows[:, None] * signs).to(torch.int16)
        levels = torch.where(picture > 0, 128 + _AMPLITUDE - 1, 128 - _AMPLITUDE).to(torch.uint8)
        released.append(box(levels.view(-1, *box.shape)))
    every, scale = torch.cat(released), count * (_AMPLITUDE - 0.5)
    columns, matrices, offsets = pattern[:, order].float().T.contiguous(), [], []
    for group in range(number):
        values = (
            _padded(_straight(every, table))[:, groups.outputs[group]]
            if number == 1
            else _values(every, table, groups.outputs[group])
        )
        matrix = (columns @ values).T / scale * signs[group].float()
        matrices.append(matrix)
        offsets.append(values.mean(0) - matrix.sum(1) * 127.5)
    stacked, offset = torch.stack(matrices), torch.stack(offsets)
    common = stacked.mean(0, keepdim=True)
    rounding = 1 / (_AMPLITUDE * count**0.5)
    if number > 1 and float((stacked - common).abs().mean()) < rounding + _AGREE * float(common.abs().mean()):
        return common, offset
    return stacked, offset


def _values(released: Bytes, table: Tensor | None, outputs: Tensor) -> Tensor:
    """(n, p) float straightened values of some entries; 0 for the entry beyond the last."""
    flat = released.flatten(1)
    picked = flat[:, outputs.clamp(max=flat.shape[1] - 1)]
    values = picked.float() if table is None else table.to(flat.device)[picked.long()]
    return values * (outputs < flat.shape[1])


def _covariance(images: Bytes, groups: _Groups, shape: tuple[int, ...]) -> Tensor:
    """(g, g) covariance of the entries of a block in natural images, by distance and channels alone."""
    _, height, width = shape
    centred = images.double() - images.double().mean((0, 2, 3), keepdim=True)
    spectrum = torch.fft.rfft2(centred, s=(2 * height, 2 * width))
    power = torch.einsum("nchw,ndhw->cdhw", spectrum, spectrum.conj()) / (len(images) * height * width)
    by_distance = torch.fft.irfft2(power, s=(2 * height, 2 * width))
    entries = groups.inputs[0]
    channel, row, column = entries // (height * width), entries % (height * width) // width, entries % width
    if len(channel.unique()) == 1:  # the same for blocks of all channels
        by_distance = by_distance.diagonal().mean(-1)[None, None]
        channel = torch.zeros_like(channel)
    down, across = row[:, None] - row, column[:, None] - column
    covariance: Tensor = by_distance[channel[:, None], channel, down % (2 * height), across % (2 * width)]
    return covariance.float()


def _estimator(matrix: Tensor, covariance: Tensor, error: Tensor) -> Tensor:
    """(1 or G, g, p) weights of the linear estimate of least mean square error.

    matrix      (1 or G, p, g)
    covariance  (g, g) of the entries of a block
    error       (1 or G, p) variances of the values around what the matrix predicts
    """
    parts = []
    precise = torch.float64 if len(covariance) <= 512 else torch.float32
    for block, noise in zip(matrix.to(precise), error.to(precise), strict=True):
        across = block @ covariance.to(precise)
        total = across @ block.T
        total.diagonal().add_(noise + 1e-5 * total.diagonal().mean())
        parts.append(torch.cholesky_solve(across, torch.linalg.cholesky(total)).T.float())
    return torch.stack(parts)
