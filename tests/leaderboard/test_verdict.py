"""The verdict on a defense: attack by attack, by paired differences, claiming only what is significant."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from harness.leaderboard import verdict
from harness.leaderboard.board import boards
from harness.statistics import paired
from tests.helpers.rows import MULTI, RELEASED, N, attacked, complete, recognised, release, row, rows, trained

SEEDS = (0, 1, 2)
REID = np.arange(N) % 2


def with_arrays(record, chance=None, **arrays):
    """The record with more figures, each with its chance."""
    for name, values in arrays.items():
        record.arrays[name] = np.asarray(values, float)
        record.scores[name] = {"mean": float(np.mean(values)), "chance": chance}
    return record


def distances(record, dssim, dhaar):
    for name in ("attacked", "first"):
        record.arrays[f"{name}_dssim"], record.arrays[f"{name}_dhaar"] = np.asarray(dssim), np.asarray(dhaar)
    return record


def named(found, name):
    (attack,) = [each for each in found.attacks if each.name == name]
    return attack


def line(found, start):
    (said,) = [text for text in verdict.on_row(found) if text.startswith(start)]
    return said


# Attack by attack


def test_the_gain_of_an_attack_is_paired_over_originals_and_pooled_over_seeds():
    """As if the differences of all seeds were one list."""
    noise = [np.random.default_rng(seed).normal(0, 0.05, N) for seed in SEEDS]
    records = [release(seed=seed) for seed in SEEDS]
    records += [attacked("peek", seed=seed, dssim=RELEASED - 0.2 + noise[seed]) for seed in SEEDS]
    records += [attacked("smooth", seed=seed, dssim=RELEASED - 0.05) for seed in SEEDS]

    found = named(row(*records), "peek")

    mean = np.mean(noise, axis=0)
    for more, gained in ((found.gain_over_release, 0.2), (found.gain_over_smoothing, 0.15)):
        apart = paired(gained - mean, np.zeros(N))
        assert {name: more["dssim"][name] for name in apart} == pytest.approx(apart)
    assert found.gain_over_release["dssim"]["n"] == N
    assert found.distances["dssim"]["mean"] == pytest.approx((RELEASED - 0.2 + mean).mean())


def test_a_gain_in_re_identification_is_a_larger_share():
    look = with_arrays(release(), 0.01, reid_rank1=np.zeros(N))
    peek = with_arrays(attacked("peek"), 0.01, reid_rank1=REID, reid_rank5=np.ones(N))

    found = named(row(look, peek), "peek")

    assert found.gain_over_release["reid_rank1"]["mean"] == pytest.approx(0.5)
    assert found.hit_rates["reid_rank1"]["mean"] == 0.5 and found.hit_rates["reid_rank1"]["chance"] == 0.01


def test_smooth_is_not_compared_with_itself_and_the_stronger_setting_is_the_reference():
    weak, strong = attacked("smooth", dssim=RELEASED - 0.05), attacked("smooth", dssim=RELEASED - 0.1)
    strong.inputs["attack"]["params"]["width"] = 5

    found = row(release(), weak, strong, attacked("peek", dssim=RELEASED - 0.3))

    assert named(found, "peek").gain_over_smoothing["dssim"]["mean"] == pytest.approx(0.2)
    assert all(each.gain_over_smoothing == {} for each in found.attacks if each.name == "smooth")


def test_two_settings_of_one_attack_do_not_add_up_to_the_strongest():
    """Twice .1 is not more than .15."""
    once, twice = attacked("weak", dssim=RELEASED - 0.1), attacked("weak", dssim=RELEASED - 0.1)
    twice.inputs["attack"]["params"]["knob"] = 2

    found = row(release(), once, twice, attacked("strong", dssim=RELEASED - 0.15))

    assert found.worst["dssim"]["attack"] == "strong"


def test_the_strongest_attack_is_that_of_the_mean_over_seeds():
    """It is run on every seed; the other on one, where it is the stronger."""
    records = [release(seed=seed) for seed in SEEDS]
    records += [attacked("steady", seed=seed, dssim=RELEASED - 0.1) for seed in SEEDS]

    found = row(*records, attacked("once", seed=0, dssim=RELEASED - 0.2))

    assert found.worst["dssim"]["attack"] == "steady"
    assert "once on every seed" in found.missing


def test_a_newer_version_of_an_attack_replaces_the_older_and_its_failure_does_not():
    old, new = attacked("peek", dssim=RELEASED - 0.4), attacked("peek", dssim=RELEASED - 0.1)
    new.inputs["attack"]["version"] = 2
    broken = attacked("peek", status="failed")
    broken.inputs["attack"]["version"] = 3

    found = row(release(), old, new, broken)

    assert found.worst["dssim"]["mean"] == pytest.approx(RELEASED.mean() - 0.1)
    assert not any("failed" in lack for lack in found.missing) and named(found, "peek").status == "ok"


def test_attacks_are_listed_strongest_first_then_controls_then_what_did_not_work():
    found = row(
        release(),
        attacked("broken", status="failed"),
        attacked("oracle", dssim=np.zeros(N), traits=("control",)),
        attacked("weak", dssim=RELEASED - 0.1),
        attacked("strong", dssim=RELEASED - 0.2),
        recognised(REID),
    )

    assert [each.name for each in found.attacks] == ["strong", "weak", "cnn", "oracle", "broken"]


# What never counts as privacy


def test_an_attack_that_failed_is_missing():
    records = [*complete("mix", 0.9), *(attacked("denoise", seed=seed, status="failed") for seed in SEEDS)]

    found = row(*records)

    assert found.missing == ["denoise, which failed"] and found.rank is None
    assert found.not_run == ["denoise (failed: why it failed)"]


def test_an_attack_that_failed_on_one_seed_of_three_is_lacking_too():
    failed = [attacked("denoise", seed=seed, status="failed" if seed else "ok") for seed in SEEDS]

    assert row(*complete("mix", 0.9), *failed).missing == ["denoise, which failed"]


def test_a_skipped_attack_is_named_but_not_missing():
    """No one can be made to own credentials."""
    skipped = [attacked("google_vision", seed=seed, status="skipped") for seed in SEEDS]

    found = row(*complete("mix", 0.9), *skipped)

    assert found.missing == [] and found.not_run == ["google_vision (skipped: why it failed)"]
    assert line(found, "Says nothing about") == "Says nothing about google_vision (skipped: why it failed)."


def test_what_does_not_suit_a_defense_is_neither():
    unsuited = [attacked("unmix", seed=seed, status="inapplicable") for seed in SEEDS]

    found = row(*complete("mix", 0.9), *unsuited)

    assert found.missing == [] and found.not_run == []
    assert named(found, "unmix").status == "inapplicable"


def test_a_required_attack_that_does_not_suit_is_still_lacking():
    kept = [each for each in complete("mix", 0.9) if each.inputs.get("attack", {}).get("name") != MULTI]

    assert row(*kept, *(attacked(MULTI, seed=seed, status="inapplicable") for seed in SEEDS)).missing == [MULTI]


# T and R


def test_records_of_several_releases_are_several_rows_though_no_model_was_trained():
    """Privacy after twenty releases is not the mean of that and of one."""
    left = {1: RELEASED, 5: RELEASED - 0.2, 20: RELEASED - 0.5}
    seen = [attacked(MULTI, dssim=dssim, granted=("releases",), releases=number) for number, dssim in left.items()]

    found = rows(release(), attacked("smooth", dssim=RELEASED - 0.1), *seen)

    worst = {each.releases: each.worst["dssim"]["mean"] for each in found}
    assert worst == {
        1: pytest.approx(RELEASED.mean() - 0.1),
        5: pytest.approx(RELEASED.mean() - 0.2),
        20: pytest.approx(RELEASED.mean() - 0.5),
    }
    assert all(each.training is None for each in found)


def test_a_multi_release_attack_on_one_release_is_marked_as_no_attack():
    looked = attacked(MULTI, granted=("releases",), releases=1)
    found = row(release(), looked)

    assert named(found, MULTI).equals_release
    assert MULTI not in "; ".join(found.missing)
    assert "(= no attack)" in line(found, f"after {MULTI} ")


def test_an_attack_that_changes_the_release_is_not_marked():
    more = attacked(MULTI, dssim=RELEASED - 0.1, granted=("releases",), releases=1)
    later = attacked(MULTI, granted=("releases",), releases=2)

    assert not named(row(release(), more), MULTI).equals_release
    assert not named(row(release(), later), MULTI).equals_release


# What may be claimed


@pytest.mark.parametrize(
    ("dssim", "dhaar", "reid", "claimed"),
    [
        (0.3, 0.3, 0, True),
        (0.3, -0.1, 1, True),  # by re-identification alone
        (0.3, -0.1, 0, False),  # dSSIM favours smooth guesses
        (-0.1, 0.3, 1, False),
        (0.0, 0.0, 0, False),
    ],
)
def test_beyond_smoothing_means_dssim_and_one_of_the_others(dssim, dhaar, reid, claimed):
    smooth = with_arrays(attacked("smooth"), reid_rank1=np.zeros(N))
    linked = distances(attacked(MULTI, granted=("releases",), releases=10), RELEASED - dssim, RELEASED - dhaar)
    found = row(release(), smooth, with_arrays(linked, reid_rank1=np.full(N, reid)))

    assert verdict.beyond_smoothing(named(found, MULTI)) is claimed
    said = ": reveals more than smoothing" if claimed else ": not shown to reveal more than smoothing"
    assert line(found, f"after {MULTI} alone").endswith(said)


def test_a_gain_that_chance_explains_is_no_claim():
    """The mean is better than smooth's, the interval holds zero."""
    wild = RELEASED - np.where(np.arange(N) % 2, 0.5, -0.45)

    found = row(release(), attacked("smooth"), attacked(MULTI, dssim=wild, granted=("releases",), releases=10))

    assert named(found, MULTI).gain_over_smoothing["dssim"]["mean"] > 0
    assert verdict.beyond_smoothing(named(found, MULTI)) is False


