"""Which of the changes with a fresh key per image undoes a defense: tried on rehearsals, the best first, three at most.

Every rule is run on rehearsed releases as they are, without the key, and judged by how near it brings them to the plain
mixtures of their sources: by SSIM as they are, and by SSIM in the pose and sign that fit best, since what is still
mirrored or inverted may be put right by the next step. Learned rules are fitted on one half and judged on the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import torch
from torch import Tensor

from harness.errors import Inapplicable
from harness.images import average, to_bytes, to_images
from harness.observation import Observation
from harness.plugins.attacks.common import rehearse
from harness.plugins.attacks.common.filters import smoothed
from harness.plugins.attacks.ensemble.brightness_contrast import SETTINGS, TypicalLevels
from harness.plugins.attacks.ensemble.undo import Undoing
from harness.plugins.attacks.fresh_keys import carriers, permutations, shifts
from harness.plugins.attacks.fresh_keys.families import families, inverted, posed
from harness.plugins.attacks.fresh_keys.naturalness import Family, Naturalness, luminance
from harness.types import Bytes, Generator

_REHEARSED = 64
_EPOCH = 2_000_000  # of these rehearsals: none that another attack uses
_MOST = 3  # steps
_GAIN = 0.05  # of mean SSIM: less is not worth a step,
_GAIN_OF_LEVELS = 0.1  # nor less by changing grey levels alone, which shrinks noise without finding anything
_LOSS = 0.05  # of the one SSIM, at most, where the other gains
_DEVIATIONS = 3.0  # standard errors that a gain must exceed
_LIKE = 0.5  # correlation that the right value of a key must reach, wherever the image has been shifted,
_LIKER = 0.08  # and by which it must exceed the release as it is, for a family to be fitted
_FEW = 8  # images on which a rule must show something before all are tried
_FOUND = 0.9  # SSIM after a rule beyond which no other is tried in the same round,
_LARGE = 0.2  # if the rule has gained so much
_SOLVED = 0.95  # SSIM beyond which nothing more is looked for
_TABLES = 3  # unpackings whose tables are learned
_JUDGED_KEYS = 24  # images on which it is asked whether a family could help
_RANKED = 12  # images by which unpackings are ranked
_SIDE = 16  # pixels a side of what is correlated


_SMOOTHINGS = (0.7, 1.0, 1.5, 2.5)  # standard deviations in pixels
_SMOOTHER = 0.3  # correlation of neighbours that low bits must gain to be looked at
_BYTES = 128  # values from which on a family is one of bytes


@dataclass(frozen=True)
class Step:
    """One rule.

    said  in words
    gain  of mean SSIM that is asked of it
    """

    said: str
    invert: Callable[[Bytes], Bytes]
    gain: float = _GAIN


@dataclass
class Prior:
    """What is learned on public images, once: seams, naturalness against each family, typical levels."""

    public: Bytes
    device: str
    _seam: shifts.Seam | None = None
    _levels: TypicalLevels | None = None
    _naturalness: dict[str, Naturalness] = field(default_factory=dict)

    @property
    def seam(self) -> shifts.Seam:
        self._seam = self._seam or shifts.Seam.fit(self.public, self.device)
        return self._seam

    @property
    def levels(self) -> TypicalLevels:
        self._levels = self._levels or TypicalLevels.of(self.public)
        return self._levels

    def most_natural(self, images: Bytes, family: Family, by_channel: bool = False) -> Bytes:
        """The most natural variant of each image; by channel: where each has a value of its own."""
        if family.said not in self._naturalness:
            self._naturalness[family.said] = Naturalness.fit(self.public, self.device, family)
        score = self._naturalness[family.said]
        return score.best_by_channel(images, family) if by_channel else score.best(images, family)[0]


@dataclass(frozen=True)
class Trial:
    """Rehearsed releases beside the plain mixtures of their sources, (n, 3, H, W) uint8 both; SSIM of the second half.

    plain    (n / 2,) as they are
    aligned  (n / 2,) in the best of eight poses and two signs
    """

    released: Bytes
    mixtures: Bytes
    plain: Tensor
    aligned: Tensor

    @classmethod
    def of(cls, released: Bytes, mixtures: Bytes) -> Trial:
        half = len(released) // 2
        return cls(released, mixtures, *_ssim(released[half:], mixtures[half:]))

    @property
    def learned(self) -> tuple[Bytes, Bytes]:
        """Releases and mixtures of the first half."""
        return self.released[: len(self.released) // 2], self.mixtures[: len(self.mixtures) // 2]

    @property
    def score(self) -> float:
        """Mean SSIM as they are."""
        return float(self.plain.mean())

    def gain_of(self, step: Step) -> float:
        """The mean gain of either SSIM; 0 where it is too small, uncertain, or paid for with the other."""
        half = len(self.released) // 2
        if self._gain(step, slice(half, half + _FEW)) < step.gain / 2:
            return 0.0
        gain = self._gain(step, slice(half, None))
        if gain <= max(step.gain, self.gain_by_smoothing) or self._gain_over_others(step) < step.gain / 2:
            return 0.0
        return gain

    @cached_property
    def gain_by_smoothing(self) -> float:
        """What a Gaussian gains: a rule that gains no more only removes noise, which the members do better."""
        rows = slice(len(self.released) // 2, None)
        return max(self._gain(Step("", partial(smoothed, setting=("gaussian", width))), rows) for width in _SMOOTHINGS)

    def _gain_over_others(self, step: Step) -> float:
        """How much more the step gains against the right mixtures than against others: nothing for a mean image."""
        half = len(self.released) // 2
        before, truth = self.released[half:], self.mixtures[half:]
        after, others = step.invert(before), truth.roll(1, 0)
        now, then = ([torch.stack(_ssim(images, goal)) for goal in (truth, others)] for images in (after, before))
        gains = [(new - old).mean(1) for new, old in zip(now, then, strict=True)]  # plain and aligned
        return float((gains[0] - gains[1]).max())

    def after(self, step: Step) -> Trial:
        """The same with the step undone."""
        return Trial.of(step.invert(self.released), self.mixtures)

    def _gain(self, step: Step, rows: slice) -> float:
        judged = slice(0, _FEW if rows.stop else None)
        plain, aligned = _ssim(step.invert(self.released[rows]), self.mixtures[rows])
        gains = (plain - self.plain[judged], aligned - self.aligned[judged])
        if min(float(gain.mean()) for gain in gains) < -_LOSS:
            return 0.0
        best = max(gains, key=lambda gain: float(gain.mean()))
        error = float(best.std()) / max(len(best), 1) ** 0.5
        return float(best.mean()) if rows.stop or float(best.mean()) > _DEVIATIONS * error else 0.0


def fresh_keys(observation: Observation, rng: Generator) -> Undoing | None:
    """What undoes keys that are drawn for every image, by looking at each release alone; None where nothing does.

    Budget: 64 rehearsed images, and at most three rounds in which every rule is tried on them.
    """
    if min(observation.images.shape[2:]) < 8:
        raise Inapplicable("images of fewer than 8 pixels a side show no structure")
    prior = Prior(observation.public.images, observation.device)
    trial = _rehearsed(observation)
    steps = list[Step]()
    while len(steps) < _MOST:
        if trial.score > _SOLVED:
            break
        best, highest = None, 0.0
        for step in _steps(trial, prior):
            gain = trial.gain_of(step)
            if gain > highest:
                best, highest = step, gain
            if gain > _LARGE and gain + float(trial.aligned.mean()) > _FOUND:
                break  # no other rule can do much better
        if best is None:
            break
        steps.append(best)
        trial = trial.after(best)
    if not steps:
        return None
    said = "; then ".join(step.said for step in steps)
    return Undoing(said, partial(_chained, steps), frozenset({"keyed", "permutes_in_blocks"}))


def best_pose(images: Bytes, truth: Bytes) -> Bytes:
    """Each image in the pose and sign whose luminance correlates best with that of the truth, on a coarse grid."""
    poses = 8 if images.shape[2] == images.shape[3] else 4
    values = torch.arange(poses, device=images.device)
    variants = [posed(images, value.expand(len(images))) for value in values]
    goal = _coarse(truth)
    correlations = torch.stack([(_coarse(variant) * goal).sum(1) for variant in variants], 1)
    best = correlations.abs().argmax(1)
    sign = (correlations.gather(1, best.unsqueeze(1)).squeeze(1) < 0).long()
    return inverted(posed(images, best), sign)


def _ssim(images: Bytes, truth: Bytes) -> tuple[Tensor, Tensor]:
    """(n,) SSIM as they are, and in the best pose and sign."""
    plain = rehearse.best_ssim(images, truth)
    return plain, torch.maximum(plain, rehearse.best_ssim(best_pose(images, truth), truth))


def _rehearsed(observation: Observation) -> Trial:
    rows = rehearse.first_rows(observation, _REHEARSED)
    own = observation.public.images[torch.from_numpy(rows)].to(observation.device)
    release, secret = observation.rehearse(own, observation.public.labels[rows], _EPOCH)
    shares = torch.from_numpy(secret.shares).to(own.device)
    mixtures = to_bytes(average(to_images(own[torch.from_numpy(secret.sources).to(own.device)]), shares))
    return Trial.of(release.images.to(own.device), mixtures)


def _chained(steps: list[Step], releases: Bytes) -> Bytes:
    for step in steps:
        releases = step.invert(releases)
    return releases


def _steps(trial: Trial, prior: Prior) -> Iterator[Step]:
    height, width = trial.released.shape[2:]
    yield from _shifts(trial, prior)
    yield from _same_pose(trial)
    for family in families(height, width):
        if _could_gain(trial, family):
            yield Step(family.said, partial(prior.most_natural, family=family))
    yield from _keys_of_channels(trial, prior)
    yield from _permutations(trial)
    yield from _low_bits(trial, prior)
    yield from _carriers(trial)
    for setting in SETTINGS[1:]:
        said = f"levels of its own for every image ({setting})"
        yield Step(said, partial(prior.levels.corrected, setting=setting), _GAIN_OF_LEVELS)


def _shifts(trial: Trial, prior: Prior) -> Iterator[Step]:
    seam = prior.seam
    yield Step("a circular shift of its own for every image", seam.roll_back)
    yield Step("a circular shift across of its own for every image", partial(seam.roll_back, rows=False))
    yield Step("a circular shift down of its own for every image", partial(seam.roll_back, columns=False))
    yield Step("circular shifts of its own for every channel", lambda x: seam.roll_back(shifts.roll_back_channels(x)))
    yield Step(
        "circular shifts of its own for every row", lambda x: seam.roll_back(shifts.roll_back_rows(x), rows=False)
    )
    yield Step(
        "circular shifts of its own for every column",
        lambda x: seam.roll_back(shifts.roll_back_columns(x), columns=False),
    )


def _same_pose(trial: Trial) -> Iterator[Step]:
    """Poses that all images share, and the negative: tried where images in their best pose are much nearer."""
    if float((trial.aligned - trial.plain).mean()) < _GAIN:
        return
    for value in range(1, 8 if trial.released.shape[2] == trial.released.shape[3] else 4):
        yield Step("one flip or turn of all images", partial(_changed, posed, value))
    yield Step("the negatives of all images", partial(_changed, inverted, 1))


def _low_bits(trial: Trial, prior: Prior) -> Iterator[Step]:
    """Low bits that are much smoother than whole bytes, as they are and rolled back: of a shifted picture."""
    before = _smoothness(trial.released)
    for count in range(1, 7):
        if _smoothness(carriers.low_bits(trial.released, count)) > before + _SMOOTHER:
            unpack = partial(carriers.low_bits, count=count)
            yield Step(f"the picture in the {count} low bits", unpack)
            said = f"the picture in the {count} low bits; then a circular shift of its own for every image"
            yield Step(said, partial(_rolled_back, unpack, prior.seam))


def _rolled_back(unpack: Callable[[Bytes], Bytes], seam: shifts.Seam, releases: Bytes) -> Bytes:
    return seam.roll_back(unpack(releases))


def _changed(change: Callable[[Bytes, Tensor], Bytes], value: int, releases: Bytes) -> Bytes:
    return change(releases, torch.full((len(releases),), value, device=releases.device))


def _smoothness(images: Bytes) -> float:
    """Mean correlation of neighbouring pixels, -1 to 1."""
    planes = to_images(images).flatten(0, 1)
    return float((_unit(planes[:, :, 1:].flatten(1)) * _unit(planes[:, :, :-1].flatten(1))).sum(1).mean())


def _keys_of_channels(trial: Trial, prior: Prior) -> Iterator[Step]:
    """Bytes that every channel has of its own: tried where one channel is brought nearer by its right byte."""
    height, width = trial.released.shape[2:]
    released, mixtures = (stack[:, 1:2].expand(stack.shape) for stack in (trial.released, trial.mixtures))
    green = replace(trial, released=released, mixtures=mixtures)
    for family in families(height, width):
        if family.count >= _BYTES and _could_gain(green, family):
            said = f"{family.said}, and for every channel"
            yield Step(said, partial(prior.most_natural, family=family, by_channel=True))


def _permutations(trial: Trial) -> Iterator[Step]:
    yield Step("an order of the rows of its own for every image", permutations.in_order)
    yield Step("an order of the columns of its own for every image", permutations.columns_in_order)
    side = permutations.block_side(trial.released, trial.mixtures)
    if side is not None:
        said = f"an order of blocks of {side} pixels of its own for every image"
        yield Step(said, partial(permutations.assembled, side=side))


def _carriers(trial: Trial) -> Iterator[Step]:
    """The unpackings whose values tell most about the mixtures: as they are, and with a table of what they say."""
    released, truth = trial.learned
    height, width = released.shape[2:]
    few, goal = released[:_RANKED], truth[:_RANKED]
    told = [(_explained(rule.apply(few), goal), rule) for rule in carriers.unpackings(height, width)]
    told.sort(key=lambda pair: -pair[0])
    for _, rule in told[:_TABLES]:
        yield Step(f"the picture in {rule.said}", rule.apply)
        unpacked = rule.apply(released)
        for period in (1, 2):
            table = carriers.ValueTable.fit(unpacked, truth, period)
            said = f"the picture in {rule.said}, by a table of values" + (" and parities" if period == 2 else "")
            yield Step(said, partial(_looked_up, rule, table), _GAIN_OF_LEVELS)


def _looked_up(rule: carriers.Unpacking, table: carriers.ValueTable, releases: Bytes) -> Bytes:
    return table(rule.apply(releases))


def _explained(released: Bytes, truth: Bytes) -> float:
    """Largest share of the variance of a channel of the truth that a channel's values explain (correlation ratio)."""
    outcome = to_images(truth)
    shares = []
    for channel in range(3):
        values, out = released[:, channel].long().flatten(), outcome[:, channel].flatten()
        counts = torch.bincount(values, minlength=256).clamp(min=1)
        sums = torch.zeros(256, device=out.device).index_add_(0, values, out - out.mean())
        shares.append(float((sums.square() / counts).sum() / (out.var() * len(out)).clamp(min=1e-6)))
    return max(shares)


