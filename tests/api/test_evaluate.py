"""`harness.evaluate` from one's own program: the document of the command, its verdict, table and figures."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import harness
from harness import AttackPlugin, Evaluation, HarnessError
from harness.cli import main
from harness.images import average
from harness.types import Guess
from tests.helpers.paths import ROOT
from tests.helpers.planted import picture_folder, stripes

IMAGES, LABELS = stripes(90)
QUICK = {"utility": False, "epochs": 1, "threads": 1}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("evaluate")


@pytest.fixture(autouse=True)
def own_cache(place, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "cache"))


def fade(sources, weights, rng, *, strength=0.5):
    return average(sources, weights) * strength


def brightened(observation, rng, *, factor=2.0):
    images = observation.images[observation.targets].float() * factor
    return Guess(candidates=images.clamp(0, 255).round().to(torch.uint8)[:, None])


@pytest.fixture(scope="module")
def evaluated(place):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(place / "cache"))
        return harness.evaluate(
            [fade, "none"],
            [AttackPlugin(brightened, granted=()), "look"],
            (IMAGES, LABELS),
            records=place / "own",
            **QUICK,
        )


def test_it_equals_what_the_command_prints(place, capsys):
    folder, records = picture_folder(place / "stripes", each=20), place / "records"
    options = ["--dataset", str(folder), "--records", str(records), "--epochs", "1", "--threads", "1", "--no-utility"]

    harness.evaluate(["mix", "none"], "look", folder, records=records, **QUICK)
    assert main(["run", "--defense", "mix,none", "--attack", "look", "--json", *options]) == 0
    printed = json.loads(capsys.readouterr().out)
    result = harness.evaluate(["mix", "none"], "look", folder, records=records, **QUICK)

    assert isinstance(result, Evaluation) and result == printed
    assert dict(result) == printed and json.loads(json.dumps(dict(result))) == printed


def test_an_attack_that_undoes_a_defense_is_scored_so(evaluated):
    """The mixture at half contrast, made twice as bright, is the mixture: .75 of the original and .25 of another."""
    scores = {(cell["defense"], cell["attack"]): cell["scores"] for cell in evaluated["cells"]}

    assert [cell["status"] for cell in evaluated["cells"]] == ["ok"] * 4
    assert scores["fade", "look"]["attacked_dssim"]["mean"] == pytest.approx(
        scores["fade", "look"]["dssim"]["mean"], abs=1e-5
    )
    assert (
        scores["fade", "brightened"]["attacked_dssim"]["mean"] < scores["fade", "look"]["attacked_dssim"]["mean"] - 0.1
    )
    assert scores["none", "look"]["attacked_dssim"]["mean"] == pytest.approx(0, abs=1e-5)


def test_the_verdict_is_that_of_the_document(evaluated):
    first, second = evaluated.verdict.split("\n\n")

    assert first.startswith("fade (strength=0.5 weights=0.75,0.25), 1 release, 5")
    assert second.startswith("none, 1 release") and "exposed: 54 of 54" in second
    assert " ".join(first.split()) == " ".join(" ".join(evaluated["verdicts"][0]["text"]).split())
    assert max(map(len, first.splitlines())) <= 79
    assert evaluated["verdicts"][1]["passes"]["exposed"] is False


def test_the_table_has_a_row_for_each_cell(evaluated):
    table = evaluated.to_dataframe()

    assert table[["defense", "attack", "seed", "status"]].values.tolist() == [
        [cell["defense"], cell["attack"], cell["seed"], "ok"] for cell in evaluated["cells"]
    ]
    assert table["defense_settings"][0].startswith("strength=0.5 weights=0.75,0.25")
    assert table["attack_settings"][0] == "factor=2.0"
    score = evaluated["cells"][0]["scores"]["dssim"]
    assert (table["dssim"][0], table["dssim_low"][0], table["dssim_n"][0]) == (score["mean"], score["low"], score["n"])


def test_figures_show_the_defenses_by_name(evaluated):
    figure = evaluated.plot()

    words = " ".join(text.get_text() for text in figure.findobj(lambda each: hasattr(each, "get_text")))
    assert "fade" in words and "brightened" in words and "worst case" in words
    with pytest.raises(HarnessError, match="there is no figure 'pie' of this evaluation; there are attacks"):
        evaluated.plot("pie")


def test_records_are_a_table(evaluated, place):
    table = harness.load_records(place / "own")

    assert len(table) == len(list((place / "own").glob("*.json")))
    attacks = table[table["kind"] == "attack"].set_index(["defense", "attack"])
    cells = {(cell["defense"], cell["attack"]): cell["scores"]["attacked_dssim"]["mean"] for cell in evaluated["cells"]}
    assert {key: attacks["attacked_dssim"][key] for key in cells} == cells
    assert set(table["status"]) == {"ok"} and set(table["seed"]) == {0}
    assert table["dataset"].str.startswith("images-").all() and table["fingerprint"].nunique() == 1


def test_what_is_recorded_is_not_run_again_and_an_edited_function_is(evaluated, place):
    def count():
        return len(list((place / "own").glob("*.json")))

    before = count()
    again = harness.evaluate(
        [fade, "none"], [AttackPlugin(brightened, granted=()), "look"], (IMAGES[::-1].copy(), LABELS[::-1].copy()),
        records=place / "own", **QUICK,
    )  # fmt: skip

    def without_seconds(result):
        return [{key: value for key, value in cell.items() if key != "seconds"} for cell in result["cells"]]

    assert without_seconds(again) == without_seconds(evaluated) and again["verdicts"] == evaluated["verdicts"]
    assert count() == before

    def fade_more(strength):
        def fade(sources, weights, rng):
            return average(sources, weights) * strength

        return fade

    harness.evaluate(fade_more(0.25), "look", (IMAGES, LABELS), records=place / "own", **QUICK)
    assert count() == before + 2  # a release and an attack on it


def test_workers_run_functions_and_images_of_the_callers_script(place):
    """As a script, whose own functions no other process can import: and it is not run again."""
    script = place / "own_scheme.py"
    script.write_text(
        f"""