def test_without_smooth_nothing_is_claimed_beyond_it():
    found = row(release(), attacked(MULTI, dssim=np.zeros(N), granted=("releases",), releases=10))

    assert verdict.beyond_smoothing(named(found, MULTI)) is None
    assert "not compared with smooth: it was not run" in line(found, f"after {MULTI} alone")


# The words


def test_the_verdict_names_the_worst_attack_the_worst_case_and_what_is_missing():
    smooth = attacked("smooth", dssim=np.full(N, 0.6))
    found = row(
        release(), smooth, attacked(MULTI, dssim=np.full(N, 0.1), granted=("releases",), releases=10), trained(0.9)
    )

    head, judged, *_ = verdict.on_row(found)
    assert head == f"mix (weights=0.5,0.5), 10 epochs, 10 releases, {N} originals, 1 seed"
    assert judged.startswith("Not judged: missing inversion or auto; a recogniser")
    assert "fails whatever is missing: not hidden by dSSIM, not hidden by dHaar, exposed" in judged
    worst = line(found, "worst case")
    assert worst.startswith("worst case: dSSIM .800 -> .100 [.100, .100] of null .850, p5")
    assert "below .66 for 100% [98%, 100%]" in worst
    assert f"best single attack by dSSIM: {MULTI} .100" in line(found, "best single attack by dSSIM")
    assert line(found, "hidden by dSSIM").startswith("hidden by dSSIM: no (.100 of null .850, threshold .66")
    assert ".500 [.500, .500] less than after smooth" in line(found, f"after {MULTI} alone")
    after = "after smooth alone: dSSIM .600 [.600, .600]; dHaar .600 [.600, .600]"
    assert line(found, "after smooth alone") == f"{after}; re-identified (rank 1) .000 [.000, .019]"


