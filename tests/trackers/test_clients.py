"""`--log`: what TensorBoard, MLflow and Weights & Biases hold afterwards is what the records say."""

from __future__ import annotations

import getpass
import importlib.util
import inspect
import json
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.cli import main
from harness.errors import HarnessError
from harness.records import Records
from harness.trackers import TRACKERS, clients, tracking
from tests.helpers.planted import picture_folder
from tests.helpers.rows import attacked, release

RECORDS = [release(), *(attacked("smooth", seed=seed) for seed in range(3))]
needs = {name: pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} is not installed")
         for name in TRACKERS}  # fmt: skip


def send(name, folder, records=RECORDS):
    with tracking([name], [each.spec for each in records], folder) as finished:
        for each in records:
            finished(each)


def mean(record, name="attacked_dssim"):
    return record.scores[name]["mean"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """run(*options) -> exit code, and the records: a small run through the real command, in an empty folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    folder = picture_folder(tmp_path / "secret_place" / "stripes", each=12)

    def call(*options):
        given = ["--dataset", str(folder), "--epochs", "1", "--threads", "1", "--no-utility"]
        code = main(["run", "--defense", "mix", "--attack", "look", *given, *options])
        return code, list(Records(Path("results")).all())

    return call


@needs["tensorboard"]
def test_tensorboard_holds_every_score_of_every_piece_and_the_settings(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    send("tensorboard", tmp_path)

    (folder,) = (tmp_path / "tensorboard").iterdir()
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    found = events.Scalars("mix/smooth/attacked_dssim")
    assert [each.step for each in found] == [0, 1, 2]
    assert [each.value for each in found] == pytest.approx([mean(each) for each in RECORDS[1:]], abs=1e-6)
    assert events.Scalars("mix/release/dssim")[0].value == pytest.approx(mean(RECORDS[0], "dssim"), abs=1e-6)
    text = events.Tensors("settings/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "| dataset | stripes |" in text and "| seed | 0; 1; 2 |" in text


@needs["tensorboard"]
def test_a_run_is_sent_with_what_was_recorded_before_and_names_no_folder(run, capsys):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert run()[0] == 0
    code, records = run("--log", "tensorboard", "--seeds", "2")

    said = capsys.readouterr().err
    (folder,) = Path("results/tensorboard").iterdir()
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    attacks = {each.inputs["seed"]: mean(each) for each in records if each.inputs["defense"]["name"] == "mix"
               and each.spec.kind == "attack"}  # fmt: skip
    assert code == 0 and f"tensorboard --logdir {folder.parent}" in said
    assert {each.step: each.value for each in events.Scalars("mix/look/attacked_dssim")} == pytest.approx(attacks)
    written = b"".join(file.read_bytes() for file in folder.iterdir())
    assert b"stripes" in written and b"secret_place" not in written and str(Path.cwd()).encode() not in written


@needs["mlflow"]
def test_mlflow_holds_every_score_of_every_piece_and_the_settings(tmp_path, monkeypatch):
    """In its store of files, which takes no server."""
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())

    send("mlflow", tmp_path)
    send("mlflow", tmp_path, RECORDS[:1])

    client = MlflowClient((tmp_path / "store").as_uri())
    experiment = client.get_experiment_by_name("obfuscation-harness")
    runs = client.search_runs([experiment.experiment_id])
    assert [each.info.status for each in runs] == ["FINISHED", "FINISHED"]
    (sent,) = [each for each in runs if "mix/smooth/attacked_dssim" in each.data.metrics]
    history = client.get_metric_history(sent.info.run_id, "mix/smooth/attacked_dssim")
    assert {each.step: each.value for each in history} == {
        each.inputs["seed"]: pytest.approx(mean(each)) for each in RECORDS[1:]
    }
    assert sent.data.params["dataset"] == "stripes" and sent.data.params["seed"] == "0; 1; 2"
    assert set(sent.data.tags) == {"mlflow.runName"}  # neither the user nor the program


class RecordingWandb(SimpleNamespace):
    """Takes what the real client takes, where that is installed, and keeps it."""

    def __init__(self):
        super().__init__(given=None, logged=[], finished=False, offline=True, url=None)

    def init(self, **given):
        if importlib.util.find_spec("wandb") and not isinstance(sys.modules.get("wandb"), RecordingWandb):
            import wandb

            inspect.signature(wandb.init).bind(**given)
        self.given = given
        return self

    def log(self, data):
        self.logged.append(data)

    def finish(self):
        self.finished = True

    def teardown(self):
        assert self.finished


def test_wandb_is_given_scores_and_settings_and_told_to_collect_nothing_else(tmp_path, monkeypatch):
    fake = RecordingWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)

    send("wandb", tmp_path)

    assert fake.finished and fake.given["config"]["seed"] == "0; 1; 2"
    sent = [each["mix/smooth/attacked_dssim"] for each in fake.logged[1:]]
    assert sent == [mean(each) for each in RECORDS[1:]] and [each["seed"] for each in fake.logged] == [0, 0, 1, 2]
    told = fake.given["settings"]
    assert told["disable_git"] and told["disable_code"] and told["console"] == "off" and not told["save_code"]
    assert told["x_disable_meta"] and told["x_disable_machine_info"] and told["x_disable_stats"]


@needs["wandb"]
def test_the_real_wandb_writes_scores_and_nothing_of_the_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(tmp_path)

    send("wandb", tmp_path)

    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    written = file.read_bytes()
    assert b"mix/smooth/attacked_dssim" in written and b"stripes" in written
    private = [str(tmp_path), sys.argv[0], sys.executable, socket.gethostname(), getpass.getuser()]
    assert [name for name in private if len(name) > 4 and name.encode() in written] == []


def test_a_client_that_is_not_installed_is_refused_before_anything_is_run(run, monkeypatch, capsys):
    monkeypatch.setattr(clients.importlib.util, "find_spec", lambda name: None)

    code, records = run("--log", "mlflow")

    assert (code, records) == (2, [])
    assert 'pip install "obfuscation-harness[mlflow]"' in capsys.readouterr().err


def test_a_client_that_cannot_begin_is_one_line(run, monkeypatch, capsys):
    class Refuses:
        def __init__(self, *_):
            raise RuntimeError("no API key\nconfigured")

    monkeypatch.setitem(TRACKERS, "wandb", (Refuses, "json"))

    code, records = run("--log", "wandb")

    said = [line for line in capsys.readouterr().err.splitlines() if "--log" in line]
    assert (code, records, len(said)) == (2, [], 1) and "no API key\\nconfigured" in said[0]


def test_a_tracker_that_is_lost_is_said_once_and_the_run_goes_on(run, monkeypatch, capsys):
    class Drops:
        def __init__(self, *_):
            pass

        def log(self, *_):
            raise ConnectionError("the network is down")

        def close(self):
            raise AssertionError("it is gone")

    monkeypatch.setitem(TRACKERS, "mlflow", (Drops, "json"))

    code, records = run("--log", "mlflow")

    assert code == 0 and len(records) == 3
    assert capsys.readouterr().err.count("the network is down") == 1


def test_an_unknown_tracker_is_refused(run, capsys):
    assert run("--log", "sacred")[0] == 2
    assert "wandb" in capsys.readouterr().err


def test_without_log_no_client_is_imported(run, capsys):
    before = set(sys.modules)

    code, _ = run("--json")

    assert code == 0 and json.loads(capsys.readouterr().out)["cells"]
    assert not {"mlflow", "wandb"} & (set(sys.modules) - before)


def test_the_choices_of_the_option_are_the_trackers():
    with pytest.raises(HarnessError, match="wandb"):
        from harness.cli import parser

        parser().parse_args(["run", "--defense", "mix", "--log", "x"])
    given = [word for name in TRACKERS for word in ("--log", name)]
    assert parser().parse_args(["run", "--defense", "mix", *given]).log == list(TRACKERS)
