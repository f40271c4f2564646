"""A record is enough to run its piece again, and the result is compared number by number."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from harness.cli import main
from harness.records import Records, RunResult, RunSpec
from harness.records.provenance import resolved
from harness.records.store import read_all, read_one
from harness.registry import load_registry
from harness.run.rerun import compare, entry_of, options_of
from harness.run.stated import ABSENT, differences
from harness.scores import INDEXES
from harness.statistics import summarise
from tests.helpers.planted import picture_folder
from tests.report.test_files import snapshot

RUN = ["run", "--defense", "noise_mix", "--attack", "smooth,mean_image", "-D", "sigma=60", "-D", "weights=0.6,0.4"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of pictures, and the records of a small run on it."""
    with pytest.MonkeyPatch.context() as patch:
        place = tmp_path_factory.mktemp("rerun")
        patch.setenv("XDG_CACHE_HOME", str(place / "cache"))
        pictures = picture_folder(place / "stripes", size=20)
        few = ["--limit", "24", "--size", "16", "--targets", "20", "--epochs", "2", "--workers", "1"]
        assert main([*RUN, "--dataset", str(pictures), *few, "--records", str(place / "records")]) == 0
        yield place


@pytest.fixture
def rerun(made, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(made / "cache"))

    def call(record, *arguments, data=made / "stripes"):
        folder = ["--dataset", str(data)] if data else []
        code = main(["rerun", str(record), *folder, *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def one(made, kind: str, defense: str = "noise_mix", attack: str | None = None) -> RunResult:
    names = [defense, *([attack] if attack else [])]
    (found,) = [each for each in read_all(made / "records") if each.spec.kind == kind and each.spec.names == names]
    return found


def written(folder, record: RunResult, inputs=None, **changes):
    """The record with other inputs or numbers, in a folder of its own; its file."""
    spec = RunSpec(record.spec.kind, {**record.inputs, **(inputs or {})})
    Records(folder).write(replace(record, spec=spec, **changes))
    return folder / f"{spec.key}.json"


OTHER_CODE = {"code": "before"}


def with_numbers(record: RunResult, name: str, values, proportion: bool | None = False) -> RunResult:
    """The record with another array and the score that follows from it."""
    score = record.scores[name]
    units = replace(record, arrays={**record.arrays, name: values}).numbers(name)[1]
    score = {**score, **summarise(values, units=units, proportion=proportion)}
    if "corrected" in score:
        score["corrected"] = (score["mean"] - score["chance"]) / (1 - score["chance"])
    arrays = {**record.arrays, name: values}
    return replace(record, arrays=arrays, scores={**record.scores, name: score})


def refused(answer, *words):
    code, out, err = answer
    assert (code, out) == (2, ""), err
    line = err.splitlines()[-1]
    assert line.startswith("harness: ") and "Traceback" not in err
    assert all(word in line for word in words), line


@pytest.mark.parametrize(
    ("kind", "attack"), [("release", None), ("utility", None), ("attack", "smooth"), ("attack", "mean_image")]
)
def test_under_the_same_code_figures_are_equal_bit_for_bit_and_nothing_is_written(made, rerun, kind, attack):
    before = snapshot(made / "records")

    code, out, err = rerun(one(made, kind, attack=attack).spec.key[:10], "--records", made / "records")

    assert (code, "agrees bit for bit" in out) == (0, True), out + err
    assert "differ" not in out
    assert snapshot(made / "records") == before


def test_a_figure_that_was_changed_in_the_record_does_not_agree(made, rerun, tmp_path):
    record = one(made, "release")
    arrays = {**record.arrays, "dssim": record.arrays["dssim"] + 1e-9}

    code, out, _ = rerun(written(tmp_path, record, arrays=arrays))

    assert code == 3
    assert "though nothing that it depends on has changed" in out and "rounding alone" in out


@pytest.mark.parametrize("field", ["facts", "scores"])
def test_what_a_record_says_of_its_figures_is_compared_too(made, rerun, tmp_path, field):
    record = one(made, "release")
    name = next(iter(record.scores))
    said = {
        "facts": {**record.facts, "forged": True},
        "scores": {**record.scores, name: {**record.scores[name], "mean": 0.987}},
    }

    code, out, _ = rerun(written(tmp_path, record, **{field: said[field]}))

    assert code == 3 and f"{field}." in out and "the record says" in out
    assert "agrees bit for bit" not in out


@pytest.mark.parametrize(("name", "value"), [("threads", 10**9), ("releases", 10**6)])
def test_counts_that_are_out_of_bounds_are_refused(made, rerun, tmp_path, name, value):
    refused(rerun(written(tmp_path, one(made, "release"), {name: value})), "too many")


def test_under_other_code_rounding_agrees_and_the_input_is_named(made, rerun, tmp_path):
    record = one(made, "release")
    arrays = {**record.arrays, "dssim": record.arrays["dssim"] + 1e-9}
    other = {"code": "before", "versions": {**record.inputs["versions"], "torch": "1.0"}}

    code, out, _ = rerun(written(tmp_path, record, other, arrays=arrays))

    assert code == 0
    assert "code: before -> " in out and "versions.torch: 1.0 -> " in out and "rounding alone" in out


def test_under_other_code_a_figure_that_moved_does_not_agree_and_is_shown_with_its_interval(made, rerun, tmp_path):
    record = one(made, "release")
    arrays = {**record.arrays, "dssim": record.arrays["dssim"] + 0.05}

    code, out, _ = rerun(written(tmp_path, record, {"code": "before"}, arrays=arrays), "--json")

    found = json.loads(out)
    moved = {each["name"]: each for each in found["figures"]}
    assert (code, found["agrees"], found["exact"]) == (3, False, False)
    assert moved["dssim"]["difference"]["mean"] == pytest.approx(-0.05)
    assert moved["dssim"]["difference"]["high"] < 0 and not moved["dssim"]["agrees"]
    assert moved["dhaar"]["equal"] and moved["dhaar"]["agrees"]
    assert found["inputs"] == [{"name": "code", "record": "before", "now": record.inputs["code"]}]


def test_under_other_code_a_difference_that_is_not_significant_agrees(made, rerun, tmp_path):
    record = one(made, "release")
    noise = np.random.default_rng(2).normal(0, 0.02, len(record.arrays["dssim"]))
    noise -= noise.mean()

    code, out, _ = rerun(written(tmp_path, with_numbers(record, "dssim", record.arrays["dssim"] + noise), OTHER_CODE))

    assert code == 0 and "agrees as far as the images can tell" in out


# What is said of the figures


def test_what_a_record_does_not_say_does_not_agree(made, rerun, tmp_path):
    record = one(made, "release")
    facts = {name: value for name, value in record.facts.items() if name != "rehearsal"}

    code, out, _ = rerun(written(tmp_path, record, facts={**facts, "elsewhere": {}}), "--json")

    found = json.loads(out)
    said = {each["name"]: each for each in found["stated"]}
    assert (code, found["agrees"], found["exact"]) == (3, False, False)
    assert set(said) == {"facts.rehearsal", *(f"facts.elsewhere.{name}" for name in record.facts["elsewhere"])}
    assert "record" not in said["facts.rehearsal"] and said["facts.rehearsal"]["now"] == record.facts["rehearsal"]


def without(table, name):
    return {key: value for key, value in table.items() if key != name}


FORGED = {
    "a fact removed": lambda record: {"facts": without(record.facts, "released")},
    "a fact called nothing": lambda record: {"facts": {**record.facts, "released": "nothing"}},
    "a fact called not stated": lambda record: {"facts": {**record.facts, "released": "(not stated)"}},
    "a part of a fact removed": lambda record: {
        "facts": {**record.facts, "elsewhere": without(record.facts["elsewhere"], "reid_rank1")}
    },
    "a fact added that is called nothing": lambda record: {"facts": {**record.facts, "mine": "nothing"}},
    "false for 0": lambda record: {"facts": json.loads(json.dumps(record.facts).replace(": 0,", ": false,"))},
    "a score removed": lambda record: {"scores": without(record.scores, "worst_dssim")},
    "a part of a score removed": lambda record: {
        "scores": {**record.scores, "dssim": without(record.scores["dssim"], "low")}
    },
    "a score added": lambda record: {"scores": {**record.scores, "mine": record.scores["dssim"]}},
    "a score without its array": lambda record: {
        "scores": {**record.scores, "dssim": {**record.scores["dssim"], "mean": 0.999}},
        "arrays": without(record.arrays, "dssim"),
    },
    **{
        f"{key} of {name}": lambda record, name=name, key=key: {
            "scores": {**record.scores, name: {**record.scores[name], key: 0.999}}
        }
        for name in ("dssim", "worst_dssim", "null_dssim", "reid_rank1", "any_reid_rank1")
        for key in ("mean", "low", "high", "p5", "min")
    },
    "a chance": lambda record: {"scores": {**record.scores, "reid_rank1": forged_chance(record.scores["reid_rank1"])}},
    "beyond chance": lambda record: {
        "scores": {**record.scores, "reid_rank1": {**record.scores["reid_rank1"], "corrected": 0.999}}
    },
}


def forged_chance(score):
    return {**score, "chance": 0.5, "corrected": (score["mean"] - 0.5) / 0.5}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_forged_statements_are_found_under_the_same_code_and_under_other_code_with_other_numbers(made, forge):
    record, *others = honest(made)
    for each in (record, *others):
        found = compare(replace(each, **forge(each)), record)
        assert found.stated and not found.agrees


def test_the_same_records_as_they_are_agree(made):
    record, *others = honest(made)

    assert compare(record, record).exact and all(compare(each, record).agrees for each in others)


def honest(made) -> list[RunResult]:
    """A record, the same of other code, and that with numbers that are rounded otherwise."""
    record = one(made, "release")
    other = replace(record, spec=RunSpec("release", {**record.inputs, **OTHER_CODE}))
    moved = {name: barely_moved(values) for name, values in record.arrays.items()}
    return [record, other, replace(other, arrays=moved)]


def barely_moved(values):
    """One distance is another, by what rounding can do."""
    if values.dtype.kind != "f" or values.ndim != 1 or np.isin(values, (0, 1)).all():
        return values
    moved = values.copy()
    moved[0] += 1e-9 if moved[0] < 0.5 else -1e-9
    return moved


def test_hits_that_moved_have_the_interval_of_a_proportion(made):
    """Of the record's own hits, and the chance of its own releases where other code has made them."""
    record = one(made, "release")
    hits = record.arrays["reid_rank1"].copy()
    hits[0] = 1 - hits[0]
    moved = with_numbers(record, "reid_rank1", hits, proportion=None)
    moved = replace(moved, spec=RunSpec("release", {**record.inputs, **OTHER_CODE, "release": "before"}))
    forged = replace(moved, scores={**moved.scores, "reid_rank1": record.scores["reid_rank1"]})

    assert compare(moved, record).agrees and not compare(moved, record).exact
    assert [name for name, *_ in compare(forged, record).stated][:1] == ["scores.reid_rank1.mean"]


def test_floats_that_are_no_summary_of_numbers_may_differ_where_these_do(made):
    """A loss after other rounding."""
    record = one(made, "utility")
    other = replace(record, spec=RunSpec("utility", {**record.inputs, **OTHER_CODE}), facts={"loss": 0.5})

    assert not compare(other, replace(record, facts={"loss": 0.6})).agrees  # all numbers are the same
    moved = with_numbers(other, "utility", 1.0 - np.eye(1, len(record.arrays["utility"]))[0], proportion=None)
    near = with_numbers(record, "utility", np.ones(len(record.arrays["utility"])), proportion=None)
    assert compare(moved, replace(near, facts={"loss": 0.6})).agrees
    assert not compare(moved, replace(near, facts={"loss": True})).agrees


def test_a_record_without_data_options_is_run_with_options_guessed_from_its_data_set(made, rerun, tmp_path):
    """24 private images of 16 pixels, as the first records say it."""
    code, out, err = rerun(written(tmp_path, one(made, "release"), asked={}))

    assert (code, "agrees bit for bit" in out) == (0, True), out + err


def test_the_callers_data_options_come_before_those_of_the_record(made):
    record = one(made, "release")

    order = options_of(record, load_registry(), {"dataset": "here", "size": 48})

    assert (order.dataset, order.size, order.limit) == ("here", 48, 24)
    assert (order.targets, order.device) == (20, "cpu")


def test_knobs_and_mixing_are_those_of_the_record(made):
    kept = one(made, "release").inputs["defense"]

    entry = entry_of("defenses", kept, load_registry())

    assert resolved(entry) == kept and entry.params["sigma"] == 60


@pytest.mark.parametrize("how", ["gone", "cut", "bare"])
def test_a_damaged_record_is_refused_and_left_as_it_is(made, rerun, tmp_path, how):
    file = written(tmp_path, one(made, "release"))
    if how == "gone":
        file.unlink()
    elif how == "cut":
        file.write_text(file.read_text()[:200])
    else:
        file.with_suffix(".npz").unlink()
    before = snapshot(tmp_path)

    refused(rerun(file), file.name)

    assert snapshot(tmp_path) == before


def test_other_images_are_refused_with_both_fingerprints(made, rerun, tmp_path):
    """A picture more is another data set."""
    other = picture_folder(tmp_path / "stripes", each=26, size=20)
    record = one(made, "release")

    refused(rerun(record.spec.key, "--records", made / "records", data=other), record.inputs["dataset"]["fingerprint"])


def test_a_folder_that_was_read_on_this_machine_is_found_again(made, rerun):
    record = one(made, "release")

    code, out, err = rerun(record.spec.key, "--records", made / "records", data=None)

    assert (code, "agrees bit for bit" in out) == (0, True), out + err
    assert str(made) not in (made / "records" / f"{record.spec.key}.json").read_text()


def test_the_folder_of_a_data_set_must_be_named(made, rerun, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # of a user who has not read it

    refused(rerun(one(made, "release").spec.key, "--records", made / "records", data=None), "stripes", "--dataset")


def test_a_plugin_that_is_gone_is_named(made, rerun, tmp_path):
    record = one(made, "release")
    file = written(tmp_path, record, {"defense": {**record.inputs["defense"], "name": "gone_mix"}})

    refused(rerun(file), "gone_mix")


def test_a_knob_that_is_gone_is_named(made, rerun, tmp_path):
    record = one(made, "release")
    defense = {**record.inputs["defense"], "params": {**record.inputs["defense"]["params"], "strength": 3}}

    refused(rerun(written(tmp_path, record, {"defense": defense})), "strength")


@pytest.mark.parametrize(("key", "named"), [("", "RECORD"), ("zz", "record"), ("../x", "record")])
def test_a_key_that_names_no_record_or_several_is_refused(made, rerun, key, named):
    refused(rerun(key, "--records", made / "records"), named)


def test_a_cell_that_works_now_and_failed_then_does_not_agree(made, rerun, tmp_path):
    record = one(made, "attack", attack="smooth")
    file = written(tmp_path, record, {"code": "before"}, status="failed", reason="burst", arrays={}, scores={})

    code, out, _ = rerun(file)

    assert code == 3 and "status: failed -> ok" in out


# The comparison itself


def test_inputs_that_differ_are_named_by_their_path():
    then = {"a": 1, "versions": {"x": "1", "y": "2"}, "judges": [{"name": "eye", "version": 1}], "sizes": [1, 2]}
    now = {"a": 1, "versions": {"x": "1", "y": "3"}, "judges": [{"name": "eye", "version": 2}], "sizes": [1, 3], "b": 0}

    twice = [{"name": "eye", "version": 9}, {"name": "eye", "version": 1}]
    assert list(differences({"judges": twice}, {"judges": twice[1:]})) == [("judges", twice, twice[1:])]
    assert list(differences([{"name": []}], [{"name": 1}])) == [("", [{"name": []}], [{"name": 1}])]
    assert list(differences(then, now)) == [
        ("versions.y", "2", "3"),
        ("judges.eye.version", 1, 2),
        ("sizes", [1, 2], [1, 3]),
        ("b", ABSENT, 0),
    ]


def test_figures_of_other_originals_are_not_compared(made):
    record = one(made, "release")
    moved = {name: record.arrays[name] + 1 for name in INDEXES}
    other = replace(record, arrays={**record.arrays, **moved})

    found = compare(record, other)

    assert found.figures == [] and set(found.missing) == set(record.arrays) and not found.agrees


def test_an_additional_figure_agrees_under_other_code(made):
    record = one(made, "release")
    spec = RunSpec("release", {**record.inputs, "code": "after"})
    more = {**record.arrays, "new": record.arrays["dssim"]}

    assert compare(record, replace(record, spec=spec, arrays=more)).agrees
    assert not compare(record, replace(record, arrays=more)).agrees
    assert not compare(replace(record, arrays=more), replace(record, spec=spec)).agrees


def test_a_record_is_found_by_the_beginning_of_its_key(made):
    record = one(made, "utility")

    assert read_one(record.spec.key[:8], made / "records").spec == record.spec
