"""A learned attack proves itself on undefended images, and what keeps it from that is said with the fix."""

from __future__ import annotations

import pytest

from harness.errors import NotConverged
from harness.registry import Entry
from harness.run.scoring import must_beat_chance

CNN = Entry("cnn", "attacks", "here:cnn", kind="recognition", traits=("learned",))
ABOVE = {"top1": {"mean": 0.9, "low": 0.8, "chance": 0.5}}


def held_out(hits: int, n: int, chance: float = 0.5) -> dict[str, float]:
    return {"held_out_hits": hits, "held_out_n": n, "held_out_chance": chance}


def test_hits_above_chance_are_a_proof() -> None:
    must_beat_chance(CNN, held_out(90, 100), ABOVE)


def test_two_of_two_are_too_few_to_prove_anything() -> None:
    """All were right, and Wilson's lower end of 2 of 2 is .34: more images are what is missing, not learning."""
    with pytest.raises(NotConverged, match=r"^2 held-out public images are too few .* \(0.50\), .* use more images"):
        must_beat_chance(CNN, held_out(2, 2), ABOVE)


def test_hits_at_chance_are_none() -> None:
    with pytest.raises(NotConverged, match="52 of 100 held-out undefended images are not above chance"):
        must_beat_chance(CNN, held_out(52, 100), ABOVE)


def test_targets_at_chance_are_none_either() -> None:
    with pytest.raises(NotConverged, match="not above chance"):
        must_beat_chance(CNN, held_out(90, 100), {"top1": {"mean": 0.5, "low": 0.4, "chance": 0.5}})


def test_a_report_without_held_out_hits_is_no_proof() -> None:
    with pytest.raises(NotConverged, match="reports held_out_hits"):
        must_beat_chance(CNN, {}, ABOVE)


INVERSION = Entry("inversion", "attacks", "here:inversion", kind="reconstruction", traits=("learned",))


def test_a_reconstruction_is_proven_by_a_loss_below_that_of_a_constant_image() -> None:
    must_beat_chance(INVERSION, {"learned": True}, {})


def test_a_reconstruction_that_ties_with_a_constant_image_on_undefended_images_is_not_proven() -> None:
    with pytest.raises(NotConverged, match=r"1\.250, is not below the 1\.240 of a constant image: it learned nothing"):
        must_beat_chance(INVERSION, {"learned": False, "held_out_loss": 1.25, "constant_loss": 1.24}, {})


def test_a_reconstruction_that_does_not_say_whether_it_learned_is_not_proven() -> None:
    with pytest.raises(NotConverged, match="reports `learned`"):
        must_beat_chance(INVERSION, {}, {})
