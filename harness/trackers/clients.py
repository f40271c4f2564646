"""TensorBoard, MLflow and Weights & Biases, each through its own client, which is imported when it is asked for.

The records are what counts: a client that fails while a run is under way is said once, and the run goes on.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from harness.errors import HarnessError
from harness.records import RunResult, RunSpec
from harness.system.messages import log
from harness.system.text import one_line, shortened
from harness.trackers import content

PROJECT = "obfuscation-harness"
"""How the project (wandb) or experiment (mlflow) is called, unless WANDB_PROJECT or MLFLOW_EXPERIMENT_NAME is set."""
_EXPERIMENT = "MLFLOW_EXPERIMENT_NAME"
_NOTHING_OF_THE_MACHINE: dict[str, Any] = {
    "disable_git": True, "disable_code": True, "disable_job_creation": True, "save_code": False, "console": "off",
    "x_disable_meta": True, "x_disable_machine_info": True, "x_disable_stats": True, "x_save_requirements": False,
}  # fmt: skip
"""wandb collects the program, its output, folders, host, user, packages and the load of the machine unless told not."""


class Client(Protocol):
    """One run of a tracker, open until `close`."""

    def log(self, figures: Mapping[str, float], step: int) -> None: ...

    def close(self) -> str:
        """Where the run is, in words."""


class TensorBoard:
    def __init__(self, settings: Mapping[str, str], folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._place = folder / "tensorboard" / f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:4]}"
        self._writer: Any = SummaryWriter(str(self._place))
        lines = [f"| {name} | {text} |" for name, text in settings.items()]
        self._writer.add_text("settings", "\n".join(["| setting | value |", "|---|---|", *lines]))

    def log(self, figures: Mapping[str, float], step: int) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> str:
        self._writer.close()
        return f"{self._place}; see it: tensorboard --logdir {self._place.parent}"


class MLflow:
    """By `MlflowClient`: `mlflow.start_run` would add the user, the program and its path."""

    def __init__(self, settings: Mapping[str, str], folder: Path) -> None:
        from mlflow.tracking import MlflowClient

        self._client: Any = MlflowClient()  # of MLFLOW_TRACKING_URI
        name = os.environ.get(_EXPERIMENT) or PROJECT
        known = self._client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else self._client.create_experiment(name)
        self._run = self._client.create_run(experiment, run_name=time.strftime("%Y%m%d-%H%M%S")).info.run_id
        self._place = f"experiment {name}, run {self._run}"
        for key, text in settings.items():
            self._client.log_param(self._run, key, text)

    def log(self, figures: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        sent = [Metric(name, value, now, step) for name, value in figures.items()]
        self._client.log_batch(self._run, metrics=sent)

    def close(self) -> str:
        self._client.set_terminated(self._run)
        return self._place


class WandB:
    def __init__(self, settings: Mapping[str, str], folder: Path) -> None:
        import wandb

        told = {**_NOTHING_OF_THE_MACHINE, "silent": not sys.stderr.isatty()}  # on a terminal it may ask for a key
        project = os.environ.get("WANDB_PROJECT") or PROJECT
        self._client: Any = wandb
        self._run: Any = wandb.init(project=project, config=dict(settings), settings=told)

    def log(self, figures: Mapping[str, float], step: int) -> None:
        self._run.log({**figures, "seed": step})  # its steps count calls

    def close(self) -> str:
        place = "a run on this machine; send it: wandb sync" if self._run.offline else str(self._run.url)
        self._run.finish()
        self._client.teardown()  # waits for its process, which has not written everything yet
        return place


TRACKERS: dict[str, tuple[type[Any], str]] = {
    "tensorboard": (TensorBoard, "tensorboard"),
    "mlflow": (MLflow, "mlflow"),
    "wandb": (WandB, "wandb"),
}
"""By name, which is also that of the extra: the client, and the module that has to be installed."""


@contextmanager
def tracking(names: Sequence[str], specs: Sequence[RunSpec], folder: Path) -> Iterator[Callable[[RunResult], None]]:
    """Inside the block, a function that sends a finished piece to every tracker that is named.

    specs   of all pieces of the run
    folder  of records, where TensorBoard's files go

    Raises HarnessError before anything is run where a client is not installed or cannot begin.
    """
    for name in names:
        if importlib.util.find_spec(TRACKERS[name][1]) is None:
            raise HarnessError(f'--log {name}: {name} is not installed; pip install "obfuscation-harness[{name}]"')
    series, settings = (content.series(specs), content.settings(specs)) if names else ({}, {})
    clients = {name: _begun(name, settings, folder) for name in dict.fromkeys(names)}

    def send(result: RunResult) -> None:
        if not clients:
            return
        figures = {f"{series[result.spec.key]}/{name}": value for name, value in content.figures(result).items()}
        for name in list(clients):
            try:
                clients[name].log(figures, int(result.inputs["seed"]))
            except Exception as error:  # a network that is down
                _say_lost(name, error)
                del clients[name]

    try:
        yield send
    finally:
        for name, client in clients.items():
            try:
                log.info("%s: %s", name, client.close())
            except Exception as error:
                _say_lost(name, error)


def _begun(name: str, settings: Mapping[str, str], folder: Path) -> Client:
    try:
        client: Client = TRACKERS[name][0](settings, folder)
    except Exception as error:
        raise HarnessError(f"--log {name}: its client cannot begin: {_brief(error)}; see its documentation") from error
    return client


def _say_lost(name: str, error: Exception) -> None:
    log.warning("%s: no more is sent (%s); the records hold everything", name, _brief(error))


def _brief(error: Exception) -> str:
    return shortened(one_line(f"{type(error).__name__}: {error}"), 300)
