"""`harness.evaluate`: `harness run` from Python, with one's own functions, tensors and data sets."""

from __future__ import annotations

import inspect
import os
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Never, TypeAlias

import cv2
import threadpoolctl
import torch

from harness.api.arguments import checked, files, path, refuse_unknown, trackers
from harness.api.evaluation import Evaluation
from harness.api.functions import Several, with_functions
from harness.api.own_data import registered
from harness.records import live_code
from harness.registry import Registry, load_registry
from harness.registry.own_networks import find_network
from harness.report import run_summary
from harness.run.engine import Engine, prepare, run
from harness.run.options import RunOptions
from harness.system import messages
from harness.system.progress import ProgressDisplay
from harness.trackers import tracking

File: TypeAlias = str | os.PathLike[str]


def evaluate(
    defense: Several = "all",
    attack: Several = "all",
    dataset: Any = "photos",
    *,
    defense_settings: Mapping[str, Any] | None = None,
    attack_settings: Mapping[str, Any] | None = None,
    epochs: int = 10,
    releases: int | None = None,
    seeds: int | Sequence[int] = 1,
    limit: int | None = None,
    targets: int = 1000,
    size: int | None = None,
    public_share: float | None = None,
    utility: bool = True,
    model: str | None = None,
    recipe: str | None = None,
    checkpoint: File | None = None,
    device: str = "auto",
    threads: int | None = None,
    workers: int = 1,
    records: File = "results",
    registry: File | Sequence[File] = (),
    name: str | None = None,
    progress: bool = False,
    log: str | Sequence[str] = (),
    **unknown: Never,
) -> Evaluation:
    """Obfuscate, attack, measure and record: what `harness run --json` prints, and its verdict, table and figures.

    result = harness.evaluate("shuffle_mix", ["multi_release", "cnn"], (images, labels))
    print(result.verdict)

    defense, attack  a name (`harness list`), "all", a function with the plugin contract (`harness.types`), a
                     `DefensePlugin` or `AttackPlugin` where more is to be said of it, or a list of these. A function is
                     recorded under its code, as a plugin of a registry file is
    dataset          a name, a folder, Parquet files, tar shards or hf:NAME, as for `--dataset`; or in memory:
                     `(images, labels)` with images (N, 3, H, W) uint8 or floats in [0, 1] and (N,) class numbers; a
                     map-style torch Dataset of (image, label), the image of PIL, a (3, H, W) tensor, uint8 or floats in
                     [0, 1], or a (H, W, 3) uint8 array; or a table {"train": ..., "test": ...} of two of these. Floats
                     are rounded to uint8, as files hold them; greyscale is repeated to three channels. Images in
                     memory are split by class and content as those of a folder are, and known by their content
    defense_settings, attack_settings  knobs and mixing, as after -D and -A: {"block": 4, "weights": [0.5, 0.5]}
    epochs, releases T training epochs of utility, and R distinct releases, at most T (None: T)
    seeds            how many, from 0 on, or which
    limit            private images at most; public ones in proportion
    targets          originals that are scored
    size             pixels of the shorter side, then a centre crop; None: as they are, all of one size
    public_share     the adversary's share of the training images
    utility          whether a model is trained on the releases; `model` and `recipe` say which and how
    model            of torchvision or timm, or "package.module:function" of one's own (docs/usage.md)
    checkpoint       file of the weights that the model begins with (safetensors, or torch.save of a state dict)
    device           auto, cpu or cuda
    threads          of each cell; they are part of a record's identity
    workers          processes; 1: the caller's own
    records          folder that records are written to and found in: a cell that is there is not run again
    registry         registry files of further plugins
    name             how boards call the data set; None: its own name, in memory images-HASH, of its content
    progress         whether progress is shown on stderr
    log              trackers that finished pieces are sent to: "tensorboard", "mlflow", "wandb"

    Raises HarnessError, a ValueError, in one sentence for wrong usage and input. An attack that fails or does not suit
    is a cell with a status and a reason, not an error. Numbers of threads, `random` and sys.path are left as they were.
    """
    refuse_unknown("evaluate", unknown, _known())
    options = checked({
        "defense_settings": defense_settings, "attack_settings": attack_settings, "epochs": epochs,
        "releases": releases, "seeds": seeds, "limit": limit, "targets": targets, "size": size,
        "public_share": public_share, "utility": utility, "model": model, "recipe": recipe,
        "checkpoint": checkpoint, "device": device, "threads": threads, "workers": workers, "records": records,
    })  # fmt: skip
    with _process_state_kept():
        return _evaluated(options, defense, attack, dataset, registry, name, progress, trackers(log))


@contextmanager
def _process_state_kept() -> Iterator[None]:
    """Numbers of threads, the state of Python's `random` and sys.path are afterwards as before, after an error too.

    Threads are those of torch, OpenCV, and the BLAS and OpenMP libraries that are loaded, numba's among them.
    """
    threads, of_opencv = torch.get_num_threads(), cv2.getNumThreads()
    state, folders = random.getstate(), list(sys.path)
    try:
        with threadpoolctl.threadpool_limits(limits=None):
            yield
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(of_opencv)
        random.setstate(state)
        sys.path[:] = folders


def _evaluated(
    options: dict[str, Any],
    defense: Several,
    attack: Several,
    dataset: Any,
    registry: File | Sequence[File],
    name: str | None,
    progress: bool,
    log: Sequence[str],
) -> Evaluation:
    engine = Engine(workers=options.pop("workers"))
    engine.check()
    known = load_registry(files("registry", registry))
    data, more = _data(dataset, name, known)
    known, names = with_functions({"defenses": defense, "attacks": attack}, known, more)
    _refuse_changed(known, names, options["model"] if options["utility"] else None)
    called = name if isinstance(dataset, str | os.PathLike) else None  # in memory it is registered by its name
    asked = RunOptions(names["defenses"], names["attacks"], data, name=called, **options)
    with ExitStack() as blocks:
        if progress:
            blocks.enter_context(messages.shown(None))
        watch = blocks.enter_context(ProgressDisplay()) if progress else None
        cross = prepare(asked, known, watch.step, watch.progress) if watch else prepare(asked, known)
        cross.refuse_what_cannot_run()
        if watch:
            watch.expect(run_summary.jobs_left([cross]))
        finished = blocks.enter_context(tracking(log, [piece.spec for piece in cross.pieces], asked.records))
        return Evaluation(run([cross], engine, finished=finished)[0])


def _data(dataset: Any, name: str | None, registry: Registry) -> tuple[str, list[Path]]:
    """What `--dataset` would be, and the registry files that it needs."""
    if not isinstance(dataset, str | os.PathLike):
        said, file = registered(dataset, name, registry)
        return said, [file]
    checked({"name": name})
    text = os.fspath(dataset)
    if text:  # an empty one is refused with its reason where it is looked for
        path("dataset", text)
    return text, []  # as it was given: `./photos` is a folder, `photos` a name


def _refuse_changed(registry: Registry, names: Mapping[str, list[str]], model: str | None) -> None:
    """HarnessError where a plugin or network that runs is other code in this process than in its files."""
    entries = [entry for section, of in names.items() for entry in registry.choose(section, of, {})]
    foreign = [entry for entry in (*entries, *registry.section("metrics").values()) if entry.is_foreign]
    network = find_network(model, None, registry.files) if model is not None else None
    foreign += [network.entry] if network is not None and network.entry is not None else []
    live_code.refuse_changed((entry.module, entry.function) for entry in foreign)


def _known() -> list[str]:
    return [each for each in inspect.signature(evaluate).parameters if each != "unknown"]
