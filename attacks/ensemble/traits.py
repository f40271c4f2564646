"""Which traits a defense has, found by calling it: a missing trait or a wrong one changes nothing.

Every trait that an attack branches on is decided on images of the adversary's own. So are the parameters that attacks
need to know (block, kernel, grid, p), under the names that they know them by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from harness.errors import Inapplicable
from harness.images import blur, pixelize, to_images
from harness.observation import KnownDefense, Observation
from harness.plugins.attacks.ensemble.probes import BlackBox
from harness.randomness import derive, key_from, torch_generator
from harness.types import Generator

PROBED = frozenset({"linear", "additive_noise", "permutes_in_blocks", "keeps_pixels", "blurs", "pixelizes"})
_NOISE = 0.5  # grey levels from which on a defense counts as noisy: rounding alone gives 0.3
_LINEAR = 1.5  # grey levels that a linear defense may be off by, where it rounds by itself
_FITS = 1.0  # grey levels that a known filter may be off by, on average
_KEPT = (0.02, 0.98)  # shares of pixels of the first source between which they count as kept
_IMAGES = 8
_Answer = TypeVar("_Answer")


def probed(observation: Observation, rng: Generator) -> Observation:
    """The same observation, its known defense with the traits and parameters that probing shows.

    Traits that cannot be probed (keyed, sign_flip) stay as declared.
    """
    box, known = BlackBox(observation, rng), observation.defense
    found = _answered(lambda: _found(box, key_from(rng)), None)
    if found is None:
        return observation  # it refuses even ordinary images: the declared traits are all there is
    traits = known.traits - PROBED | frozenset(found)
    params = {**known.params, **{name: value for given in found.values() for name, value in given.items()}}
    return replace(observation, _known=KnownDefense(params, known.mixing, traits))


def probed_traits(observation: Observation, rng: Generator) -> frozenset[str]:
    """The traits of `probed`."""
    return probed(observation, rng).defense.traits


def _found(box: BlackBox, key: bytes) -> dict[str, dict[str, Any]]:
    """Each trait that holds, with its parameters."""
    grey, images = box.flat(torch.tensor([64, 128, 192])), box.public(_IMAGES)
    noise = _answered(lambda: float(box.repeated(grey, 4).float().std(0).mean()), 0.0)
    mean = box.repeated(images, 4).float().mean(0)
    found: dict[str, dict[str, Any]] = {}
    if noise > _NOISE:
        found["additive_noise"] = {}
    if _answered(lambda: _is_linear(box, key), False):
        found["linear"] = {}
    side = min(box.shape[1:])
    unchanged = float((mean - images.float()).abs().mean())
    limit = min(_FITS + 0.6 * noise, unchanged / 2)
    kernel = _best_fit(range(3, 2 * side, 2), lambda size: blur(to_images(images), size), mean, limit)
    grid = _best_fit(range(1, side), lambda size: pixelize(to_images(images), size), mean, limit)
    if grid is not None:
        found["pixelizes"] = {"grid": grid}
    elif kernel is not None:
        found["blurs"] = {"kernel": kernel}
    block = _answered(lambda: _block(box, noise), None)
    if block is not None:
        found["permutes_in_blocks"] = {"block": block}
    kept = _answered(lambda: _kept(box), None)
    if kept is not None:
        found["keeps_pixels"] = kept
    return found


def _answered(ask: Callable[[], _Answer], otherwise: _Answer) -> _Answer:
    """What probing says; `otherwise` where the defense refuses the chosen images."""
    try:
        return ask()
    except Inapplicable:
        return otherwise


def _is_linear(box: BlackBox, key: bytes) -> bool:
    """Whether a mean of two stacks becomes the mean of what they become, with the same random numbers."""
    count = max(2, min(2 * _IMAGES, box.chunk))
    stacks = [0.25 + to_images(box.public(count * box.sources)).unflatten(0, (count, box.sources)) / 2 for _ in "ab"]
    stacks = [(stack + to_images(box.random(count))[:, None] / 4).clamp(0, 1) for stack in stacks]
    weights = box.weights.to(box.device).expand(count, -1)
    first, second, middle = (
        box.apply(stack, weights, torch_generator(derive(key, "linear"), box.device))
        for stack in (*stacks, (stacks[0] + stacks[1]) / 2)
    )
    off, apart = (middle - (first + second) / 2).abs(), (first - second).abs()
    return float(apart.mean()) > 1 / 255 and float(off.mean()) < min(_LINEAR / 255, float(apart.mean()) / 4)


def _best_fit(sizes: Iterable[int], make: Callable[[int], Tensor], mean: Tensor, limit: float) -> int | None:
    """The size whose filter makes what the defense makes on average; None where none does to within the limit."""
    misfits = {size: float((255 * make(size) - mean).abs().mean()) for size in sizes}
    best = min(misfits, key=misfits.__getitem__)
    return best if misfits[best] < limit else None


def _block(box: BlackBox, noise: float) -> int | None:
    """Side of the smallest blocks in which each source keeps its values and loses their order; else None."""
    images, share = box.public(_IMAGES), 0.7 if box.sources > 1 else 1.0
    stacks = torch.cat([images[:, None], torch.zeros_like(images)[:, None].expand(-1, box.sources - 1, -1, -1, -1)], 1)
    rest = [(1 - share) / (box.sources - 1)] * (box.sources - 1) if box.sources > 1 else []
    weights = torch.tensor([share, *rest]).expand(len(images), -1)
    one, other = (box.mixed(stacks, weights).float() for _ in range(2))
    if float((one - other).abs().mean()) < 1.5 + 1.2 * noise:
        return None  # nothing is permuted anew
    expected = share * images.float()
    for side in (side for side in range(2, min(box.shape[1:]) + 1) if all(size % side == 0 for size in box.shape[1:])):
        ours, theirs = (_sorted_in_blocks(part, side) for part in (one, expected))
        if float((ours - theirs).abs().mean()) < _FITS + noise:
            return side
    return None


def _sorted_in_blocks(images: Tensor, side: int) -> Tensor:
    blocks = images.unfold(2, side, side).unfold(3, side, side).flatten(4)
    return blocks.sort(4).values


def _kept(box: BlackBox) -> dict[str, Any] | None:
    """p, the share of pixels that show the first source alone, and whether whole pixels do; None where none or all."""
    if box.sources < 2:
        return None
    stacks = box.public(4 * _IMAGES * box.sources).unflatten(0, (-1, box.sources))
    weights = torch.full((len(stacks), box.sources), 1 / box.sources)
    released, first = box.mixed(stacks, weights).float(), stacks[:, 0].to(box.device).float()
    visible = (stacks.float().to(box.device).mean(1) - first).abs() > 4
    kept = ((released - first).abs() < 1) & visible
    shares = kept.flatten(1).sum(1) / visible.flatten(1).sum(1).clamp(min=1)
    share = float(shares.median())
    if not _KEPT[0] < share < _KEPT[1]:
        return None
    seen = visible.all(1)
    whole = float((kept.all(1) | ~kept.any(1))[seen].float().mean())
    return {"p": round(float(shares.mean()), 2), "per": "pixel" if whole > 0.99 else "channel"}