def test_the_verdict_says_where_no_attack_alone_lowers_the_mean():
    """One helps on one half and harms on the other."""
    found = row(release(), attacked("half", dssim=RELEASED + np.where(np.arange(N) % 2, 0.3, -0.2)))

    assert line(found, "best single attack by dSSIM").startswith("best single attack by dSSIM: no attack .800")


def test_without_attacks_the_verdict_is_that_of_the_release():
    assert line(row(release()), "worst case: dSSIM .800 -> .800 [").count("->") == 2


def test_the_attack_that_re_identifies_most_is_named_beside_the_release():
    look = with_arrays(release(), 0.01, reid_rank1=REID)
    peek = with_arrays(attacked("reid"), 0.01, reid_rank1=np.ones(N))

    said = line(row(look, peek), "re-identified (rank 1)")
    assert re.search(r"reid 1\.000 \[.*chance \.010, no attack \.500 \[", said)
    assert line(row(look), "re-identified (rank 1)").startswith("re-identified (rank 1): no attack .500")


def test_re_identification_by_a_control_does_not_count():
    oracle = with_arrays(attacked("oracle", traits=("control",)), 0.01, reid_rank1=np.ones(N))

    assert "reid_rank1" not in row(release(), oracle).strongest


def test_an_attribute_hit_rate_is_shown_with_its_chance():
    found = row(release(), with_arrays(attacked("attribute"), 0.5, attribute=np.arange(N) % 4 > 0))

    assert re.search(r"attribute \.750 \[.*\], chance \.500", line(found, "attribute"))
    assert found.strongest["attribute"]["corrected"] == pytest.approx(0.5)