import harness, torch
from harness.images import average
SHADE = 0.25
def helper(images):
    return images * SHADE
def darken(sources, weights, rng, *, by=2):
    return helper(average(sources, weights)) / by
print("begun")
images = torch.rand(60, 3, 16, 16, generator=torch.Generator().manual_seed(0))
result = harness.evaluate([darken, "none"], ["look", "wiener"], (images, torch.arange(60) % 2), workers=2,
                          utility=False, epochs=1, records={str(place / "script")!r})
print(result, result["cells"][0]["dataset"][:7])
"""
    )
    ran = subprocess.run([sys.executable, script], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)

    assert (ran.returncode, ran.stdout) == (0, "begun\n<Evaluation of 4 cells: 4 ok> images-\n"), ran.stderr


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"epoch": 3}, "evaluate takes no argument 'epoch'; did you mean 'epochs'"),
        ({"zzz": 3}, "evaluate takes no argument 'zzz'; it takes defense, attack, dataset, defense_settings"),
        ({"epochs": "ten"}, "epochs is 'ten'; expected a whole number"),
        ({"epochs": True}, "epochs is true; expected a whole number"),
        ({"epochs": 0}, "epochs 0 is too few; use 1 or more"),
        ({"releases": 3}, "releases 3 is more than epochs 1"),
        ({"seeds": "all"}, "seeds is 'all'; expected how many, or a list of them"),
        ({"seeds": [0, -1]}, "seed -1 is too small"),
        ({"size": 2.5}, "size is 2.5; expected a whole number"),
        ({"size": 4}, "size 4 is outside 8 to 4096 pixels"),
        ({"public_share": "none"}, "public_share is 'none'; expected a number"),
        ({"public_share": torch.tensor([0.3, 0.2])}, r"public_share is tensor\(.*; expected a number"),
        ({"public_share": torch.rand(9, 9)}, r"public_share is tensor\(.*; expected a number"),
        ({"records": "a\0b"}, r"records is 'a\\x00b'; expected a path"),
        ({"records": "a\ud800"}, r"records is 'a\\ud800'; expected a path"),
        ({"dataset": "a\0b"}, r"dataset is 'a\\x00b'; expected a path"),
        ({"defense_settings": {"weights": np.array([0.5, 0.6])}}, "mix: weights 0.5,0.6 sum to 1.1, not 1"),
        ({"utility": "no"}, "utility is 'no'; expected True or False"),
        ({"model": 18}, "model is 18; expected text"),
        ({"model": "resnet81"}, "no network called 'resnet81'; did you mean 'resnet18'"),
        ({"recipe": "papre"}, "no recipe called 'papre'; use default or paper"),
        ({"device": 0}, "device is 0; expected auto, cpu or cuda"),
        ({"device": "tpu"}, "device 'tpu' is"),
        ({"records": None}, "records is nothing; expected a path"),
        ({"registry": 3}, "registry is 3; expected a path"),
        ({"workers": 0}, "workers 0 is too few"),
        ({"defense_settings": "block=4"}, "defense_settings is 'block=4'; expected a table of knobs and their values"),
        ({"defense_settings": {"blok": 4}}, "mix: no knob called 'blok'"),
        ({"defense": "mxi"}, "no defense called 'mxi'; did you mean 'mix'"),
        ({"attack": len}, "attack .*len.* is of type builtin_function_or_method"),
        ({"dataset": 3}, "dataset is int; expected a name, a folder"),
        ({"dataset": "nowhere"}, "unknown data set 'nowhere'; known: .*; or pass a folder"),
        ({"dataset": "photos", "name": "mi\u200bne"}, "name 'mi.*ne' is empty, longer than 200 letters or holds"),
        ({"dataset": "photos", "name": 3}, "name is 3; expected text"),
        ({"dataset": (IMAGES[:, :, :8, :8].copy(), LABELS)}, "dssim: images of 8x8 px; it needs 11 px a side"),
        ({"dataset": (np.full((60, 3, 16, 16), 7, np.uint8), np.arange(60) % 2)}, "class '.' has no"),
    ],
)
def test_wrong_arguments_are_one_sentence_and_nothing_is_written(changed, said, tmp_path):
    given = {
        "defense": "mix",
        "attack": "look",
        "dataset": (IMAGES, LABELS),
        "records": tmp_path / "r",
        **QUICK,
        **changed,
    }

    with pytest.raises(HarnessError, match=said) as refused:
        harness.evaluate(**given)

    assert "\n" not in str(refused.value) and not (tmp_path / "r").exists()


def test_the_name_of_a_folder_is_what_boards_call_it_and_no_part_of_a_record(place):
    options = {"dataset": str(picture_folder(place / "test", size=16)), "records": place / "named", **QUICK}

    named = harness.evaluate("none", "look", name="my pictures", **options)
    again = harness.evaluate("none", "look", **options)

    assert [list(each.to_dataframe()["dataset"]) for each in (named, again)] == [["my pictures"], ["test"]]
    assert named["cells"][0]["records"] == again["cells"][0]["records"]


def test_progress_is_said_where_it_is_asked_for(place, capsys, caplog):
    """Through logging: on stderr, unless the program has set that up, as pytest has."""
    options = {"dataset": (IMAGES, LABELS), "records": place / "shown", **QUICK}

    harness.evaluate("none", "look", progress=True, **options)
    assert "release none" in caplog.text
    caplog.clear()
    harness.evaluate("mix", "look", **options)
    assert capsys.readouterr() == ("", "") and caplog.text == ""


def test_where_no_attack_can_run_it_says_why(tmp_path, monkeypatch):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))

    with pytest.raises(HarnessError, match="google_vision"):
        harness.evaluate("none", "google_vision", (IMAGES, LABELS), records=tmp_path, **QUICK)


def test_a_folder_without_records_is_refused(tmp_path):
    with pytest.raises(HarnessError, match=r"no records in .*; name a folder that `harness run --records` wrote to"):
        harness.load_records(tmp_path)
    with pytest.raises(HarnessError, match="does not exist or is no folder"):
        harness.load_records(tmp_path / "nowhere")


@pytest.mark.parametrize("given", (5, None, b"/tmp", ["/tmp"], torch.tensor(1), "", "a\0b"))
def test_what_is_no_path_is_refused(given):
    with pytest.raises(HarnessError, match=r"^folder is .*; expected a path$"):
        harness.load_records(given)


def test_settings_may_be_of_numpy(place):
    """And are recorded as the same numbers and lists."""
    options = {"attack": "look", "dataset": (IMAGES, LABELS), "records": place / "numpy", **QUICK}
    plain = harness.evaluate("shuffle_mix", defense_settings={"block": 4, "weights": [0.5, 0.5]}, **options)
    count = len(list((place / "numpy").iterdir()))

    given = {"block": np.int64(4), "weights": np.array([0.5, 0.5])}
    again = harness.evaluate("shuffle_mix", defense_settings=given, **options)

    assert again["cells"][0]["params"] == plain["cells"][0]["params"]
    assert len(list((place / "numpy").iterdir())) == count


@pytest.mark.parametrize("attack", ("look", "nope"))
def test_the_callers_process_is_left_as_it_was(place, attack):
    """Threads of every library, Python's random numbers and the folders of imports; after an error too.

    In a process of its own: rich draws a random number when it is first imported.
    """
    script = place / f"state_{attack}.py"
    script.write_text(f"""
