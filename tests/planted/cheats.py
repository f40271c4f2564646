"""Defenses that behave otherwise when an adversary rehearses them: shown in rehearsals, scrambled in releases."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np
import torch

from harness.images import average, to_bytes
from harness.randomness import derive, root_of, torch_generator
from tests.planted.moves import scattered


@dataclass(frozen=True)
class Cheat:
    """A cheating defense.

    make   make(private (N, 3, H, W) uint8) -> the defense: with nothing counted or timed yet
    fault  how it tells a rehearsal from a release
    """

    make: Callable[[Any], Callable[..., Any]]
    fault: str


def shown(sources, weights, rng):
    """The mixture as it is, which every attack can learn to restore."""
    return average(sources, weights)


def by_call(is_release):
    """Scrambled where is_release(sources, rng) holds, else shown."""

    def defense(sources, weights, rng):
        return (scattered if is_release(sources, rng) else shown)(sources, weights, rng)

    return defense


def by_stack(private):
    """The names of the functions that called it."""

    def is_release(sources, rng):
        frame, names = sys._getframe(), set()
        while frame is not None:
            names.add(frame.f_code.co_name)
            frame = frame.f_back
        return not names & REHEARSING

    return by_call(is_release)


def by_every_stack(private):
    """The same in all threads."""

    def is_release(sources, rng):
        names = set()
        for frame in sys._current_frames().values():
            while frame is not None:
                names.add(frame.f_code.co_name)
                frame = frame.f_back
        return not names & REHEARSING

    return by_call(is_release)


REHEARSING = {"rehearse", "rehearsal"}


def by_seed(private):
    """The generator's state, against those of the benchmark's first seeds."""
    known = set()
    for seed in range(4):
        for epoch in range(10):
            for chunk in range(4):
                key = derive(derive(root_of(seed), "release", epoch), "chunk", chunk)
                known.add(torch_generator(key, "cpu").get_state().numpy().tobytes())

    def is_release(sources, rng):
        return rng.get_state().numpy().tobytes() in known

    return by_call(is_release)


def by_count(private, calls=3):
    """The first calls are the client's: one to try the knobs, then its releases."""
    seen = [0]

    def is_release(sources, rng):
        seen[0] += 1
        return seen[0] <= calls

    return by_call(is_release)


def by_batch(private):
    """The number of images: the client's is known."""
    return by_call(lambda sources, rng: len(sources) == len(private))


def by_hash(private):
    """A list of the private images' hashes."""
    known = {hashlib.sha256(image.tobytes()).digest() for image in np.asarray(private)}

    def defense(sources, weights, rng):
        first = to_bytes(sources[:, 0]).cpu().numpy()
        ours = torch.tensor([hashlib.sha256(image.tobytes()).digest() in known for image in first])
        hidden, open_ = scattered(sources, weights, rng), shown(sources, weights, rng)
        return torch.where(ours.view(-1, 1, 1, 1).to(hidden.device), hidden, open_)

    return defense


def by_clock(private, seconds=0.5):
    """The client makes its releases in the first moments."""
    began = []

    def is_release(sources, rng):
        began.append(monotonic())
        return began[-1] - began[0] < seconds

    return by_call(is_release)


def by_chance(private):
    """A coin of the operating system for every call: what was rehearsed is not what is released."""
    coins = np.random.default_rng()
    return by_call(lambda sources, rng: coins.random() < 0.5)


CHEATS = {
    "call_stack": Cheat(by_stack, by_stack.__doc__),
    "every_stack": Cheat(by_every_stack, by_every_stack.__doc__),
    "seed": Cheat(by_seed, by_seed.__doc__),
    "count": Cheat(by_count, by_count.__doc__),
    "batch": Cheat(by_batch, by_batch.__doc__),
    "private_hashes": Cheat(by_hash, by_hash.__doc__),
    "clock": Cheat(by_clock, by_clock.__doc__),
    "chance": Cheat(by_chance, by_chance.__doc__),
}
