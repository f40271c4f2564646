"""Score a guess against the secret, by the evaluators of its attack's kind; wrong guesses are refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from harness.client.client import Client
from harness.errors import HarnessError, Inapplicable, NotConverged
from harness.randomness import derive, numpy_generator
from harness.registry import Entry, bind
from harness.run.answers import Answers, Epoch, of_guess, rows_of
from harness.run.certain import certain
from harness.run.originals import Minima, summaries
from harness.scores import ANY, ATTACKED, FIRST, embeddings, label, proof_of, reidentifications
from harness.statistics import summarise, wilson
from harness.types import Array, Guess, Release, Secret

Scored = tuple[dict[str, Any], dict[str, Array]]

_RANKED = 4096  # images ranked at a time
NO_ATTRIBUTE = "the data set has no second attribute; use one with a coarse label, such as cifar10_coarse"


def score(
    client: Client,
    attack: Entry,
    guess: Guess,
    release: Release,
    secret: Secret,
    later: Callable[[int], Epoch] | None = None,
) -> Scored:
    """The scores of a guess, and the numbers behind each: one per scored release, or per original.

    release, secret  release 0
    later            later(r) -> release r and its secret; without it a guess can answer release 0 alone
    """
    if str(attack.kind) not in client.registry.section("evaluators"):
        raise Inapplicable(f"attacks of kind {attack.kind} are not scored yet")
    if attack.kind == "reconstruction":
        return _reconstruction(client, guess, of_guess(client, attack, guess, release, secret, later))
    if guess.releases is not None:
        raise HarnessError(f"{attack.name}: only a reconstruction names the releases that it answers; leave it None")
    kinds: dict[str, Callable[..., Scored]] = {
        "recognition": _recognition,
        "reidentification": _reidentification,
        "attribute": _attribute,
    }
    return kinds[str(attack.kind)](client, attack, guess, release, secret)


def _recognition(client: Client, attack: Entry, guess: Guess, release: Release, secret: Secret) -> Scored:
    rows, units = client.scored(secret)
    answers = rows_of(guess.scores, rows, len(release), attack)
    _check_columns(answers, len(client.splits.classes), len(rows), attack)
    classes, dominant = client.splits.private.labels[secret.sources[rows]], secret.dominant[rows]
    hits, chance = _evaluator(client, "recognition")(answers, classes, dominant, _hard(release, rows))
    return _proportions(hits, chance, units)


def _reconstruction(client: Client, guess: Guess, answers: Answers) -> Scored:
    minima = Minima(client)
    of_rows = by_row(minima.add(answers), answers.dominant_rows)
    if guess.releases is not None:
        of_rows = _best_per_original(of_rows, client.is_target)
    of_originals = minima.arrays()
    units = of_rows["units"]
    scores = {
        name: summarise(values, units=units, proportion=False) for name, values in of_rows.items() if name != "units"
    }
    known, hits, _ = identified(client, [answers])
    return {**scores, **summaries(of_originals), **known}, {**of_rows, **of_originals, **hits}


def by_row(grids: Mapping[str, Array], originals: Array) -> dict[str, Array]:
    """The best candidate to the dominant source and to the nearest, and the first candidate to the dominant source.

    grids  by distance (P, M, k), the dominant source first
    """
    arrays: dict[str, Array] = {"units": originals}
    for name, grid in grids.items():
        arrays |= {
            ATTACKED + name: grid[:, :, 0].min(1),
            ATTACKED + ANY + name: grid.min((1, 2)),
            FIRST + name: grid[:, 0, 0],
        }
    return arrays


def _best_per_original(of_rows: Mapping[str, Array], is_target: Array) -> dict[str, Array]:
    """Of a guess that names releases: the best of all rows for an original, and the first candidate of the first."""
    units, first, places = np.unique(of_rows["units"], return_index=True, return_inverse=True)
    wanted = is_target[units]
    arrays: dict[str, Array] = {"units": units[wanted]}
    for name, values in of_rows.items():
        if name == "units":
            continue
        best = values[first].copy()
        if not name.startswith(FIRST):
            np.minimum.at(best, places, values)
        arrays[name] = best[wanted]
    return arrays


def _reidentification(client: Client, attack: Entry, guess: Guess, release: Release, secret: Secret) -> Scored:
    rows, units = client.scored(secret)
    answers = rows_of(guess.gallery, rows, len(release), attack)
    _check_columns(answers, len(client.gallery), len(rows), attack)
    originals, places = np.unique(units, return_inverse=True)
    best = torch.full((len(originals), answers.shape[1]), -torch.inf, device=answers.device)
    scores, arrays = _ranked(client, pooled(answers.float(), places, best), originals)
    held, single, sources = _single_rows(client, secret.sources[rows])
    figures, hits = _ranked_alone(client, answers[torch.from_numpy(single)].float(), held, sources)
    name = next(iter(reidentifications()))
    return {**scores, ANY + name: figures[name]}, {**arrays, "held": held, ANY + name: hits[name]}


def _attribute(client: Client, attack: Entry, guess: Guess, release: Release, secret: Secret) -> Scored:
    private, (rows, units) = client.splits.private, client.scored(secret)
    if private.attributes is None:
        raise Inapplicable(NO_ATTRIBUTE)
    answers = rows_of(guess.scores, rows, len(release), attack)
    _check_columns(answers, len(private.attribute_names), len(rows), attack)
    hits, chance = _evaluator(client, "attribute")(answers, private.attributes[units], _hard(release, rows))
    figures, arrays = _proportions(hits, chance, units)
    return {"attribute": {**figures["attribute"], "chance_constant": chance["constant"]}}, arrays


def identified(client: Client, answers: Sequence[Answers]) -> tuple[dict[str, Any], dict[str, Array], dict[str, Any]]:
    """Re-identification by every fixed embedding: one ranking per original, of all images that answer its releases.

    Beside it `any_reid_rank1` and the like: every original that is mixed into anything, by one image alone, which is
    drawn among those that hold it, in a ranking without the image's other sources: k of them beside each other would
    have rank 1 in 1 / k alone, although each is seen. A defense says itself which source dominates, and pictures of
    others hide nothing there. `facts` has `elsewhere`, see `_elsewhere`.
    """
    dominant = np.concatenate([each.dominant_rows for each in answers])
    originals = np.unique(dominant[client.is_target[dominant]])
    if not len(originals):
        raise Inapplicable(f"none of the {client.targets} targets dominates a release; use a larger --targets")
    scores: dict[str, Any] = {}
    arrays: dict[str, Array] = {"originals": originals}
    elsewhere: dict[str, Any] = {}
    held, single, sources = _single_rows(client, np.concatenate([each.sources for each in answers]))
    for embedding, names in embeddings().items():
        best = torch.full((len(originals), len(client.gallery)), -torch.inf, device=client.device)
        alone = torch.full((len(held), len(client.gallery)), -torch.inf, device=client.device)
        for rows, likeness in _likenesses(client, embedding, answers, single):
            mine = np.flatnonzero(client.is_target[dominant[rows]])
            pooled(likeness[mine], np.searchsorted(originals, dominant[rows[mine]]), best)
            drawn = np.flatnonzero(np.isin(single, rows))
            pooled(likeness[np.searchsorted(rows, single[drawn])], drawn, alone)
        figures, hits = _ranked(client, best, originals)
        scores |= {name: figures[rank] for name, rank in names.items()}
        arrays |= {name: hits[rank] for name, rank in names.items()}
        figures, hits = _ranked_alone(client, alone, held, sources)
        for name, rank in names.items():
            if name in reidentifications():
                scores[ANY + name], arrays[ANY + name] = figures[rank], hits[rank]
                elsewhere[name] = _elsewhere(client, alone, sources)
    return scores, arrays, {"elsewhere": elsewhere}


def _likenesses(
    client: Client, embedding: str, answers: Sequence[Answers], single: Array
) -> Iterator[tuple[Array, torch.Tensor]]:
    """(n,) sorted rows of all answers and their (n, M, G) likeness: rows that a target dominates, and the single ones.

    Every image once: most of the single ones are among those that a target dominates.
    """
    measure, before = _evaluator(client, embedding), 0
    for each in answers:
        wanted = client.is_target[each.dominant_rows]
        wanted[single[(single >= before) & (single < before + len(each))] - before] = True
        rows = np.flatnonzero(wanted)
        for start in range(0, len(rows), _RANKED):
            some = rows[start : start + _RANKED]
            images = each.images[torch.from_numpy(some)]
            yield some + before, measure(images, client.gallery.images, client.device)
        before += len(each)


def _single_rows(client: Client, sources: Array) -> tuple[Array, Array, Array]:
    """(q,) every target that something holds, (q,) one row of all answers that holds it, and (q, k) that one's sources.

    The row is drawn among all that hold the original, whichever of its sources (rows, k) it is.
    """
    pairs = numpy_generator(derive(b"", "single image", *sources.shape)).permutation(sources.size)
    pairs = pairs[client.is_target[sources.ravel()[pairs]]]
    held, first = np.unique(sources.ravel()[pairs], return_index=True)
    rows = pairs[first] // sources.shape[1]
    return held, rows, sources[rows]


def _elsewhere(client: Client, likeness: torch.Tensor, sources: Array) -> dict[str, int]:
    """Whether images show originals that are not mixed into them: how many of the gallery are the most alike to some.

    A scheme that gives every image the picture of another one hides it from all distances to its sources. Originals
    and distractors are images of one kind: what reveals nothing is as often most like a distractor as like an original.

    likeness  (q, G) of the images that `_single_rows` drew
    sources   (q, k) what each holds, which is left out
    returns   targets and distractors of the gallery, and how many of each are the most alike to some image
    """
    others = likeness.clone()
    for identities in client.gallery.of_private[sources].T:
        mixed_in = torch.from_numpy(identities[:, None] == client.gallery.identities)
        others.masked_fill_(mixed_in.to(others.device), -torch.inf)
    named = others.argmax(1).unique().cpu().numpy()
    targets = np.zeros(likeness.shape[1], bool)
    targets[client.gallery.columns[client.is_target]] = True
    hits, count = int(targets[named].sum()), int(targets.sum())
    others_named = {"distractors": len(targets) - count, "distractors_named": len(named) - hits}
    return {"targets": count, "named": hits, **others_named}


def pooled(likeness: torch.Tensor, places: Array, best: torch.Tensor) -> torch.Tensor:
    """The largest likeness of each original's images to each image of the gallery.

    likeness  (n, G), or (n, M, G) of M candidates
    places    (n,) which original each row is of
    best      (originals, G) float32, of the rows before: changed in place and returned
    """
    if not bool(torch.isfinite(likeness).all()):
        raise NotConverged("the scores over the gallery hold NaN or infinity")
    rows = likeness.amax(1) if likeness.ndim == 3 else likeness
    into = torch.from_numpy(places).to(rows.device)[:, None].expand_as(rows)
    return best.scatter_reduce_(0, into, rows, "amax")


def _ranked(client: Client, scores: torch.Tensor, originals: Array) -> Scored:
    gallery = client.gallery
    known, truth = gallery.by_identity(scores), gallery.truth(originals)
    hits, chance = _evaluator(client, "reidentification")(known, truth, gallery.copies)
    figures, _ = _proportions(hits, chance, originals)
    found = {
        "gallery": len(gallery),
        "identities": len(gallery.copies),
        "certain": certain(known, truth, min(chance.values())),
    }
    return {name: {**figure, **found} for name, figure in figures.items()}, {"originals": originals, **hits}


def _ranked_alone(client: Client, scores: torch.Tensor, held: Array, sources: Array) -> Scored:
    """Of one image of each original, ranked without what else is mixed into that image.

    scores   (q, G)
    sources  (q, k) what each image holds, one of them the original
    """
    gallery, rivals = client.gallery, scores.clone()
    own = gallery.of_private[held]
    for identities in gallery.of_private[sources].T:
        others = torch.from_numpy((identities != own)[:, None] & (identities[:, None] == gallery.identities))
        rivals.masked_fill_(others.to(rivals.device), torch.finfo(scores.dtype).min)
    figures, arrays = _ranked(client, rivals, held)
    many = scores.shape[1] / max(1, scores.shape[1] - (sources.shape[1] - 1))
    raised = {name: min(1.0, figure["chance"] * many) for name, figure in figures.items()}
    return {name: {**figure, **_corrected(figure, raised[name])} for name, figure in figures.items()}, arrays


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


def _corrected(score: dict[str, Any], chance: float) -> dict[str, Any]:
    """Adds chance, and the score rescaled so that 0 is chance and 1 is always right."""
    mean = score["mean"]
    beyond = None if mean is None or chance >= 1 else (mean - chance) / (1 - chance)
    return {**score, "chance": chance, "corrected": beyond}
