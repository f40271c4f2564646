"""The parts of the verdict: hidden beside the null, nobody exposed, not re-identified."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from harness.leaderboard import judgement, verdict
from harness.leaderboard.board import boards
from harness.records import RunSpec
from harness.scores import ANY, reidentifications
from tests.helpers.rows import NULL, N, attacked, complete, matched, never_found, older, release, row, rows

FAR = np.full(N, 0.84)


def verbatim(count: int, null: float = 0.85):
    """A release that shows some originals as they are."""
    return release(dssim=np.where(np.arange(N) < count, 0.0, 0.84), null=null)


def test_a_worst_case_is_read_beside_its_null():
    found = row(release(dssim=FAR, null=0.85), attacked("peek", dssim=FAR - 0.3, null=0.7))

    assert found.worst["dssim"]["mean"] == pytest.approx(0.54)
    assert found.worst["dssim"]["null"]["mean"] == pytest.approx(0.7)  # the least over both, as the worst case is
    assert any("hidden by dSSIM: no (.540 of null .700" in line for line in verdict.on_row(found))


@pytest.mark.parametrize(("mean", "hidden"), [(0.56, True), (0.54, False)])
def test_a_size_at_which_a_stranger_is_below_the_threshold_is_judged_by_the_null(mean, hidden):
    """Null .6: at or above .55."""
    found = row(release(dssim=np.full(N, mean), null=0.6))

    assert found.passes["dssim"] is hidden
    assert "cannot be judged by the paper's threshold .66" in found.judgements["dssim"].words


def test_without_a_null_nothing_is_judged_and_the_row_says_so():
    found = row(*(older(record) for record in complete("mix", 0.9)))

    assert found.passing is None and found.rank is None
    assert any(text.startswith("null (not measured for") for text in found.missing)
    assert found.passes["exposed"] is None and "not measured: null" in found.judgements["exposed"].words


def test_one_original_that_is_seen_fails_the_row():
    assert row(release(dssim=FAR)).passes["exposed"] is True
    assert row(verbatim(1)).passes["exposed"] is False


def test_an_original_that_is_seen_on_several_seeds_is_one():
    found = row(*(release(seed=seed, dssim=verbatim(1).arrays["dssim"]) for seed in range(3)))

    assert found.exposed["seen"] == 1 and "1 below .05" in found.judgements["exposed"].words


def test_exposed_is_below_half_of_its_own_null():
    """Of 200, the upper Wilson end of none is .019; of one .028."""
    half = np.where(np.arange(N) < 1, 0.42, 0.84)

    assert row(release(dssim=half, null=0.83)).passes["exposed"] is True
    assert row(release(dssim=half, null=0.85)).passes["exposed"] is False


def test_fewer_than_189_originals_cannot_show_that_nobody_is_exposed():
    few, enough = (row(release(dssim=np.full(n, 0.84))) for n in (188, 189))

    assert few.passes["exposed"] is None and "needs 189" in few.judgements["exposed"].words
    assert enough.passes["exposed"] is True


def test_exposure_of_the_nearest_source_counts():
    seen = release(dssim=FAR)
    seen.arrays["worst_any_dssim"] = np.where(np.arange(N) < 20, 0.2, 0.84)

    assert row(seen).passes["exposed"] is False
    assert "nearest source" in row(seen).judgements["exposed"].words


@pytest.mark.parametrize(
    ("shown", "by_chance", "passes"), [(0, 0, True), (1, 0, False), (5, 1, True), (10, 1, False), (9, 9, True)]
)
def test_originals_shown_in_rows_that_hold_others_are_exposed(shown, by_chance, passes):
    """Of 200 originals and 200 distractors; 10 to 1 has p = .006, 5 to 1 has .11; 1 to 0 is one too many."""
    kept = release(dssim=FAR)
    kept.facts["wrong_rows"] = {
        "targets": 200, "shown": shown, "unlike_any": shown, "distractors": 200, "distractors_shown": by_chance,
    }  # fmt: skip

    found = row(kept)

    assert found.passes["exposed"] is passes
    assert passes or f"{shown} of 200 shown in images that do not hold them" in found.judgements["exposed"].words


def test_one_original_in_a_row_of_another_fails_where_nothing_else_comes_as_near():
    """Unlike anything that cannot show it, and no distractor is shown."""
    kept, plain = release(dssim=FAR), release(dssim=FAR)
    counts = {"targets": 200, "shown": 1, "distractors": 200, "distractors_shown": 0}
    kept.facts["wrong_rows"], plain.facts["wrong_rows"] = {**counts, "unlike_any": 1}, {**counts, "unlike_any": 0}

    assert row(kept).passes["exposed"] is False and row(plain).passes["exposed"] is True


def test_one_original_that_is_shown_fails_though_it_is_not_scored():
    kept = release(dssim=FAR)
    kept.facts["own_rows"] = {"originals": 600, "shown": 1}

    found = row(kept)

    assert found.passes["exposed"] is False and "1 of 600 shown, scored or not" in found.judgements["exposed"].words


def test_a_picture_in_all_rows_does_not_delete_its_own_null():
    """Of one original the worst case and the null are 0: every answer shows it."""
    first = np.arange(N) == 0
    poster = release(dssim=np.where(first, 0.0, 0.84), null=np.where(first, 0.0, NULL))
    unlike, plain = (replace(poster, arrays={**poster.arrays, "unseen_dssim": np.full(N, at)}) for at in (0.8, 0.1))

    assert row(unlike).passes["exposed"] is False and "1 below .05" in row(unlike).judgements["exposed"].words
    assert row(plain).passes["exposed"] is True


@pytest.mark.parametrize("fact", ["own_rows", "wrong_rows"])
def test_records_that_say_nothing_of_other_rows_are_not_judged(fact):
    older = release(dssim=FAR)
    del older.facts[fact]

    assert row(older).passes["exposed"] is None


@pytest.mark.parametrize("said", [{}, {"rehearsal": {"mismatch": None, "said": ["not compared"], "statistics": {}}}])
def test_a_row_whose_rehearsals_were_not_compared_is_not_judged(said):
    kept = release(dssim=FAR)
    del kept.facts["rehearsal"]

    found = row(replace(kept, facts={**kept.facts, **said}))

    assert "rehearsals to compare the releases with" in found.missing and not found.mismatch


@pytest.mark.parametrize("variant", ["", ANY])
def test_one_original_that_is_named_for_certain_is_exposed(variant):
    """By any embedding of the release, by an attack's picture, and by an attack that ranks the gallery itself."""
    name = f"{variant}reid_local_rank1"
    shown, answered = never_found(release(dssim=FAR)), attacked("peek", dssim=FAR)
    for record in (shown, answered):
        record.scores[name]["certain"] = 1

    found = row(shown)

    assert found.passes["exposed"] is False and found.passes["reidentified"] is True
    assert "1 of 200 named for certain by local features after no attack" in found.judgements["exposed"].words
    assert row(never_found(release(dssim=FAR)), answered).passes["exposed"] is False
    ranked = row(never_found(release(dssim=FAR)), matched(np.zeros(N), certain=3))
    assert "3 of 200 named for certain by its own ranking" in ranked.judgements["exposed"].words


