"""Two mixtures of one pair give both sources back; one mixture gives them where edges do not coincide."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.errors import HarnessError, Inapplicable
from harness.images import average, to_bytes, to_images
from harness.observation import KnownDefense, Observation
from harness.plugins.attacks.linking.repeated_pairs import shared_pairs, solve
from harness.plugins.attacks.unmix import exclusive, unmix
from harness.randomness import torch_generator
from harness.types import Release

KNOBS = {"steps": 5, "smoothness": 2.0}


def generator():
    return torch_generator(b"the rng of an attack", "cpu")


def release(photographs, pairs, shares):
    """Mixtures of the given pairs of photographs, the first with the given shares."""
    weights = torch.tensor([[share, 1 - share] for share in shares])
    mixed = average(to_images(torch.from_numpy(photographs[np.array(pairs)])), weights)
    return Release(to_bytes(mixed), torch.zeros(len(pairs), dtype=torch.int64))


def observed(releases, weights=(0.75, 0.25), traits=("linear",), sources=2):
    mixing = {"weights": list(weights), "pairing": "permutation", "intra_class": False, "label": "dominant"}
    images = releases[0].images
    return Observation(
        images,
        np.arange(len(images)),
        ("a",),
        sources,
        "cpu",
        frozenset({"releases", "defense"}),
        _releases=releases,
        _known=KnownDefense({}, mixing, frozenset(traits)),
    )


def apart(candidates, photographs, rows):
    """Largest difference in grey levels."""
    return int((candidates.int() - torch.from_numpy(photographs[np.array(rows)]).int()).abs().max())


# Pairs


def test_only_releases_of_the_same_pair_in_other_roles_match(photographs):
    """Beside the pair: the dominant source shared, either source crosswise, the minor one, none, the same mixture."""
    first = release(photographs, [(0, 9)], [0.75])
    second = release(photographs, [(0, 17), (9, 17), (17, 0), (17, 9), (3, 20), (0, 9), (9, 0)], [0.75] * 7)

    (matches,) = shared_pairs([first, second], np.array([0]), [0.75])

    assert [(match.epoch, match.row, match.own, match.other) for match in matches] == [(1, 6, 0.75, 0.25)]


def test_among_many_pairs_that_repeat_none_is_taken_for_another(photographs):
    """Classes of four, six epochs of matchings: what is found is right, and most is found."""
    rng = np.random.default_rng(3)
    lively = np.arange(8, 24).reshape(4, 4)  # of the first eight some are flat and can be confused
    plans = [[tuple(pair) for group in lively[:, rng.permutation(4)] for pair in group.reshape(2, 2)] for _ in range(6)]
    releases = [release(photographs, plan, [0.75] * 8) for plan in plans]

    found = shared_pairs(releases, np.arange(8), [0.75])

    swapped = [
        {(epoch, plan.index(pair[::-1])) for epoch, plan in enumerate(plans) if epoch and pair[::-1] in plan}
        for pair in plans[0]
    ]
    claimed = [{(match.epoch, match.row) for match in matches} for matches in found]
    assert sum(map(len, swapped)) > 5
    assert all(claim <= truth for claim, truth in zip(claimed, swapped, strict=True))
    assert sum(map(len, claimed)) >= 0.8 * sum(map(len, swapped))


def test_the_shares_of_a_match_are_found_among_those_published(photographs):
    releases = [release(photographs, [(0, 9)], [0.7]), release(photographs, [(0, 9)], [0.5])]

    ((match,),) = shared_pairs(releases, np.array([0]), [0.5, 0.6, 0.7])

    assert (match.own, match.other) == (0.7, 0.5)


def test_two_equations_give_two_unknowns():
    a, b = torch.rand(2, 3, 8, 8, generator=generator())

    found = solve(0.75, 0.4, 0.75 * a + 0.25 * b, 0.4 * a + 0.6 * b)

    assert torch.allclose(torch.stack(found), torch.stack([a, b]), atol=1e-6)


# Unmixing


def test_two_mixtures_of_one_pair_are_separated_to_the_grey_level(photographs):
    releases = [
        release(photographs, [(0, 9), (3, 20)], [0.75] * 2),
        release(photographs, [(20, 3), (9, 0)], [0.75] * 2),
    ]

    guess = unmix(observed(releases), generator(), **KNOBS)

    assert guess.report == {"exact": 2, "blind": 0}
    assert apart(guess.candidates[:, 0], photographs, [0, 3]) <= 2
    assert apart(guess.candidates[:, 1], photographs, [9, 20]) <= 2


def test_layers_whose_edges_do_not_coincide_are_separated():
    """Stripes in either half: each layer must come out livelier in its own half than in the other's."""
    stripes = 0.5 + 0.3 * torch.sign(torch.sin(torch.arange(32) / 2.0)).expand(3, 32, 32)
    left = torch.where(torch.arange(32) < 16, stripes, 0.5)
    mixed = (0.5 * left + 0.5 * (left.flip(-1) + 0.1).mT)[None]

    a, b = exclusive(mixed, [0.5], generator(), steps=150, smoothness=0.1)[0]

    steep = [(layer[:, 1:, 1:] - layer[:, :-1, :-1]).abs() for layer in (a, b)]
    assert (steep[0] * steep[1]).mean() < 0.5 * (mixed[0, :, 1:, 1:] - mixed[0, :, :-1, :-1]).square().mean()


def test_the_layers_of_one_release_still_add_up_to_it(photographs):
    releases = [release(photographs, [(0, 9), (3, 20)], [0.75] * 2)]

    guess = unmix(observed(releases), generator(), **KNOBS)

    remixed = 0.75 * guess.candidates[:, 0].float() + 0.25 * guess.candidates[:, 1].float()
    assert guess.report == {"exact": 0, "blind": 2}
    assert (remixed - releases[0].images.float()).abs().mean() < 2


def test_equal_weights_give_no_exact_solution(photographs):
    """Two mixtures of one pair, half and half, are one mixture: nothing is solved from them."""
    releases = [release(photographs, [(0, 9)], [0.5]), release(photographs, [(9, 0)], [0.5])]

    assert unmix(observed(releases, (0.5, 0.5)), generator(), **KNOBS).report["exact"] == 0


@pytest.mark.parametrize(
    ("traits", "sources"),
    [(("linear", "permutes_in_blocks"), 2), (("linear", "keeps_pixels"), 2), ((), 2), (("linear",), 3)],
)
def test_a_release_that_is_no_average_of_two_images_is_inapplicable(photographs, traits, sources):
    releases = [release(photographs, [(0, 9)], [0.75])]

    with pytest.raises(Inapplicable, match=r"mixtures of two sources|weighted average"):
        unmix(observed(releases, traits=traits, sources=sources), generator(), **KNOBS)


def test_knobs_that_do_nothing_are_refused(photographs):
    with pytest.raises(HarnessError, match="unmix: steps 0"):
        unmix(observed([release(photographs, [(0, 9)], [0.75])]), generator(), steps=0, smoothness=1.0)
