"""The ensemble: everything at once, without knobs, what AutoAttack (Croce and Hein 2020) is to robustness.

1. What the defense does to every image alike is undone (attacks.undo).
2. Every member that does not refuse this defense is rehearsed on public images that none of them learned from
   (attacks.stage), so that all have the same score: mean SSIM of the best candidate to the dominant source. Faults of
   the protocol do not show in rehearsals; they are looked for in the real releases, and staged where they are found.
3. The best member attacks the real releases; the next best fills the places for candidates that it leaves.

Members refuse by what a defense declares: deconvolution asks for `blurs`, interpolation for `keeps_pixels`, descent for
`linear`, and so on. None looks for a particular defense.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from harness.errors import Inapplicable
from harness.observation import Observation
from harness.plugins.attacks.deconvolution import deconvolution
from harness.plugins.attacks.denoise import denoise_tuned, level_of
from harness.plugins.attacks.ensemble import rehearsal
from harness.plugins.attacks.ensemble.brightness_contrast import levels
from harness.plugins.attacks.ensemble.known_linear_map import undone
from harness.plugins.attacks.ensemble.selection import Member, Selection
from harness.plugins.attacks.ensemble.unshuffled_order import FAR, order_stands, standing
from harness.plugins.attacks.interpolation import interpolation
from harness.plugins.attacks.inversion import inversion
from harness.plugins.attacks.invert import invert
from harness.plugins.attacks.linking.repeated_pairs import published_shares, shared_pairs
from harness.plugins.attacks.look import look
from harness.plugins.attacks.multi_release import inversion_linked, multi_release
from harness.plugins.attacks.smooth import smooth
from harness.plugins.attacks.unmix import unmix
from harness.randomness import key_from
from harness.types import Generator, Guess

_AUDIBLE = 0.5  # grey levels of noise: rounding alone leaves 0.3
_REPEATED = 0.5  # share of targets whose pair comes again, far more than by chance
_LOOKED_AT = 200  # targets that are looked for again


_GAUSSIANS = (0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
_LOOK = Member("look", look, rehearsal.alone)
_SMOOTH = Member("smooth", partial(smooth, gaussians=_GAUSSIANS, medians=(3, 5, 7, 9)), rehearsal.alone)
_LEVELS = Member("levels", levels, rehearsal.alone)
_DENOISE = Member(
    "denoise_tuned", partial(denoise_tuned, non_local=(0.4, 0.6, 0.8), dct=(2.0, 2.4, 3.0)), rehearsal.alone
)
_DECONVOLUTION = Member(
    "deconvolution",
    partial(deconvolution, noise=(0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001, 0.00003, 0.00001)),
    rehearsal.alone,
)
_INTERPOLATION = Member("interpolation", partial(interpolation, rounds=10, rehearsed=64), rehearsal.alone)
_INVERT = Member(
    "invert",
    partial(invert, steps=60, rate=0.05, variation=(0.0, 0.0001, 0.001, 0.01, 0.03, 0.1)),
    rehearsal.alone,
    dear=True,
)
_STANDING = Member("standing", partial(standing, gaussians=_GAUSSIANS, dct=(2.0, 2.4, 3.0)), rehearsal.standing_still)
_UNMIX = Member("unmix", partial(unmix, steps=40, smoothness=2.0), rehearsal.same_partners)
_MULTI_RELEASE = Member(
    "multi_release", partial(multi_release, train_epochs=20, width=24, batch=8), rehearsal.together, dear=True
)
_INVERSION_LINKED = Member(
    "inversion_linked", partial(inversion_linked, train_epochs=20, width=24, batch=8), rehearsal.together, dear=True
)
_INVERSION = Member("inversion", partial(inversion, train_epochs=20, width=24, batch=12), rehearsal.alone, dear=True)


def auto(observation: Observation, rng: Generator) -> Guess:
    """The best that the members together can do: as many candidates as sources, none from a member that is worse.

    Budget: at most two trainings, and 600 rehearsed public images an epoch to choose between the members; what a member
    rehearses to tune itself is its own affair. It is counted, not timed, and so the same on every machine.
    """
    seen, undoing = _without_the_map(observation)
    trials = Selection(seen, key_from(rng))
    for member in composed(seen):
        trials.rehearse(member)
    candidates, chosen = trials.attack()
    return Guess(candidates, report={"undone": undoing, "chosen": chosen, **trials.told()})


def composed(observation: Observation) -> Iterator[Member]:
    """The members that the defense's declared traits and the releases call for, the cheap ones first."""
    traits, several = observation.defense.traits, len(observation.releases) > 1
    yield from (_LOOK, _SMOOTH, _LEVELS)
    if "additive_noise" in traits or level_of(observation) > _AUDIBLE:
        yield _DENOISE
    if "blurs" in traits:
        yield _DECONVOLUTION
    if "keeps_pixels" in traits:
        yield _INTERPOLATION
    if "linear" in traits:
        yield _INVERT
    if several and order_stands(observation.releases) > FAR:
        yield _STANDING
    if several and repeated_pairs(observation) > _REPEATED:
        yield _UNMIX  # and linking, which tells originals apart by their changing partners, cannot
    elif several:
        yield _MULTI_RELEASE if "linear" in traits else _INVERSION_LINKED
    yield _INVERSION


def repeated_pairs(observation: Observation) -> float:
    """Share of the targets whose two sources are mixed again in another epoch, in other shares."""
    some = observation.targets[:_LOOKED_AT]
    found = shared_pairs(observation.releases, some, published_shares(observation.defense.mixing))
    return float(np.mean([bool(matches) for matches in found]))


def _without_the_map(observation: Observation) -> tuple[Observation, Any]:
    try:
        found = undone(observation)
    except Inapplicable as reason:
        return observation, str(reason)
    return found.observation, {"steps": found.steps, "before": found.before, "after": found.after}