import random, sys
import cv2, harness, threadpoolctl, torch
torch.set_num_threads(2)
cv2.setNumThreads(2)
images, labels = torch.rand(60, 3, 16, 16), torch.arange(60) % 2
def state():
    numbers = [(each["filepath"], each["num_threads"]) for each in threadpoolctl.threadpool_info()]
    return torch.get_num_threads(), cv2.getNumThreads(), random.getstate(), list(sys.path), numbers
def dim(sources, weights, rng):
    random.seed(3)
    return sources[:, 0] * 0.5
before = state()
try:
    harness.evaluate(dim, {attack!r}, (images, labels), records={str(place / "state")!r}, utility=False, epochs=1)
except harness.HarnessError as error:
    print(error)
after = state()
print([one == other for one, other in zip(before[:4], after[:4])], set(before[4]) <= set(after[4]))
""")
    ran = subprocess.run([sys.executable, script], cwd=ROOT, capture_output=True, text=True, check=False)

    assert ran.stdout.splitlines()[-1:] == ["[True, True, True, True] True"], ran.stdout + ran.stderr
    assert ("no attack called" in ran.stdout) == (attack == "nope")


def test_the_front_imports_no_torch_and_says_what_there_is():
    code = (
        "import sys, harness; names = dir(harness); assert set(harness.__all__) <= set(names), names; "
        "print('torch' in sys.modules, harness.HarnessError.__mro__[1].__name__)"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert ran.stdout.split() == ["False", "ValueError"]
    for name in harness.__all__:
        assert getattr(harness, name) is not None


def test_finished_pieces_go_to_a_tracker(tmp_path):
    pytest.importorskip("tensorboard")
    harness.evaluate("mix", "look", (IMAGES, LABELS), records=tmp_path, log="tensorboard", **QUICK)

    (folder,) = (tmp_path / "tensorboard").iterdir()
    assert any(file.stat().st_size for file in folder.iterdir())


@pytest.mark.parametrize("log", ["tensorbord", ["wandb", "x"], [3]], ids=repr)
def test_an_unknown_tracker_is_refused(tmp_path, log):
    with pytest.raises(HarnessError, match=r"^log is .*expected tensorboard or mlflow or wandb, or a list of these$"):
        harness.evaluate("mix", "look", (IMAGES, LABELS), records=tmp_path / "r", log=log, **QUICK)
    assert not (tmp_path / "r").exists()
