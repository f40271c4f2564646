"""A sweep file is all combinations of its lists and ranges, and nothing that it says is misread."""

from __future__ import annotations

import json

import pytest

from harness.cli import main
from harness.errors import HarnessError
from harness.records import RunResult, RunSpec
from harness.registry import load_registry
from harness.report.run_summary import cost_of
from harness.run.engine import run
from harness.run.sweep import crosses
from tests.helpers.planted import picture_folder

REGISTRY = load_registry()


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = picture_folder(tmp_path / "stripes", each=10)

    def read(text: str, **options):
        file = tmp_path / "sweep.yaml"
        file.write_text(f"dataset: {data}\nsize: 16\nutility: false\n{text}" if "dataset" not in text else text)
        return crosses(file, REGISTRY, tmp_path / "records", **options)

    return read


def chosen(entries, knob):
    return [{**entry.params, **entry.mixing}[knob] for entry in entries]


def test_lists_and_ranges_are_every_combination(sweep):
    (one,) = sweep(
        "attacks: [smooth]\n"
        "defenses: [{noise_mix: {sigma: {from: 10, to: 20, step: 5}, weights: ['0.5,0.5', '0.75,0.25']}}]"
    )

    assert chosen(one.defenses, "sigma") == [10, 10, 15, 15, 20, 20]
    assert chosen(one.defenses, "weights") == [[0.5, 0.5], [0.75, 0.25]] * 3


def test_a_flat_list_for_weights_is_one_vector_and_lists_in_a_list_are_several(sweep):
    (one,) = sweep("attacks: [smooth]\ndefenses: [{mix: {weights: [0.6, 0.4]}}]")
    (two,) = sweep("attacks: [smooth]\ndefenses: [{mix: {weights: [[0.6, 0.4], [0.5, 0.5]]}}]")

    assert chosen(one.defenses, "weights") == [[0.6, 0.4]]
    assert chosen(two.defenses, "weights") == [[0.6, 0.4], [0.5, 0.5]]


def test_mixing_is_for_every_defense_that_mixes(sweep):
    (one,) = sweep("attacks: [smooth]\nmixing: {intra_class: [false, true]}\ndefenses: [none, mix, shuffle_mix]")

    assert [(entry.name, entry.mixing["intra_class"]) for entry in one.defenses] == [
        ("none", False),
        ("mix", False),
        ("mix", True),
        ("shuffle_mix", False),
        ("shuffle_mix", True),
    ]


def test_epochs_and_limits_are_crosses_on_data_that_are_loaded_once(sweep):
    found = sweep("attacks: [smooth]\ndefenses: [mix]\nepochs: [1, 3]\nlimit: [6, 9]\nseeds: [4, 7]")

    assert sorted((cross.options.limit, cross.bench.epochs) for cross in found) == [(6, 1), (6, 3), (9, 1), (9, 3)]
    by_limit = {limit: {id(c.bench.splits) for c in found if c.options.limit == limit} for limit in (6, 9)}
    assert all(len(sets) == 1 for sets in by_limit.values())
    assert {piece.seed for piece in found[0].pieces} == {4, 7}


