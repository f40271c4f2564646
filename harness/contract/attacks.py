"""The checks of an attack: it runs on its grants, returns a guess of its kind, and is a function of its arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from harness.contract.checks import Check, CheckFailed, require, striped_dataset
from harness.errors import HarnessError, Skipped
from harness.randomness import derive, torch_generator
from harness.records import Records
from harness.registry import Entry, Registry
from harness.run.bench import Bench
from harness.run.scoring import score
from harness.train import memo
from harness.types import Guess, Splits


def checks(entry: Entry, function: Callable[..., Any], registry: Registry) -> Iterator[Check]:
    """The checks, to be run in this order: the later ones need the guess of the first."""
    private, public, test = (
        striped_dataset(count, role) for count, role in ((30, "private"), (60, "public"), (6, "test"))
    )
    bench = Bench(Splits("contract", private, public, test, "0" * 32), registry, Records.nowhere(), epochs=2)
    defense = registry.get("defenses", "noise_mix")
    release, secret = bench.client.release(defense, 0, 0)
    guesses: list[Guess] = []

    def run() -> Guess:
        observation = bench.client.observe(defense, entry, 0)
        guess: Guess = function(observation, torch_generator(derive(b"", "attack"), "cpu"))
        return guess

    def first_guess() -> Guess:
        if not guesses:
            raise Skipped("there is no guess")
        return guesses[0]

    def returns_guess() -> None:
        guesses.append(run())
        require(isinstance(guesses[0], Guess), f"returned {type(guesses[0]).__name__}, expected harness.types.Guess")

    def kind_and_shape() -> None:
        score(
            bench.client, entry, first_guess(), release, secret, lambda number: bench.client.release(defense, 0, number)
        )

    def deterministic() -> None:
        guess = first_guess()
        memo.forget()
        repeated = run()
        for name in ("scores", "candidates", "gallery"):
            first, second = getattr(guess, name), getattr(repeated, name)
            if first is not None:
                same = np.allclose(np.asarray(first, np.float64), np.asarray(second, np.float64), atol=1e-4)
                require(same, f"two runs with the same rng give different {name}; draw from rng alone")

    def needs_its_grants() -> None:
        without = bench.client.observe(defense, replace(entry, granted=()), 0)
        if entry.granted:
            try:
                function(without, torch_generator(derive(b"", "attack"), "cpu"))
            except HarnessError:
                return
            raise CheckFailed(
                f"it runs without what its entry is granted ({', '.join(entry.granted)}); drop what it does not use"
            )

    yield "runs on what it is granted and returns a guess", returns_guess
    yield "the guess is of its kind and shape", kind_and_shape
    yield "is a function of its observation and rng", deterministic
    yield "uses what it is granted", needs_its_grants
