"""The ensemble of all reconstruction attacks, without knobs: what AutoAttack (Croce and Hein 2020) is to robustness.

1. What the defense does to every image alike is found by probing it with chosen images, and undone
   (attacks.ensemble.undo; FINDERS says what is looked for, in this order).
2. Every member that applies to this defense is rehearsed on public images that none of them was trained on
   (attacks.ensemble.rehearsal), so that all have the same score: mean SSIM of the best candidate to the dominant
   source. Faults of the protocol do not show in ordinary rehearsals; they are looked for in the real releases, and
   rehearsed where they are found.
3. The best member attacks the real releases; the next best fill the candidates that it leaves free. Later releases are
   answered by the best members that work on single releases.

Members refuse by traits: deconvolution requires `blurs`, interpolation `keeps_pixels`, descent `linear`, and so on. The
traits are probed (attacks.ensemble.traits), so that a missing or a wrong one protects nothing. None looks for a
particular defense.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from harness.observation import Observation
from harness.plugins.attacks.common.filters import measured_noise
from harness.plugins.attacks.deconvolution import deconvolution
from harness.plugins.attacks.denoise import denoise_tuned
from harness.plugins.attacks.ensemble import rehearsal
from harness.plugins.attacks.ensemble.bit_tables import bit_table
from harness.plugins.attacks.ensemble.brightness_contrast import brightness_contrast
from harness.plugins.attacks.ensemble.call_masks import call_mask
from harness.plugins.attacks.ensemble.call_tables import call_table
from harness.plugins.attacks.ensemble.entry_maps import entry_map
from harness.plugins.attacks.ensemble.keys_of_calls import keys_of_calls
from harness.plugins.attacks.ensemble.known_linear_map import known_linear_map
from harness.plugins.attacks.ensemble.linear_maps import linear_map
from harness.plugins.attacks.ensemble.pair_tables import pair_table
from harness.plugins.attacks.ensemble.selection import Member, Selection
from harness.plugins.attacks.ensemble.traits import probed
from harness.plugins.attacks.ensemble.undo import Finder, undo
from harness.plugins.attacks.ensemble.unshuffled_order import UNSHUFFLED, order_deviations, unshuffled_order
from harness.plugins.attacks.fresh_keys.search import fresh_keys
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

_NOISE_THRESHOLD = 0.5  # grey levels from which on a defense counts as noisy: rounding alone gives 0.3
_REPEATED = 0.5  # share of targets whose pair comes again, far more than by chance
_SEARCHED = 200  # targets whose pairs are searched for in other epochs


# The names enter the records and the derivation of each member's random generator.
_GAUSSIANS = (0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
_LOOK = Member("look", look, rehearsal.one_epoch)
_SMOOTH = Member("smooth", partial(smooth, gaussians=_GAUSSIANS, medians=(3, 5, 7, 9)), rehearsal.one_epoch)
_BRIGHTNESS_CONTRAST = Member("levels", brightness_contrast, rehearsal.one_epoch)
_DENOISE = Member(
    "denoise_tuned", partial(denoise_tuned, non_local=(0.4, 0.6, 0.8), dct=(2.0, 2.4, 3.0)), rehearsal.one_epoch
)
_DECONVOLUTION = Member(
    "deconvolution",
    partial(deconvolution, noise=(0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001, 0.00003, 0.00001)),
    rehearsal.one_epoch,
)
_INTERPOLATION = Member("interpolation", partial(interpolation, rounds=10, rehearsed=64), rehearsal.one_epoch)
_INVERT = Member(
    "invert",
    partial(invert, steps=60, rate=0.05, variation=(0.0, 0.0001, 0.001, 0.01, 0.03, 0.1)),
    rehearsal.one_epoch,
    expensive=True,
)
_UNSHUFFLED_ORDER = Member(
    "standing", partial(unshuffled_order, gaussians=_GAUSSIANS, dct=(2.0, 2.4, 3.0)), rehearsal.unshuffled
)
_UNMIX = Member("unmix", partial(unmix, steps=40, smoothness=2.0), rehearsal.same_partners)
_MULTI_RELEASE = Member(
    "multi_release", partial(multi_release, train_epochs=20, width=24, batch=8), rehearsal.all_epochs, expensive=True
)
_INVERSION_LINKED = Member(
    "inversion_linked",
    partial(inversion_linked, train_epochs=20, width=24, batch=8),
    rehearsal.all_epochs,
    expensive=True,
)
_INVERSION = Member(
    "inversion", partial(inversion, train_epochs=20, width=24, batch=12), rehearsal.one_epoch, expensive=True
)

FINDERS: tuple[Finder, ...] = (
    call_table,
    call_mask,
    entry_map,
    pair_table,
    keys_of_calls,
    bit_table,
    linear_map,
    known_linear_map,
    fresh_keys,
)
"""What is looked for and undone before the members run, the cheapest and most exact first."""


def auto(observation: Observation, rng: Generator) -> Guess:
    """As many candidates as sources, from the members that did best in rehearsals. Its report says what was `found`.

    Budget: at most two trainings, and 600 rehearsed public images an epoch to choose between the members; what a member
    rehearses to tune itself is not counted. The budget is in counts, not in seconds, and so the same on every machine.
    """
    undone = undo(probed(observation, rng), FINDERS, rng)
    bare = probed(undone.observation, rng) if undone.found else undone.observation
    selection = Selection(bare, key_from(rng))
    for member in members_for(bare):
        selection.rehearse(member)
    candidates, chosen = selection.attack()
    report = {"found": undone.found, "undone_ssim": undone.scores, "traits": sorted(bare.defense.traits)}
    report |= {"chosen": chosen, **selection.report()}
    if len(bare.releases) == 1:
        return Guess(candidates, report=report)
    answers, named = selection.attack_others(candidates)
    return Guess(answers, releases=named, report=report)


def members_for(observation: Observation) -> Iterator[Member]:
    """The members that the defense's probed traits and the releases call for, the cheap ones first."""
    traits, several = observation.defense.traits, len(observation.releases) > 1
    yield from (_LOOK, _SMOOTH, _BRIGHTNESS_CONTRAST)
    if "additive_noise" in traits or measured_noise(observation) > _NOISE_THRESHOLD:
        yield _DENOISE
    if "blurs" in traits:
        yield _DECONVOLUTION
    if "keeps_pixels" in traits:
        yield _INTERPOLATION
    if "linear" in traits:
        yield _INVERT
    if several and order_deviations(observation.releases) > UNSHUFFLED:
        yield _UNSHUFFLED_ORDER
    if several and repeated_pairs(observation) > _REPEATED:
        yield _UNMIX  # in place of linking, which needs changing partners to tell originals apart
    elif several:
        yield _MULTI_RELEASE if "linear" in traits else _INVERSION_LINKED
    yield _INVERSION


def repeated_pairs(observation: Observation) -> float:
    """Share of the targets whose two sources are mixed again in another epoch, with other weights; 0 to 1."""
    targets = observation.targets[:_SEARCHED]
    pairs = shared_pairs(observation.releases, targets, published_shares(observation.defense.mixing))
    return float(np.mean([bool(matches) for matches in pairs]))