def test_a_sweep_writes_the_records_of_harness_run(sweep, tmp_path):
    found = sweep("attacks: [smooth]\ndefenses: [mix, {noise_mix: {sigma: [5, 30]}}]\nepochs: [1, 2]")

    cells = [cell for each in run(found) for cell in each]

    assert [(cell.defense.name, cell.epochs, cell.status) for cell in cells] == [
        (name, epochs, "ok") for epochs in (1, 2) for name in ("mix", "noise_mix", "noise_mix")
    ]
    distances = [cell.scores["dssim"]["mean"] for cell in cells[1:3]]
    assert distances[0] < distances[1]  # 5 hides less than 30


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("attacks: [smooth]", "defenses is missing; add it"),
        ("defenses: [mix]\nattacks: [smooth]\nepoch: 3", "no field 'epoch'; did you mean 'epochs'?"),
        ("defenses: [mixx]\nattacks: [smooth]", "no defense called 'mixx'; did you mean 'mix'?"),
        ("defenses: [{mix: {sigma: 3}}]\nattacks: [smooth]", "mix: no knob called 'sigma'"),
        ("defenses: [{mix: 3}]\nattacks: [smooth]", "defenses.#1.mix: expected its knobs as a table, got 3"),
        ("defenses: [{noise_mix: {sigma: []}}]\nattacks: [smooth]", "an empty list"),
        ("defenses: [{noise_mix: {sigma: {from: 3, to: 1, step: 1}}}]\nattacks: [smooth]", "write {from: 5, to: 25"),
        ("defenses: [{noise_mix: {sigma: {from: 3, to: 9}}}]\nattacks: [smooth]", "write {from: 5, to: 25"),
        ("defenses: [{noise_mix: {sigma: {from: 0, to: 9, step: 1e-9}}}]\nattacks: [smooth]", "use a larger step"),
        (
            "defenses: [mix]\nattacks: [smooth]\nepochs: ten",
            "epochs: expected a whole number, a list of them, or a range",
        ),
        ("defenses: [mix]\nattacks: [smooth]\nepochs: [1, 0]", "epochs 0 is too few"),
        ("defenses: [mix]\nattacks: [smooth]\nseeds: [1, 1]", "a list of different whole numbers"),
        ("defenses: [mix]\nattacks: [smooth]\nlimit: true", "limit: expected a whole number, a list of them"),
        ("defenses: [mix]\nattacks: [smooth]\ndataset: nowhere", "nowhere"),
        ("defenses: [mix\nattacks: [smooth]", "not YAML"),
        ("defenses: [{mix: {weights: 0.5,0.5}}]\nattacks: [smooth]", "0.5 as a name; names are text: quote it"),
        ("defenses: [{mix: {on: 1}}]\nattacks: [smooth]", "on is true or text; write true, or quote it"),
        ("defenses: [{mix: {1: 2}}]\nattacks: [smooth]", "1 as a name"),
        ("defenses: [{mix: {'a=b': '1'}}]\nattacks: [smooth]", "no knob called 'a=b'"),
        ("defenses: [[mix]]\nattacks: [smooth]", "defenses.#1: expected"),
        ("defenses: [mix]\nattacks: 3", "attacks: expected"),
        ("defenses: [mix]\nattacks: [smooth]\nmixing: intra_class", "mixing: expected a table or nothing"),
        ("defenses: [mix]\nattacks: [smooth]\nmixing: {intra_clas: [true]}", "no knob called 'intra_clas'"),
        ("defenses: [mix]\nattacks: [smooth]\nseeds: 1000000000", "seeds 1000000000 is too many; use 1,000"),
        ("defenses: [mix]\nattacks: [smooth]\nseeds: [-1]", "seeds.#1: expected a whole number, 0 or more"),
        ("defenses: [mix]\nattacks: [smooth]\nseeds: 1e9", "seeds: expected how many, or a list"),
        ("defenses: [mix]\nattacks: [smooth]\ntargets: 9999999999", "targets 9999999999 is too many"),
        ("defenses: [mix]\nattacks: [smooth]\nepochs: 010", "010 is in base 8"),
        ("defenses: [mix]\nattacks: [smooth]\ndevice: no", "no is false or text; write false"),
        ("defenses: [mix]\nattacks: [smooth]\nepochs: {from: 1, to: .inf, step: 1}", ".inf is no finite number"),
        ("defenses: [mix]\nattacks: [smooth]\nepochs: {from: 1, to: 9}", "epochs: step is missing"),
        ("defenses: [mix]\nattacks: [smooth]\nepochs: {from: 1, to: 900000000, step: 1}", "use a larger step"),
        ("defenses: [mix]\nattacks: [smooth]\npublic_share: {from: 0, to: 1, step: 1e-300}", "use a larger step"),
        (
            "defenses: [mix]\nattacks: [smooth]\nepochs: {from: 1, to: 900, step: 1}\n"
            "releases: {from: 1, to: 9, step: 1}",
            "8,100 combinations of dataset, size, epochs, releases; 1,000 at most are run",
        ),
        (
            "defenses: [{noise_mix: {sigma: {from: 1, to: 900, step: 1}, "
            "weights: {from: 0, to: 900, step: 1}}}]\nattacks: [smooth]",
            "combinations of knobs of noise_mix",
        ),
        ("defenses: [{noise_mix: {sigma: {from: 0, to: 1e300, step: 1}}}]\nattacks: [smooth]", "write {from: 5"),
        ("defenses: [{mix: {weights: [[1" + "0" * 400 + ", 0.0]]}}]\nattacks: [smooth]", "a number of 401 letters"),
        ("defenses: [{mix: {weights: [[1" + "0" * 17 + ", 0.0]]}}]\nattacks: [smooth]", "finite numbers of 0 or more"),
        ("defenses: mix\nattacks: {cnn: {train_epochs: [2, 0]}}", "train_epochs 0 is too few"),
        ("defenses: mix\nattacks: {cnn: {arch: ../../x}}", "no network called '../../x'"),
        ("defenses: mix\nattacks: smooth\nmodel: resnet81", "no network called 'resnet81'"),
        ("just text", "holds no table"),
        ("[]", "holds no table"),
    ],
)
def test_a_wrong_table_is_refused_in_one_line_that_names_the_file(sweep, tmp_path, text, said):
    if text in ("just text", "[]"):
        (tmp_path / "sweep.yaml").write_text(text)
    with pytest.raises(HarnessError) as refused:
        if text in ("just text", "[]"):
            crosses(tmp_path / "sweep.yaml", REGISTRY, tmp_path / "records")
        else:
            sweep(text)

    assert said in str(refused.value) and "sweep.yaml" in str(refused.value) and "\n" not in str(refused.value)


