"""The options of a run, and the bench that they describe: in this process, or in a worker that is sent them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from harness.client.release_cache import ReleaseCache
from harness.data.decode import LazyImage
from harness.data.load import HUB, load
from harness.data.sources import in_memory
from harness.errors import HarnessError
from harness.records import Records
from harness.registry import ALL, Entry, Registry, bind
from harness.run.bench import Bench
from harness.system.device import available_cores, choose_device, device_type
from harness.system.numbers import check_count
from harness.types import Splits


@dataclass(frozen=True)
class RunOptions:
    """The arguments of `harness run` (see there).

    model     network of the utility model: of torchvision, timm or the paper, or `package.module:function` of one's own
    checkpoint  file of the weights that it begins with; None: from scratch
    name      how boards call the data set; None: its own name
    epochs    T, training epochs of utility
    releases  R, distinct releases: epoch e trains on release e mod R, and multi-release attacks see all R. None: T
    seeds    how many, from 0 on, or which
    threads  of every cell. They change trained figures, so a record holds them: one by default, on any machine; several
             cells at a time use the other cores
    """

    defense: str | Sequence[str] = ALL
    attack: str | Sequence[str] = ALL
    dataset: str = "photos"
    defense_settings: Mapping[str, Any] | None = None
    attack_settings: Mapping[str, Any] | None = None
    epochs: int = 10
    releases: int | None = None
    seeds: int | Sequence[int] = 1
    limit: int | None = None
    targets: int = 1000
    size: int | None = None
    public_share: float | None = None
    utility: bool = True
    model: str | None = None
    recipe: str | None = None
    checkpoint: Path | None = None
    device: str = "auto"
    threads: int | None = None
    records: Path = Path("results")
    name: str | None = None

    def check(self) -> None:
        """HarnessError for a value that is wrong whatever the data are."""
        for name in ("epochs", "releases", "targets", "threads", "limit", "size"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name))
        if isinstance(self.seeds, int):
            check_count("seeds", self.seeds)
        else:
            check_count("seeds", len(self.seeds))
            for seed in self.seeds:
                check_count("seed", seed, least=0)
        check_releases(self.epochs, self.releases)
        check_training(self.attack_settings or {})

    @property
    def release_count(self) -> int:
        """R."""
        return self.epochs if self.releases is None else self.releases

    def data_options(self) -> RunOptions:
        """The same options without defenses, attacks, T, R and seeds: equal for runs on one data set and device."""
        crossed = {"defense": "", "attack": "", "defense_settings": None, "attack_settings": None}
        return replace(self, **crossed, epochs=1, releases=None, seeds=1, utility=True, records=Path())  # type: ignore[arg-type]

    def utility_settings(self) -> dict[str, Any]:
        """What is asked of the evaluator `utility`; what is not asked stays as its registry entry has it."""
        chosen = {"model": self.model or _MODELS.get(self.recipe or ""), "recipe": self.recipe}
        return {name: value for name, value in chosen.items() if value is not None}

    def data_request(self, registry: Registry) -> dict[str, Any]:
        """How the images were asked for, so that a record can be run again; the path of a folder is left out.

        So is the name of a data set that was in memory: no later run finds it.
        """
        entry = registry.section("datasets").get(self.dataset)
        is_found_again = self.dataset.startswith(HUB) or (entry is not None and entry.use != in_memory.USE)
        named = self.dataset if is_found_again else None
        return {"dataset": named, "size": self.size, "limit": self.limit, "public_share": self.public_share}


def check_training(settings: Mapping[str, Any]) -> None:
    """HarnessError for an attack that trains for no epoch, or a network that is not known."""
    if isinstance(settings.get("train_epochs"), int):
        check_count("train_epochs", settings["train_epochs"])
    if "arch" in settings:
        from harness.train import networks

        networks.check_recogniser(str(settings["arch"]))


def check_releases(epochs: int, releases: int | None) -> None:
    """HarnessError for more releases than epochs."""
    if releases is not None and releases > epochs:
        raise HarnessError(
            f"releases {releases} is more than epochs {epochs}, and no model would train on the others; "
            f"use releases {epochs} or fewer, or epochs {releases} or more"
        )


def seeds_of(given: int | Sequence[int]) -> Sequence[int]:
    """The seeds: 0, 1, ... for a number of them, else those given."""
    return range(given) if isinstance(given, int) else given


def make_bench(
    options: RunOptions,
    registry: Registry,
    records: Records,
    progress: Any = None,
    splits: Splits | None = None,
    release_cache: ReleaseCache | None = None,
) -> Bench:
    """The bench of these options; its data are loaded unless `splits` are given."""
    device = choose_device(options.device)
    threads = options.threads or (1 if device_type(device) == "cpu" else available_cores())
    return Bench(
        splits or load_splits(options, registry, progress),
        registry,
        records,
        device,
        options.epochs,
        options.targets,
        threads,
        options.utility_settings(),
        data_request=options.data_request(registry),
        release_cache=release_cache or ReleaseCache(),
        releases=options.releases,
        checkpoint=options.checkpoint,
    )


_MODELS = {"paper": "resnet18"}
"""The network that a recipe was published with, by its name; taken where none is asked for."""


def load_splits(options: RunOptions, registry: Registry, progress: Any = None) -> Splits:
    entries = {name: partial(_images, entry) for name, entry in registry.section("datasets").items()}
    return load(
        options.dataset,
        size=options.size,
        limit=options.limit,
        public_share=options.public_share,
        entries=entries,
        progress=progress,
        name=options.name,
    )


def _images(entry: Entry, downloads: Path) -> Sequence[LazyImage]:
    """The images of a data set; only the one that is asked for is imported."""
    images: Sequence[LazyImage] = bind(entry)(downloads)
    return images
