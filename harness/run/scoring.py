"""Score a guess against the secret, by the evaluators of its attack's kind; wrong guesses are refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from harness.client.client import Client
from harness.errors import HarnessError, Inapplicable, NotConverged
from harness.registry import Entry, bind
from harness.scores import judged, label, proof_of
from harness.statistics import summarise, wilson
from harness.types import Array, Bytes, Guess, Release, Secret

Scored = tuple[dict[str, Any], dict[str, Array]]

NO_ATTRIBUTE = "the data set has no second attribute; use one with a coarse label, such as cifar10_coarse"


def score(client: Client, attack: Entry, guess: Guess, release: Release, secret: Secret) -> Scored:
    """The scores of a guess, and the number per scored release behind each."""
    if str(attack.kind) not in client.registry.section("evaluators"):
        raise Inapplicable(f"attacks of kind {attack.kind} are not scored yet")
    kinds: dict[str, Callable[..., Scored]] = {
        "recognition": _recognition,
        "reconstruction": _reconstruction,
        "reidentification": _reidentification,
        "attribute": _attribute,
    }
    return kinds[str(attack.kind)](client, attack, guess, release, secret)


def _recognition(client: Client, attack: Entry, guess: Guess, release: Release, secret: Secret) -> Scored:
    rows, units = client.scored(secret)
    answers = _rows_of(guess.scores, rows, len(release), attack)
    _check_columns(answers, len(client.splits.classes), len(rows), attack)
    classes, dominant = client.splits.private.labels[secret.sources[rows]], secret.dominant[rows]
    hits, chance = _evaluator(client, "recognition")(answers, classes, dominant, _hard(release, rows))
    return _proportions(hits, chance, units)


def _reconstruction(client: Client, attack: Entry, guess: Guess, release: Release, secret: Secret) -> Scored:
    rows, units = client.scored(secret)
    dominant, sources = secret.dominant[rows], secret.sources[rows]
    candidates = _rows_of(guess.candidates, rows, len(release), attack)
    _check_candidates(candidates, secret.sources.shape[1], tuple(release.images.shape[1:]), attack)
    metrics = {name: bind(client.registry.get("metrics", name)) for name in judged()}
    measure = _evaluator(client, "reconstruction")
    found = measure(candidates, lambda some: client.originals(sources[some]), dominant, metrics, client.device)
    scores = {name: summarise(values, units=units, proportion=False) for name, values in found.items()}
    known, hits = identified(client, candidates, units)
    return {**scores, **known}, {**found, **hits}


def _reidentification(client: Client, attack: Entry, guess: Guess, release: Release, secret: Secret) -> Scored:
    rows, units = client.scored(secret)
    answers = _rows_of(guess.gallery, rows, len(release), attack)
    _check_columns(answers, len(client.gallery), len(rows), attack)
    return _ranked(client, answers, units)


def _attribute(client: Client, attack: Entry, guess: Guess, release: Release, secret: Secret) -> Scored:
    private, (rows, units) = client.splits.private, client.scored(secret)
    if private.attributes is None:
        raise Inapplicable(NO_ATTRIBUTE)
    answers = _rows_of(guess.scores, rows, len(release), attack)
    _check_columns(answers, len(private.attribute_names), len(rows), attack)
    hits, chance = _evaluator(client, "attribute")(answers, private.attributes[units], _hard(release, rows))
    figures, arrays = _proportions(hits, chance, units)
    return {"attribute": {**figures["attribute"], "chance_constant": chance["constant"]}}, arrays


def identified(client: Client, candidates: Bytes, originals: Array) -> Scored:
    """Re-identification of (n, M, 3, H, W) uint8 releases or reconstructions by the fixed embedding.

    originals  (n,) the private row that each is an image of
    """
    identity = _evaluator(client, "identity")
    return _ranked(client, identity(candidates, client.gallery.images, client.device), originals)


def _ranked(client: Client, scores: torch.Tensor, originals: Array) -> Scored:
    hits, chance = _evaluator(client, "reidentification")(scores, client.gallery.truth(originals))
    figures, arrays = _proportions(hits, chance, originals)
    return {name: {**figure, "gallery": len(client.gallery)} for name, figure in figures.items()}, arrays


def _proportions(hits: Mapping[str, Array], chance: Mapping[str, float], units: Array) -> Scored:
    """Hit rates, each with its chance, and the hits themselves."""
    figures = {name: _corrected(summarise(values, units=units), chance[name]) for name, values in hits.items()}
    return figures, {"units": units, **hits}


def _evaluator(client: Client, name: str) -> Callable[..., Any]:
    return bind(client.registry.get("evaluators", name))


def _hard(release: Release, rows: Array) -> Array:
    """(n,) the public label of these releases; of soft labels the largest."""
    labels = release.labels if release.labels.ndim == 1 else release.labels.argmax(1)
    chosen: Array = labels.cpu().numpy()[rows]
    return chosen


def must_beat_chance(attack: Entry, report: Mapping[str, Any], scores: Mapping[str, Any]) -> None:
    """NotConverged unless the attack has learned to answer undefended images.

    Hits: Wilson's lower end is above chance, on the attack's own held-out public images and on the targets, which chose
    no checkpoint. A reconstruction has no chance level: its held-out loss is significantly below that of the best
    constant image (`learned` in its report: harness.train.convergence.compared_with_constant).
    """
    name = proof_of(str(attack.kind))
    if name is None:
        _must_have_learned(report)
        return
    top = scores[name]
    if top["low"] is None or top["low"] <= top["chance"]:
        said = f"{label(name)}: {top['mean']:.2f} on undefended images is not above chance ({top['chance']:.2f})"
        raise NotConverged(f"{said}: it learned nothing")
    hits, n, chance = (report.get(name) for name in ("held_out_hits", "held_out_n", "held_out_chance"))
    if hits is None or n is None or chance is None:
        raise NotConverged("a learned attack reports held_out_hits, held_out_n and held_out_chance; this one does not")
    low, _ = wilson(hits, n)
    if low is None or low <= chance:
        if hits == n:
            said = f"{n:.0f} held-out public images are too few to show hits above chance ({chance:.2f})"
            raise NotConverged(f"{said}, all of which it got right; use more images, or a larger --public-share")
        said = f"{hits:.0f} of {n:.0f} held-out undefended images are not above chance ({chance:.2f})"
        raise NotConverged(f"{said}: it learned nothing")


def _must_have_learned(report: Mapping[str, Any]) -> None:
    """NotConverged unless a reconstruction's report says that it learned something."""
    if "learned" not in report:
        raise NotConverged("a learned reconstruction reports `learned` (harness.train.convergence); this one does not")
    if not report["learned"]:
        losses = (report.get(name, float("nan")) for name in ("held_out_loss", "constant_loss"))
        said = "its held-out loss on undefended images, {:.3f}, is not below the {:.3f} of a constant image"
        raise NotConverged(f"{said.format(*losses)}: it learned nothing")


def _check_columns(answers: Any, columns: int, rows: int, attack: Entry) -> None:
    if tuple(answers.shape[1:]) != (columns,):
        raise HarnessError(f"{attack.name}: scores of {tuple(answers.shape)}, expected {(rows, columns)}")


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
    """Adds chance, and the score rescaled so that 0 is chance and 1 is always right."""
    mean = score["mean"]
    beyond = None if mean is None or chance >= 1 else (mean - chance) / (1 - chance)
    return {**score, "chance": chance, "corrected": beyond}