def test_the_command_plans_and_runs_and_finds_everything_done(sweep, tmp_path, capsys):
    sweep("attacks: [smooth]\ndefenses: [mix]")
    arguments = ["sweep", str(tmp_path / "sweep.yaml"), "--records", str(tmp_path / "records"), "--json"]

    assert main([*arguments, "--dry-run"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [item["done"] for item in plan["plan"]] == [False] * 3 and plan["cost"]["unknown"] == 3
    assert main(arguments) == 0
    assert [cell["status"] for cell in json.loads(capsys.readouterr().out)["cells"]] == ["ok"]
    assert main([*arguments, "--dry-run"]) == 0
    assert all(item["done"] for item in json.loads(capsys.readouterr().out)["plan"])


# What it costs


def spec(private: int, epochs: int = 1, attack: str = "smooth") -> RunSpec:
    data = {"private": private, "height": 10, "width": 10}
    return RunSpec("attack", {"dataset": data, "device": "cpu", "epochs": epochs, "attack": {"name": attack}})


def test_a_cost_is_that_of_similar_pieces_by_pixels_and_epochs():
    known = [RunResult(spec(100), "ok", seconds=seconds) for seconds in (1.0, 2.0, 90.0)]

    cost = cost_of([spec(300), spec(100, epochs=4), spec(100, attack="cnn")], known)

    assert cost.seconds == pytest.approx(3 * 2 + 4 * 2)
    assert (cost.known, cost.unknown) == (2, 1)
    assert cost.text(2) == "2 pieces remaining take about 14 s of work, on 2 workers 7 s; 1 more pieces of unknown cost"


def test_a_piece_that_was_never_done_has_no_known_cost():
    assert "not known" in cost_of([spec(1)], []).text(2)
    assert cost_of([], []).text(2) == "nothing is left to run"
    assert cost_of([spec(300)], [RunResult(spec(0), "ok", seconds=1.0)]).known == 1  # a foreign record of no images


def test_a_name_is_for_one_data_set(sweep, tmp_path):
    (one,) = sweep("attacks: [smooth]\ndefenses: [mix]\nname: my stripes")
    assert one.bench.splits.name == "my stripes"

    twice = [str(tmp_path / "stripes"), "photos"]
    with pytest.raises(HarnessError, match="name 'my stripes' is for one data set, and dataset lists several"):
        sweep(f"dataset: {json.dumps(twice)}\nattacks: [smooth]\ndefenses: [mix]\nname: my stripes")
