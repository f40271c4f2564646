"""What is asked for, and the bench that it is done on: here, or in a worker that is sent the order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.client.release_cache import ReleaseCache
from harness.data.load import load
from harness.errors import HarnessError
from harness.records import Records
from harness.registry import ALL, Registry, bind
from harness.run.bench import Bench
from harness.system.device import choose_device, device_type, use_threads
from harness.train import networks
from harness.types import Splits


@dataclass(frozen=True)
class RunOptions:
    """What is asked for: the arguments of `harness run` (see there).

    seeds    how many, from 0 on, or which
    threads  of every cell. They move trained figures, so they are an input of its record: one, unless told otherwise,
             on whatever machine; several cells at a time use the other cores
    """

    defense: str | Sequence[str] = ALL
    attack: str | Sequence[str] = ALL
    dataset: str = "photos"
    defense_settings: Mapping[str, Any] | None = None
    attack_settings: Mapping[str, Any] | None = None
    epochs: int = 10
    seeds: int | Sequence[int] = 1
    limit: int | None = None
    targets: int = 1000
    size: int | None = None
    public_share: float | None = None
    utility: bool = True
    model: str | None = None
    recipe: str | None = None
    device: str = "auto"
    threads: int | None = None
    records: Path = Path("results")

    def check(self) -> None:
        """Refuse what no data are needed for."""
        for name, least in (("epochs", 1), ("seeds", 1), ("targets", 1)):
            if isinstance(getattr(self, name), int) and getattr(self, name) < least:
                raise HarnessError(f"{name} {getattr(self, name)} is too few; use {least} or more")
        settings = self.attack_settings or {}
        if "train_epochs" in settings and settings["train_epochs"] < 1:
            raise HarnessError(f"train_epochs {settings['train_epochs']} is too few; use 1 or more")
        if "arch" in settings:
            networks.check_name(str(settings["arch"]))
        if self.threads is not None and self.threads < 1:
            raise HarnessError(f"threads {self.threads} is too few; use 1 or more")

    def stage(self) -> RunOptions:
        """What it says of data, device and measuring, whatever is crossed there at whatever T: can be a key."""
        crossed = {"defense": "", "attack": "", "defense_settings": None, "attack_settings": None}
        return replace(self, **crossed, epochs=1, seeds=1, utility=True, records=Path())  # type: ignore[arg-type]

    def asked(self, registry: Registry) -> dict[str, Any]:
        """How the images were asked for, so that a record can be run again; of a folder not where it is."""
        named = self.dataset if self.dataset in registry.section("datasets") else None
        return {"dataset": named, "size": self.size, "limit": self.limit, "public_share": self.public_share}


def seeds_of(given: int | Sequence[int]) -> Sequence[int]:
    """How many, or which."""
    return range(given) if isinstance(given, int) else given


def bench_of(
    order: RunOptions,
    registry: Registry,
    records: Records,
    progress: Any = None,
    splits: Splits | None = None,
    shelf: ReleaseCache | None = None,
) -> Bench:
    """The data set of an order, loaded unless it is at hand, on its device with its threads."""
    device = choose_device(order.device)
    threads = use_threads(order.threads or (1 if device_type(device) == "cpu" else None))
    chosen = {"model": order.model, "recipe": order.recipe}
    return Bench(
        splits or load_splits(order, registry, progress),
        registry,
        records,
        device,
        order.epochs,
        order.targets,
        threads,
        {name: value for name, value in chosen.items() if value is not None},
        asked=order.asked(registry),
        shelf=shelf or ReleaseCache(),
    )


def at(bench: Bench, epochs: int) -> Bench:
    """The same bench at another T: data and releases are shared."""
    if bench.epochs == epochs:
        return bench
    return replace(bench, epochs=epochs)


def load_splits(order: RunOptions, registry: Registry, progress: Any = None) -> Splits:
    entries = {name: bind(entry) for name, entry in registry.section("datasets").items()}
    return load(
        order.dataset,
        size=order.size,
        limit=order.limit,
        public_share=order.public_share,
        entries=entries,
        progress=progress,
    )
