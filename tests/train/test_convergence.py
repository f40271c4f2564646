"""How long a training lasts, and whether its held-out losses say that it learned anything."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_rel

from harness.errors import NotConverged
from harness.train import fit_until_flat
from harness.train.convergence import LEAST_STEPS, compared_with_constant

# How long


class Scripted:
    """A learner whose held-out loss is a given function of its steps."""

    def __init__(self, curve, each=100):
        self.curve, self.each, self.steps, self.loaded, self.model = curve, each, 0, None, self

    def epoch(self, images, labels):
        self.steps += self.each
        return 1.0

    def loss(self, images, labels):
        return self.curve(self.steps)

    def state(self):
        return {"steps": self.steps}

    def load_state_dict(self, state):
        self.loaded = state


def fit(learner, rounds=5):
    return fit_until_flat(learner, lambda epoch: (None, None), (None, None), rounds=rounds, classes=3)


def test_the_best_weights_are_kept_and_not_the_last():
    """A loss that is least at 600 steps and rises afterwards."""
    learner = Scripted(lambda steps: 0.1 + abs(steps - 600) / 1000)

    facts = fit(learner)

    assert learner.loaded == {"steps": 600}
    assert learner.steps > 600 and facts["held_out_loss"] == pytest.approx(0.1)


def test_a_training_has_at_least_a_thousand_steps_and_its_rounds():
    few, many = Scripted(lambda steps: 0.5), Scripted(lambda steps: 0.5)

    short, long = fit(few, rounds=2), fit(many, rounds=30)

    assert short["steps"] == 1000 == LEAST_STEPS
    assert long["rounds"] == 30 and long["steps"] == 3000


def test_a_falling_loss_is_followed_until_it_is_flat():
    """It falls up to step 2,000; over the last quarter it is flat once that lies behind three quarters of the steps."""
    learner = Scripted(lambda steps: max(0.1, 1.0 - steps * 0.00045))

    facts = fit(learner)

    assert 2000 <= facts["steps"] < 4000
    assert facts["last_quarter_fall"] < 0.02


def test_a_loss_that_still_falls_at_eight_times_the_least_has_not_converged():
    learner = Scripted(lambda steps: 10.0 - steps * 0.001)

    with pytest.raises(NotConverged, match="still fell by"):
        fit(learner)

    assert learner.steps == 8000


def test_a_loss_that_is_flat_at_chance_is_followed_four_times_as_long():
    """A slow start looks like a defense that removes everything: at log 3 until 2,000 steps, then falling."""
    late = Scripted(lambda steps: np.log(3) if steps < 2000 else 0.5)
    never = Scripted(lambda steps: np.log(3))

    assert fit(late)["held_out_loss"] == pytest.approx(0.5)
    assert fit(never)["steps"] == 4000


def test_a_loss_near_zero_that_keeps_halving_is_flat():
    """2 % are of a constant guess's loss: relative to itself this one would never be flat."""
    learner = Scripted(lambda steps: 0.001 * 0.5 ** (steps / 250))

    assert fit(learner)["steps"] == 1000


def test_one_round_longer_than_the_whole_training_is_judged_by_a_second():
    """Without an earlier loss nothing can be called flat."""
    learner = Scripted(lambda steps: 0.5, each=5000)

    assert fit(learner, rounds=1)["rounds"] == 2


def test_a_held_out_loss_that_is_not_finite_is_not_converged():
    with pytest.raises(NotConverged, match="diverged after 100 steps"):
        fit(Scripted(lambda steps: float("nan")))


# What was learned


def losses(shift, n=60, seed=0):
    """Held-out losses of a constant guess, and of a network that differs by a given mean."""
    rng = np.random.default_rng(seed)
    constant = rng.normal(1.2, 0.1, n)
    return constant + rng.normal(shift, 0.1, n), constant


def test_a_loss_significantly_below_the_constants_is_learning():
    facts = compared_with_constant(*losses(-0.1))

    assert facts["learned"] is True and facts["held_out_loss"] < facts["constant_loss"]


def test_a_tie_with_the_constant_is_learning_nothing_and_no_failure():
    assert compared_with_constant(*losses(0.0))["learned"] is False


def test_a_loss_significantly_above_the_constants_is_a_failed_training():
    with pytest.raises(NotConverged, match=r"1\.\d+ is significantly above the 1\.\d+ of the best constant guess"):
        compared_with_constant(*losses(0.1))


def test_the_levels_are_those_of_a_one_sided_paired_t_test():
    """SciPy's: learned below .025, failed below .001."""
    for shift in np.linspace(-0.06, 0.06, 41):
        own, constant = losses(shift)
        lower = ttest_rel(own, constant, alternative="less").pvalue < 0.025
        if ttest_rel(own, constant, alternative="greater").pvalue < 0.001:
            with pytest.raises(NotConverged):
                compared_with_constant(own, constant)
        else:
            assert compared_with_constant(own, constant)["learned"] == lower


def test_hits_above_chance_are_learning_whatever_a_few_confident_errors_cost():
    """17 of 50 where chance is .1: p is 4e-6; 11 of 50: p is .009."""
    tie, few = losses(0.0), {"held_out_n": 50, "held_out_chance": 0.1}

    assert compared_with_constant(*tie, hits={"held_out_hits": 17, **few})["learned"] is True
    assert compared_with_constant(*tie, hits={"held_out_hits": 11, **few})["learned"] is False


def test_several_releases_of_an_image_are_one_piece_of_evidence():
    """Five images, each four times: not twenty that agree."""
    own, constant = losses(0.0, n=5, seed=1)
    own = constant + np.array([0.2, 0.1, 0.15, 0.2, 0.1])

    four = [np.tile(part, 4) for part in (own, constant)]

    with pytest.raises(NotConverged):
        compared_with_constant(*four)
    assert compared_with_constant(*four, units=np.tile(np.arange(5), 4))["learned"] is False