def test_a_complete_row_says_by_what_it_passes():
    passing, failing = rows(*complete("good", 0.9), *complete("bad", 0.9, RELEASED - 0.5))

    assert line(passing, "Passes") == "Passes: every part."
    assert line(failing, "Does not pass") == "Does not pass: not hidden by dSSIM, not hidden by dHaar, exposed."


def test_an_attack_that_learned_nothing_is_named():
    runs = [replace(recognised(np.zeros(N), seed=seed), facts={"learned": seed == 0}) for seed in SEEDS]

    found = row(*(release(seed=seed) for seed in SEEDS), *runs)

    assert line(found, "learned nothing").startswith("learned nothing: cnn on 2 of 3 seeds")


# Self-checks


def test_an_undefended_release_that_is_not_the_original_is_warned_of():
    (board,) = boards([release("none", dssim=np.full(N, 0.01))])

    assert any("none has dSSIM .010" in text for text in verdict.on_board(board))
    assert row(release("none", dssim=np.zeros(N))).warnings == []


def test_an_oracle_that_reveals_less_than_a_blind_attack_is_warned_of():
    blind = attacked(MULTI, dssim=RELEASED - 0.3, granted=("releases",), releases=10)
    worse, better = (attacked("oracle", dssim=RELEASED - by, traits=("control",)) for by in (0.2, 0.31))

    assert row(release(), blind, worse).warnings == [
        "dSSIM after oracle is .100 [.100, .100] more than after multi_release, which knows less"
    ]
    assert row(release(), blind, better).warnings == []


def test_another_image_that_is_found_again_is_warned_of():
    def with_hits(share):
        hits = np.arange(N) < share * N
        return row(release(), with_arrays(attacked("random_other", traits=("control",)), 0.02, reid_rank1=hits))

    assert "above chance .020" in with_hits(0.5).warnings[0]
    assert with_hits(0.05).warnings == [] and with_hits(0).warnings == []