def test_candidates_that_are_matched_are_re_identified():
    found = row(never_found(release(dssim=FAR)), matched(np.arange(N) < 60))

    assert found.passes["reidentified"] is False
    assert ".300 by its own ranking after candidate_matching" in found.judgements["reidentified"].words


def hits(record, count, chance=0.004, name="reid_rank1"):
    record = never_found(record)
    record.arrays[name] = (np.arange(len(record.arrays["originals"])) < count).astype(float)
    record.scores[name] = {"mean": count / N, "chance": chance}
    return record


def test_a_few_hits_are_no_breach_and_many_are():
    """Chance is .004 of 200."""
    assert row(hits(release(dssim=FAR), 2)).judgements["reidentified"].words.startswith("nobody")
    assert row(hits(release(dssim=FAR), 60)).passes["reidentified"] is False
    assert ".300 by thumbnails after no attack" in row(hits(release(dssim=FAR), 60)).judgements["reidentified"].words


def test_an_attack_that_finds_originals_again_is_named():
    found = row(never_found(release(dssim=FAR)), hits(attacked("peek", dssim=FAR), 190))

    assert found.reidentified["attack"] == "peek" and found.passes["reidentified"] is False


def test_an_embedding_that_was_not_measured_leaves_the_part_open():
    kept = never_found(release(dssim=FAR))
    *_, last = reidentifications()
    del kept.arrays[last]

    assert row(kept).passes["reidentified"] is None


