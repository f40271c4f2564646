"""FastICA separates sources that are mixed twice, and refuses a single mixture."""

from __future__ import annotations

import numpy as np
import pytest

from harness.errors import HarnessError, Inapplicable
from harness.plugins.attacks.fastica import fastica, separate
from tests.attacks.test_unmix import generator, observed, release

KNOBS = {"rounds": 200, "mixtures_used": 8}


def correlations(candidates, photographs, pairs):
    """(n, 2): of each candidate with its source."""
    found = np.asarray(candidates, np.float64).reshape(len(pairs), 2, -1)
    true = photographs[np.array(pairs)].astype(np.float64).reshape(len(pairs), 2, -1)
    found, true = found - found.mean(2, keepdims=True), true - true.mean(2, keepdims=True)
    return (found * true).sum(2) / np.linalg.norm(found, axis=2) / np.linalg.norm(true, axis=2)


def test_sources_are_recovered_from_partners_that_never_change(photographs):
    pairs = [(0, 9), (3, 20), (12, 5), (17, 8)]
    swapped = [pair[::-1] for pair in pairs]
    releases = [release(photographs, plan, [0.75] * 4) for plan in (pairs, swapped[::-1], swapped)]

    guess = fastica(observed(releases), generator(), **KNOBS)

    assert guess.report == {"repeated": 4, "separated": 4, "fallen_back": 0}
    assert correlations(guess.candidates, photographs, pairs).min() > 0.95


def test_unpublished_shares_are_estimated_too(photographs):
    a, b = photographs[[0, 9]] / 255
    stack = np.stack([share * a + (1 - share) * b for share in (0.62, 0.3, 0.45)])

    found = separate(stack, rounds=200, seed=0)

    assert correlations(found[None], photographs, [(0, 9)]).min() > 0.95


def test_one_release_is_refused(photographs):
    with pytest.raises(Inapplicable, match="one mixture cannot be separated"):
        fastica(observed([release(photographs, [(0, 9)], [0.75])]), generator(), **KNOBS)


def test_releases_that_share_no_pair_are_refused(photographs):
    releases = [release(photographs, [(0, 9)], [0.75]), release(photographs, [(0, 17), (9, 5)], [0.75] * 2)]

    with pytest.raises(Inapplicable, match="no two of the 2 releases"):
        fastica(observed(releases), generator(), **KNOBS)


def test_equal_weights_are_refused(photographs):
    releases = [release(photographs, [(0, 9)], [0.5]), release(photographs, [(9, 0)], [0.5])]

    with pytest.raises(Inapplicable, match="the same mixture"):
        fastica(observed(releases, (0.5, 0.5)), generator(), **KNOBS)


def test_a_target_whose_pair_does_not_repeat_stays_at_its_release(photographs):
    releases = [release(photographs, [(0, 9), (3, 20)], [0.75] * 2), release(photographs, [(9, 0)], [0.75])]

    guess = fastica(observed(releases), generator(), **KNOBS)

    assert guess.report == {"repeated": 1, "separated": 1, "fallen_back": 1}
    assert (guess.candidates[1] == releases[0].images[1]).all()


def test_knobs_that_do_nothing_are_refused(photographs):
    with pytest.raises(HarnessError, match="mixtures_used 1"):
        fastica(observed([release(photographs, [(0, 9)], [0.75])]), generator(), rounds=10, mixtures_used=1)
