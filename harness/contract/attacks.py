"""What every attack must keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from harness.contract.checks import Broken, Check, dataset, require
from harness.errors import HarnessError, Skipped
from harness.randomness import derive, torch_generator
from harness.records import Records
from harness.registry import Entry, Registry
from harness.run.bench import Bench
from harness.run.scoring import score
from harness.train import memo
from harness.types import Guess, Splits


def checks(entry: Entry, function: Callable[..., Any], registry: Registry) -> Iterator[Check]:
    private, public, test = (dataset(count, role) for count, role in ((30, "private"), (60, "public"), (6, "test")))
    bench = Bench(Splits("contract", private, public, test, "0" * 32), registry, Records.nowhere(), epochs=2)
    defense = registry.get("defenses", "noise_mix")
    release, secret = bench.client.release(defense, 0, 0)
    made: list[Guess] = []

    def run() -> Guess:
        observation = bench.client.observe(defense, entry, 0)
        guess: Guess = function(observation, torch_generator(derive(b"", "attack"), "cpu"))
        return guess

    def answers() -> None:
        made.append(run())
        require(isinstance(made[0], Guess), f"returned {type(made[0]).__name__}, expected harness.types.Guess")

    def kind() -> None:
        _need(made)
        score(bench.client, entry, made[0], release, secret)

    def same_dice() -> None:
        _need(made)
        memo.forget()
        again = run()
        for name in ("scores", "candidates", "gallery"):
            first, second = getattr(made[0], name), getattr(again, name)
            if first is not None:
                same = np.allclose(np.asarray(first, np.float64), np.asarray(second, np.float64), atol=1e-4)
                require(same, f"two runs on the same dice give different {name}; draw from rng alone")

    def only_granted() -> None:
        bare = bench.client.observe(defense, replace(entry, granted=()), 0)
        if entry.granted:
            try:
                function(bare, torch_generator(derive(b"", "attack"), "cpu"))
            except HarnessError:
                return
            raise Broken(
                f"it runs without what its entry is granted ({', '.join(entry.granted)}); drop what it does not use"
            )

    yield "runs on what it is granted and returns a guess", answers
    yield "the guess is of its kind and shape", kind
    yield "is a function of its observation and rng", same_dice
    yield "uses what it is granted", only_granted


def _need(made: list[Guess]) -> None:
    if not made:
        raise Skipped("there is no guess")