def test_an_attack_that_was_not_ranked_by_an_embedding_leaves_the_part_open():
    *_, last = reidentifications()
    answered = attacked("peek", dssim=FAR)
    for name in (last, ANY + last):
        del answered.arrays[name]

    assert row(never_found(release(dssim=FAR)), answered).passes["reidentified"] is None


def test_originals_found_as_any_source_count():
    found = row(hits(release(dssim=FAR), 60, name="any_reid_histogram_rank1"))

    assert found.passes["reidentified"] is False
    assert ".300 by histogram as any source" in found.judgements["reidentified"].words


@pytest.mark.parametrize(("named", "passes"), [(40, True), (48, True), (120, False)])
def test_originals_found_in_images_that_do_not_hold_them_count(named, passes):
    """200 originals and 1,000 distractors, of which 200 are the most alike to some image: chance is .2."""
    kept = never_found(release(dssim=FAR))
    counts = {"targets": 200, "named": named, "distractors": 1000, "distractors_named": 200}
    kept.facts["elsewhere"] = {"reid_rank1": counts}

    found = row(kept)

    assert found.passes["reidentified"] is passes
    assert passes or ".500 by thumbnails in images that do not hold them" in found.judgements["reidentified"].words


def test_attacks_at_chance_raise_no_false_alarm_in_more_than_five_of_a_hundred():
    """Ten attacks by four embeddings on three seeds; hits that the seeds share, and hits that they do not.

    The seeds' smallest p-value times their number, then Holm: as `judgement.reidentified` makes them.
    """
    rng, n, chance, boards = np.random.default_rng(0), 500, 1 / 750, 2000
    for shared in (True, False):
        drawn = rng.binomial(n, chance, (boards, 40, 1 if shared else 3))
        p = binom.sf(drawn - 1, n, chance)
        alarms = (np.minimum(1, 3 * p.min(2)).min(1) * 40 < judgement.LEVEL).mean()
        assert alarms <= 0.05


def test_seeds_that_repeat_each_other_s_hits_are_no_more_evidence():
    """Three hits of 200 on each of three seeds: as one seed, not as nine hits of 600."""
    once = row(hits(release(dssim=FAR), 3))
    thrice = row(*(hits(release(dssim=FAR, seed=seed), 3) for seed in range(3)))

    assert thrice.reidentified["p"] == pytest.approx(min(1, 3 * once.reidentified["p"]))
    assert thrice.reidentified["n"] == N and thrice.reidentified["share"] == once.reidentified["share"]


def judged_by(record, grid):
    """The record, made by thumbnails of this many cells a side."""
    judges = [{"name": "identity", "version": 1, "params": {"grid": grid}}, {"name": "reidentification", "params": {}}]
    return replace(record, spec=RunSpec(record.spec.kind, {**record.inputs, "judges": judges}))


def test_figures_by_other_settings_of_an_evaluator_do_not_meet():
    """An embedding of 2 by 2 cells finds nobody: its release and its attacks are a board of their own."""
    strong, weak = release(dssim=FAR), hits(release(dssim=FAR, seed=1), 0)
    found = boards(
        [judged_by(hits(strong, 60), 8), judged_by(attacked("peek", dssim=FAR, seed=1), 2), judged_by(weak, 2)]
    )

    assert [board.rows[0].seeds for board in found] == [1, 1]
    assert sorted(bool(board.rows[0].attacks) for board in found) == [False, True]
    assert {board.rows[0].passes["reidentified"] for board in found} == {True, False}


def test_a_record_that_names_no_evaluator_goes_with_those_that_do():
    (board,) = boards([judged_by(release(dssim=FAR), 8), release(dssim=FAR, seed=1), attacked("peek", dssim=FAR)])

    assert board.rows[0].seeds == 2 and [attack.name for attack in board.rows[0].attacks] == ["peek"]


