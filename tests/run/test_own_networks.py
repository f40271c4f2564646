"""A run with a network of one's own: its code and its checkpoint are part of the record, wherever it is trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import harness
from harness.cli import main
from harness.records.provenance import CodeAtHand
from harness.records.store import read_all
from harness.registry import load_registry
from tests.helpers.planted import picture_folder

MODULE = """
from torch import nn


def width():
    return {width}


def mine(classes, size):
    return nn.Sequential(nn.Conv2d(3, width(), 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(width(), classes))
"""
FEW = ["--size", "16", "--epochs", "1", "--targets", "20"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    picture_folder(tmp_path / "pictures", size=16)
    return tmp_path


def written(folder: Path, name: str, width: int = 4) -> str:
    """A module of this name (one that no other test imports), and the model's name."""
    (folder / f"{name}.py").write_text(MODULE.format(width=width))
    return f"{name}:mine"


def run(model: str, *more: str, workers: int = 1, records: str = "results") -> int:
    arguments = ["--dataset", "pictures", *FEW, "--records", records, "--workers", str(workers)]
    return main(["run", "--defense", "mix", "--attack", "look", *arguments, "--model", model, *more])


def utilities(folder: Path, records: str = "results") -> dict[str, dict]:
    found = [json.loads(file.read_text()) for file in (folder / records).glob("*.json")]
    return {each["inputs"]["defense"]["name"]: each for each in found if each["kind"] == "utility"}


def test_its_record_is_the_same_from_a_worker_and_is_found_again(folder):
    model = written(folder, "found_again")
    assert run(model) == 0 and run(model, workers=2, records="by_workers") == 0
    here, there = utilities(folder), utilities(folder, "by_workers")

    assert here["mix"]["status"] == there["mix"]["status"] == "ok"
    assert here["mix"]["scores"] == there["mix"]["scores"] and here["mix"]["inputs"] == there["mix"]["inputs"]
    assert here["mix"]["inputs"]["utility"]["params"]["model"] == model
    assert "checkpoint" not in here["mix"]["inputs"]
    before = sorted((folder / "results").iterdir())
    assert run(model) == 0 and sorted((folder / "results").iterdir()) == before


def test_other_code_is_another_record_and_a_comment_is_not(folder):
    registry, model = load_registry(), written(folder, "other_code")
    assert run(model, "--dry-run") == 0
    keys = []
    for text in (MODULE.format(width=4), f"# said\n{MODULE.format(width=4)}", MODULE.format(width=5)):
        (folder / "other_code.py").write_text(text)
        from harness.run.engine import RunOptions, prepare

        options = RunOptions("mix", "look", "pictures", size=16, epochs=1, model=model, records=folder / "results")
        pieces = prepare(options, registry).pieces
        keys.append({piece.spec.key for piece in pieces if piece.spec.kind == "utility"})

    assert keys[0] == keys[1] and not keys[0] & keys[2]


def test_a_board_says_whether_the_network_is_still_the_one(folder):
    model = written(folder, "still_the_one")
    assert run(model) == 0
    (trained,) = [
        each for each in read_all(folder / "results") if each.spec.kind == "utility" and "mix" in each.spec.names
    ]

    assert CodeAtHand(load_registry()).made(trained) is True
    written(folder, "still_the_one", width=6)
    assert CodeAtHand(load_registry()).made(trained) is False
    (folder / "still_the_one.py").unlink()
    assert CodeAtHand(load_registry()).made(trained) is None


def test_a_checkpoint_is_part_of_the_record_of_the_row_and_of_the_rerun(folder, capsys):
    model = written(folder, "begins")
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    torch.save(network.state_dict(), folder / "one.pt")
    torch.save({name: 2 * value for name, value in network.state_dict().items()}, folder / "two.pt")
    assert run(model) == 0 and run(model, "--checkpoint", "one.pt") == 0
    assert run(model, "--checkpoint", "one.pt", workers=2, records="by_workers") == 0
    begun = [each for each in read_all(folder / "results") if "checkpoint" in each.inputs]
    (mine,) = [each for each in begun if each.inputs["defense"]["name"] == "mix"]
    there = utilities(folder, "by_workers")["mix"]
    assert there["scores"] == json.loads((folder / f"results/{mine.spec.key}.json").read_text())["scores"]

    assert main(["rank", "--records", "results", "--out", "boards"]) == 0
    (board,) = (folder / "boards").glob("*.json")
    begun = {row["training"] for row in json.loads(board.read_text())["boards"][0]["rows"]}
    assert begun == {f"{model}, default", f"{model}, default, from checkpoint {mine.inputs['checkpoint'][:12]}"}

    capsys.readouterr()
    said = []
    for more in ([], ["--checkpoint", "two.pt"], ["--checkpoint", "one.pt"]):
        code = main(["rerun", mine.spec.key, "--records", "results", "--dataset", "pictures", *more])
        captured = capsys.readouterr()
        said.append((code, captured.out + captured.err))
    assert said[0][0] == 2 and "name its file with --checkpoint" in said[0][1]
    assert said[1][0] == 2 and "is not the one of record" in said[1][1]
    assert said[2][0] == 0 and "agrees bit for bit" in said[2][1]


@pytest.mark.parametrize("more", [[], ["--no-utility"]], ids=["utility", "no utility"])
@pytest.mark.parametrize(
    "arguments", [["--model", "nowhere:mine"], ["--checkpoint", "absent.pt"]], ids=["model", "file"]
)
def test_what_is_not_there_is_refused_before_anything_is_written(folder, capsys, arguments, more):
    code = main(["run", "--defense", "mix", "--attack", "look", "--dataset", "pictures", *FEW, *arguments, *more])

    assert code == 2 and not (folder / "results").exists()
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_network_of_another_shape_is_refused_before_anything_is_written(folder, capsys):
    (folder / "one_class.py").write_text("from torch import nn\ndef mine(classes, size): return nn.Flatten()\n")

    assert run("one_class:mine") == 2 and not list(folder.glob("results/*.json"))
    assert "expected float32 logits of shape (2, 3)" in capsys.readouterr().err


def test_a_sweep_takes_them_and_an_attack_does_not(folder, capsys):
    model = written(folder, "in_sweep")
    text = {"dataset": "pictures", "size": 16, "epochs": 1, "defenses": ["mix"], "attacks": ["look"]}
    (folder / "sweep.yaml").write_text(json.dumps(text | {"model": ["mcpherson_face", model]}))
    assert main(["sweep", "sweep.yaml", "--records", "results", "--workers", "1"]) == 0
    made = [each for each in read_all(folder / "results") if each.spec.kind == "utility"]
    trained = {each.inputs["utility"]["params"]["model"] for each in made}
    assert trained == {"mcpherson_face", model}
    capsys.readouterr()

    assert (
        main(["run", "--defense", "mix", "--attack", "cnn", "-A", f"arch={model}", "--dataset", "pictures", *FEW]) == 2
    )
    assert f"no network called {model!r}" in capsys.readouterr().err


def test_from_python(folder):
    model = written(folder, "from_python")
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    torch.save(network.state_dict(), folder / "one.pt")
    given = {"size": 16, "epochs": 1, "records": folder / "results"}
    found = harness.evaluate("mix", "look", "pictures", model=model, checkpoint=folder / "one.pt", **given)
    assert found["cells"][0]["scores"]["utility"]["mean"] is not None

    (folder / "from_python.py").write_text(MODULE.format(width=5))
    with pytest.raises(harness.HarnessError, match="reload the module or restart"):
        harness.evaluate("mix", "look", "pictures", model=model, **given)


def test_a_clients_own_release_is_trained_on_too(folder):
    model = written(folder, "own_release")
    picture_folder(folder / "others", size=16, seed=9)
    given = ["--defense", "mix", "--dataset", "pictures", "--size", "16"]
    assert main(["obfuscate", *given, "--out", "out", "--secret", "s.npz"]) == 0
    released = ["--release", "out", "--secret", "s.npz", "--dataset", "pictures", "--test", "others"]
    assert main(["run", *released, "--attack", "look", "--records", "results", "--model", model]) == 0

    assert {each["inputs"]["utility"]["params"]["model"] for each in utilities(folder).values()} == {model}