def _could_gain(trial: Trial, family: Family) -> bool:
    """Whether the right value of the key, taken with the truth in hand, brings rehearsed releases nearer to it.

    By the largest correlation over circular shifts, because a shift may be left to be undone afterwards.
    """
    images, truth = (_thinned(stack[:_JUDGED_KEYS]) for stack in (trial.released, trial.mixtures))
    goal = torch.fft.rfft2(_unit(to_images(truth).flatten(1)).view(truth.shape)).conj()
    correlations = []
    for value in torch.arange(family.count, device=images.device):
        variant = to_images(family.change(images, value.expand(len(images))))
        spectrum = torch.fft.rfft2(_unit(variant.flatten(1)).view(variant.shape))
        product = (spectrum * goal).sum(1)
        correlations.append(torch.fft.irfft2(product, s=images.shape[2:]).flatten(1).amax(1))
    most = torch.stack(correlations).amax(0)
    return float(most.mean()) > _LIKE and float((most - correlations[0]).mean()) > _LIKER


def _thinned(images: Bytes) -> Bytes:
    """At most so many pixels a side."""
    down, across = (max(1, size // _SIDE) for size in images.shape[2:])
    return images[:, :, ::down, ::across]


def _coarse(images: Bytes) -> Tensor:
    """(n, d) luminances of cells, less their mean, of length 1."""
    grey = luminance(to_images(images)).unsqueeze(1)
    return _unit(torch.nn.functional.adaptive_avg_pool2d(grey, 2 * _SIDE).flatten(1))


def _unit(values: Tensor) -> Tensor:
    return torch.nn.functional.normalize(values - values.mean(1, keepdim=True), dim=1)