def leaking(records, count):
    """A complete row whose release shows some originals verbatim."""
    for record in records:
        if record.spec.kind == "release":
            record.arrays["worst_dssim"] = np.where(np.arange(N) < count, 0.0, record.arrays["worst_dssim"])
    return records


def test_a_scheme_that_shows_one_in_seven_verbatim_is_complete_and_does_not_pass():
    """Its mean is above the threshold, which is what it was ranked first by."""
    found = row(*leaking(complete("mostly_noise", 0.9, np.full(N, 0.84)), N // 7))

    assert found.missing == [] and found.worst["dssim"]["mean"] > 0.7
    assert found.passing is False and found.rank is None
    assert any("Does not pass: exposed" in text for text in verdict.on_row(found))


def test_a_rehearsal_that_does_not_match_is_not_judged_and_says_why():
    records = complete("cheat", 0.9)
    for record in records:
        if record.spec.kind == "release":
            record.facts["rehearsal"] = {"mismatch": True, "said": ["rehearsed SSIM 1.0, released .07"]}

    found = row(*records)

    assert found.rank is None and found.mismatch == ["rehearsed SSIM 1.0, released .07"]
    assert "rehearsals that match the releases" in found.missing


def test_a_recogniser_below_its_floor_is_missing():
    """`linear` finds three in four, the network one in two."""
    records = complete("mix", 0.9)
    for record in records:
        if record.inputs.get("attack", {}).get("name") == "linear":
            record.arrays["top1"] = (np.arange(N) % 4 > 0).astype(float)

    assert any("a recogniser not below the floor (cnn is below linear)" in text for text in row(*records).missing)


def test_the_undefended_row_holds_the_same_recogniser():
    plain = [r for r in complete("none", 0.95, np.zeros(N)) if r.inputs.get("attack", {}).get("name") != "cnn"]

    found = {each.defense: each for each in rows(*complete("mix", 0.9), *plain)}

    assert "cnn in row none" in found["mix"].missing


def test_at_one_release_the_best_single_release_attack_stands_for_linking():
    kept = [r for r in complete("mix", 0.9) if r.inputs.get("attack", {}).get("name") != "multi_release"]
    for record in kept:
        if record.spec.kind == "utility":
            record.spec.inputs["releases"] = 1

    assert row(*kept).missing == []


def test_the_best_single_attack_and_the_one_chosen_on_half_stand_beside_the_worst_case():
    """Each of two attacks shows the originals of one half of the hash: chosen on the other half, each shows nothing."""
    from harness.leaderboard.worst_case import _in_upper_half

    upper = np.array([_in_upper_half(at) for at in range(N)])
    one, other = np.where(upper, 0.1, 0.85), np.where(upper, 0.85, 0.1)

    found = row(release(dssim=FAR), attacked("one", dssim=one), attacked("other", dssim=other))

    assert 0.3 < upper.mean() < 0.7
    assert found.worst["dssim"]["mean"] == pytest.approx(0.1)
    assert found.single["mean"] == pytest.approx(min(one.mean(), other.mean()))
    assert found.chosen["mean"] == pytest.approx(0.85)


def test_a_record_of_several_guesses_that_names_no_first_is_not_compared():
    several = older(attacked("peek", dssim=FAR - 0.3))

    found = row(release(dssim=FAR), several)

    assert found.attacks[0].gain_over_release == {} and found.attacks[0].distances


@pytest.mark.parametrize(
    ("fact", "part"), [("wrong_rows", "exposed"), ("elsewhere", "reidentified"), ("rehearsal", None)]
)
def test_what_no_record_says_is_not_judged(fact, part):
    """Absent is not the same as nothing found: a row does not pass by what was not measured."""
    made = complete("mix", 0.8, dssim=FAR)
    for each in made:
        if each.spec.kind == "release" and each.inputs["seed"] == 1:
            del each.facts[fact]

    whole, lacking = row(*complete("mix", 0.8, dssim=FAR)), row(*made)

    assert not whole.missing and whole.passes["exposed"] and whole.passes["reidentified"]
    assert lacking.passes[part] is None if part else lacking.missing == ["rehearsals to compare the releases with"]
