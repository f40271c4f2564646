"""A survey asks 49 questions, seven of a technique, with settings drawn uniformly from the paper's Table 1."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare

from harness.errors import HarnessError
from harness.study.plan import draw, scaled

TABLE_1 = {
    "graft_mix": {("p", value) for value in (0.5, 0.6, 0.7, 0.8)},
    "shuffle_mix": {("block", value) for value in (4, 8, 16)},
    "noise_mix": {("sigma", value) for value in (10, 20, 40)},
    "pixelize_mix": {("grid", value) for value in (16, 20, 32)},
    "blur_mix": {("kernel", value) for value in (17, 35, 45)},
}
PLANS = 300


@pytest.fixture(scope="module")
def plans():
    return [draw(10, np.random.default_rng([17, seed])) for seed in range(PLANS)]


def test_seven_questions_of_each_technique_make_49_questions_and_105_pairs(plans):
    for plan in plans:
        assert Counter(question.technique for question in plan) == dict.fromkeys(["mix", "mix3", *TABLE_1], 7)
        assert sum(len(question.classes) for question in plan) == 105


def test_classes_of_an_image_all_differ(plans):
    assert all(len(set(question.classes)) == len(question.weights) for plan in plans for question in plan)


def uniform(found, values):
    """The p-value of the counts of these values, each equally likely; nothing else may be among them."""
    counts = Counter(found)
    assert set(counts) == set(values)
    return chisquare([counts[value] for value in values]).pvalue


def test_settings_are_uniform_over_table_1(plans):
    questions = [question for plan in plans for question in plan]
    for technique, values in TABLE_1.items():
        found = [item for q in questions if q.technique == technique for item in q.knobs.items()]
        assert uniform(found, sorted(values)) > 1e-3, technique
    assert all(not question.knobs for question in questions if question.technique in ("mix", "mix3"))


def test_shares_are_uniform_over_table_1_and_sum_to_one(plans):
    questions = [question for plan in plans for question in plan]
    two = [round(q.weights[0], 3) for q in questions if q.technique != "mix3"]
    assert uniform(two, [0.5, 0.6, 0.7]) > 1e-3
    three = [tuple(round(share, 3) for share in q.weights) for q in questions if q.technique == "mix3"]
    assert uniform(three, [(0.7, 0.2, 0.1), (0.505, 0.333, 0.162), (0.333, 0.333, 0.333)]) > 1e-3
    assert all(abs(sum(q.weights) - 1) < 1e-12 and list(q.weights) == sorted(q.weights)[::-1] for q in questions)


def test_classes_and_the_order_of_techniques_are_uniform(plans):
    questions = [question for plan in plans for question in plan]
    for source in (0, 1):
        assert uniform([question.classes[source] for question in questions], list(range(10))) > 1e-3
    techniques = ["mix", "mix3", *TABLE_1]
    for place in (0, 24, 48):
        assert uniform([plan[place].technique for plan in plans], techniques) > 1e-3


def test_two_classes_are_refused():
    with pytest.raises(HarnessError, match="3 classes, and the data set has 2"):
        draw(2, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("size", "blocks", "kernels"),
    [
        ((256, 256), (4, 8, 16), (17, 35, 45)),
        ((128, 128), (2, 4, 8), (9, 17, 23)),
        ((96, 96), (2, 3, 6), (7, 13, 17)),
        ((32, 32), (2, 2, 2), (3, 5, 5)),
        ((100, 150), (2, 2, 5), (7, 13, 17)),
    ],
)
def test_block_and_kernel_are_scaled_with_the_shorter_side(size, blocks, kernels):
    assert tuple(scaled({"block": block}, size)["block"] for block in (4, 8, 16)) == blocks
    assert tuple(scaled({"kernel": kernel}, size)["kernel"] for kernel in (17, 35, 45)) == kernels
    assert all(size[0] % block == 0 and size[1] % block == 0 for block in blocks)
    assert all(kernel % 2 for kernel in kernels)


def test_other_knobs_are_not_scaled():
    assert scaled({"grid": 16, "sigma": 20, "p": 0.5}, (64, 64)) == {"grid": 16, "sigma": 20, "p": 0.5}


def test_sides_without_a_common_divisor_are_refused():
    with pytest.raises(HarnessError, match="no block of 2 to 4 pixels divides 63x64"):
        scaled({"block": 4}, (64, 63))
