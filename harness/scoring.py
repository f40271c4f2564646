"""A guess against the secret: which evaluator, on which rows, and what a guess may not be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from harness.client import IN_SIGHT, Client
from harness.errors import HarnessError, Inapplicable, NotConverged
from harness.registry import Entry, Registry, bind
from harness.statistics import summarise, wilson
from harness.types import Array, Bytes, Guess, Release, Secret

Scored = tuple[dict[str, Any], dict[str, Array]]


def evaluator(registry: Registry, attack: Entry) -> Entry | None:
    """Who scores this kind of attack; None where nobody does yet."""
    return registry.section("evaluators").get(str(attack.kind))


def score(client: Client, attack: Entry, guess: Guess, release: Release, secret: Secret) -> Scored:
    """What a guess got: figures in the mean, and one number per scored release behind each."""
    rows, units = client.scored(secret)
    dominant, sources = secret.dominant[rows], secret.sources[rows]
    judge = evaluator(client.registry, attack)
    if judge is None:
        raise Inapplicable(f"attacks of kind {attack.kind} are not scored yet")
    function = bind(judge)
    if attack.kind == "recognition":
        answers = _rows_of(guess.scores, rows, len(release), attack)
        classes = len(client.splits.classes)
        if tuple(answers.shape[1:]) != (classes,):
            raise HarnessError(f"{attack.name}: scores of {tuple(answers.shape)}, expected {(len(rows), classes)}")
        hard = release.labels if release.labels.ndim == 1 else release.labels.argmax(1)
        hits, chance = function(answers, client.splits.private.labels[sources], dominant, hard.cpu().numpy()[rows])
        scores = {name: _corrected(summarise(values, units=units), chance[name]) for name, values in hits.items()}
        return scores, {"units": units, **hits}
    candidates = _rows_of(guess.candidates, rows, len(release), attack)
    _check_candidates(candidates, secret.sources.shape[1], tuple(release.images.shape[1:]), attack)
    metrics = {name: bind(client.registry.get("metrics", name)) for name in IN_SIGHT}
    found = function(candidates, lambda some: client.originals(sources[some]), dominant, metrics, client.device)
    scores = {name: summarise(values, units=units, proportion=False) for name, values in found.items()}
    return scores, {"units": units, **found}


def must_beat_chance(attack: Entry, report: Mapping[str, Any], scores: Mapping[str, Any]) -> None:
    """A recogniser on undefended images: Wilson's lower end above chance, or it has learned nothing.

    Asked twice: on the attack's own held-out public images, and on the targets, which chose no checkpoint.
    """
    if attack.kind != "recognition":
        return
    top = scores["top1"]
    if top["low"] is None or top["low"] <= top["chance"]:
        said = f"top-1 of {top['mean']:.2f} on undefended images is not above chance ({top['chance']:.2f})"
        raise NotConverged(f"{said}: it learned nothing")
    hits, n, chance = (report.get(name) for name in ("held_out_hits", "held_out_n", "held_out_chance"))
    if hits is None or n is None or chance is None:
        raise NotConverged("a learned attack reports held_out_hits, held_out_n and held_out_chance; this one does not")
    low, _ = wilson(hits, n)
    if low is None or low <= chance:
        said = f"{hits:.0f} of {n:.0f} held-out undefended images are not above chance ({chance:.2f})"
        raise NotConverged(f"{said}: it learned nothing")


def _rows_of(guessed: Any, rows: Array, releases: int, attack: Entry) -> Any:
    """The scored rows of a guess that has a row per target, or one per release."""
    if guessed is None:
        raise HarnessError(f"{attack.name}: an attack of kind {attack.kind} returned a guess of another kind")
    tensor = guessed if isinstance(guessed, torch.Tensor) else torch.from_numpy(np.require(guessed, requirements="W"))
    if len(tensor) == len(rows):
        return tensor
    if len(tensor) == releases:
        return tensor[torch.from_numpy(rows)]
    raise HarnessError(f"{attack.name}: a guess of {len(tensor)} rows for {len(rows)} targets of {releases} releases")


def _check_candidates(candidates: Bytes, sources: int, shape: tuple[int, ...], attack: Entry) -> None:
    if candidates.ndim != 5 or candidates.dtype != torch.uint8 or tuple(candidates.shape[2:]) != shape:
        raise HarnessError(
            f"{attack.name}: candidates are {candidates.dtype} {tuple(candidates.shape)}; "
            f"expected torch.uint8 (N, M, {', '.join(map(str, shape))})"
        )
    if not 1 <= candidates.shape[1] <= sources:
        raise HarnessError(
            f"{attack.name}: {candidates.shape[1]} candidates for releases of {sources} sources; "
            "best of many guesses is an oracle, offer at most as many"
        )


def _corrected(score: dict[str, Any], chance: float) -> dict[str, Any]:
    """Adds what the best constant guess scores, and the success beyond it: 0 at chance, 1 when always right."""
    mean = score["mean"]
    beyond = None if mean is None or chance >= 1 else (mean - chance) / (1 - chance)
    return {**score, "chance": chance, "corrected": beyond}
