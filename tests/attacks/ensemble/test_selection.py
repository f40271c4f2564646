"""What a member of the ensemble answers of later releases is kept; the others answer the rest."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.plugins.attacks.ensemble import rehearsal
from harness.plugins.attacks.ensemble.selection import Member, Selection
from harness.plugins.attacks.look import look
from harness.types import Guess
from tests.helpers.epochs import Seen, mixed


def grey(observation, rng):
    """Answers the targets by 100, and image 5 of the last release by 101."""
    last = [[len(observation.releases) - 1, 5]]
    targets = [[0, row] for row in observation.targets]
    candidates = torch.full((len(targets) + 1, 2, 3, 16, 16), 100, dtype=torch.uint8)
    candidates[-1] = 101
    return Guess(candidates=candidates, releases=np.array(targets + last))


@pytest.mark.parametrize("targets", [np.arange(40), np.array([9, 2])])
def test_later_images_that_the_chosen_member_answers_are_its_own(targets, monkeypatch):
    seen = Seen(mixed, (0.5, 0.5), epochs=3).observation
    object.__setattr__(seen, "targets", targets)
    selection = Selection(seen, b"key")
    selection.rehearse(Member("look", look, rehearsal.one_epoch))
    selection.rehearse(Member("grey", grey, rehearsal.all_epochs))
    monkeypatch.setattr(selection, "_results", sorted(selection._results, key=lambda result: result.member.name))
    for result in selection._results:
        object.__setattr__(result, "score", {"grey": 1.0, "look": 0.5}[result.member.name])

    candidates, chosen = selection.attack()
    answers, named = selection.attack_others(candidates)

    place = {tuple(each): row for row, each in enumerate(named.tolist())}
    assert chosen == ["grey"] and len(place) == len(answers) == len(targets) + 80
    assert named[: len(targets)].tolist() == [[0, row] for row in targets]
    assert bool((answers[: len(targets)] == 100).all()) and bool((answers[place[2, 5]] == 101).all())
    assert torch.equal(answers[place[2, 6]][0], seen.releases[2].images[6])
    assert torch.equal(answers[place[1, 5]][0], seen.releases[1].images[5])
