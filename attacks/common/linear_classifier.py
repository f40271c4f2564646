"""Multinomial logistic regression on fixed features of rehearsed releases, everything chosen by cross-validation.

The adversary's images are dealt into folds, and each fold is rehearsed by itself, so that no mixture holds images of
two folds. The strength of the penalty, and which of several kinds of features are used, are those of the least
cross-validated loss; the same held-out predictions say whether anything was learned (harness.train.convergence). They
judge every image of the adversary and not one in five, at the price of being chosen by: with a dozen settings and some
hundred images this lowers the loss by less than its standard error.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from harness.errors import Inapplicable, NotConverged
from harness.observation import Observation
from harness.randomness import derive, numpy_generator
from harness.statistics import wilson
from harness.train import hits
from harness.train.convergence import compared_with_constant
from harness.train.memo import memoised
from harness.types import Array, Bytes, Labels, Release, Scores, Secret

_FOLDS = 5
_MANY = 2000  # images from which two folds tell as much as five, at a quarter of the work
_ROWS = 12_000  # rehearsed releases beyond which images are not rehearsed again
_ITERATIONS = 200  # of L-BFGS, at most
STRENGTHS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""Values of scikit-learn's C that are tried, on standardised features; the first leaves little but the class shares."""

Featuriser = Callable[[Bytes], Array]
"""(n, 3, H, W) uint8 -> (n, d) float32"""
Answer = Callable[[Release, Secret, Array], Labels]
"""answer(release, secret, rows): see train_on_rehearsals of attacks.common.classifier"""


@dataclass(frozen=True)
class Bank:
    """Labelled images to train on.

    images  (n, 3, H, W) uint8
    labels  (n,) class numbers
    folds   (n,) which part of the cross-validation each is in
    units   (n,) the image of the adversary's that each shows, of a mixture the dominant one
    first   (n,) bool: one release of each, by which hits are counted
    """

    images: Bytes
    labels: Array
    folds: Array
    units: Array
    first: Array


@dataclass(frozen=True)
class LinearClassifier:
    """A trained classifier. `prior`: (K,) class shares, answered where nothing was learned; else None."""

    featurise: Featuriser
    model: LogisticRegression
    mean: Array
    deviation: Array
    classes: int
    prior: Array | None = None

    def predict(self, images: Bytes, batch: int = 256) -> Scores:
        """(N, K) float32 class probabilities on the CPU."""
        if self.prior is not None:
            return torch.from_numpy(np.tile(self.prior, (len(images), 1))).float()
        parts = [self.probabilities(self.featurise(images[at : at + batch])) for at in range(0, len(images), batch)]
        return torch.from_numpy(np.concatenate(parts)).float()

    def probabilities(self, features: Array) -> Array:
        """(n, K) of (n, d) features; 0 for a class that was not trained on."""
        found = np.zeros((len(features), self.classes))
        found[:, self.model.classes_] = self.model.predict_proba((features - self.mean) / self.deviation)
        return found


Trained: TypeAlias = tuple[LinearClassifier, dict[str, Any]]
"""A classifier, and the facts of its training."""


def folds_of(labels: Array, rng: np.random.Generator, sources: int = 1, intra_class: bool = False) -> Array:
    """(n,) a fold for every image, every class spread evenly over five, or over two of more than 2,000 images.

    sources, intra_class  of a mixture, all of one fold: there are fewer folds where a class or a mixture needs it.
                          Inapplicable where there are not two, or not two classes of two images
    """
    counts = np.unique(labels, return_counts=True)[1]
    folds = min(_FOLDS if len(labels) <= _MANY else 2, len(labels) // sources)
    if intra_class:
        folds = min(folds, int(counts.min()) // sources)
    if folds < 2 or (counts >= 2).sum() < 2:
        raise Inapplicable(f"{len(labels)} public images are too few to learn from and to judge by")
    order = np.lexsort((rng.random(len(labels)), labels))
    found = np.empty(len(labels), np.int64)
    found[order] = np.arange(len(labels)) % folds
    return found


def rehearsed_bank(observation: Observation, key: bytes, answer: Answer, epochs: int) -> Bank:
    """Rehearsals of all public images, those of odd number with the images mirrored.

    The same for every attack that asks with the same key, whatever else it trains on them.

    key     deals the folds: `rehearsal_key`, so that a recogniser and its floor have the same rehearsals
    answer  what is to be read from a release; soft labels count as their largest share
    epochs  how often each image is rehearsed; of more than 12,000 releases in all less often, at least once
    """
    public, device = observation.public, observation.device
    if not len(public):
        raise Inapplicable("there are no public images to rehearse on (--public-share 0)")
    intra_class = bool(observation.defense.mixing["intra_class"])
    folds = folds_of(public.labels, numpy_generator(derive(key, "folds")), observation.sources, intra_class)
    count = int(folds.max()) + 1
    images: list[Bytes] = []
    parts: list[tuple[Array, ...]] = []
    for epoch in range(min(epochs, max(1, _ROWS // len(public)))):
        for fold in range(count):
            rows = np.flatnonzero(folds == fold)
            chosen = public.images[torch.from_numpy(rows)].to(device)
            shown = chosen.flip(-1) if epoch % 2 else chosen
            release, secret = observation.rehearse(shown, public.labels[rows], epoch * count + fold)
            labels = answer(release, secret, rows)
            images.append(release.images)
            hard = labels if labels.ndim == 1 else labels.argmax(1)
            constant = np.full(len(release), fold), np.full(len(release), epoch == 0)
            parts.append((hard.cpu().numpy(), rows[secret.dominant_rows], *constant))
    labels_, units, folds_, first = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Bank(torch.cat(images), labels_, folds_, units, first)


def any_source_bank(observation: Observation, key: bytes, epochs: int) -> Bank:
    """The same rehearsals, each once for every source, labelled with that source's class.

    A defense says itself which source dominates, and so what the public label is. Where it releases another source's
    picture the label cannot be learned, and yet the picture is read: half of these labels are its own.
    """

    def column(at: int) -> Answer:
        return lambda _, secret, rows: torch.from_numpy(observation.public.labels[rows[secret.sources[:, at]]])

    banks = [rehearsed_bank(observation, key, column(at), epochs) for at in range(observation.sources)]
    labels, folds, units, first = (
        np.concatenate([getattr(bank, name) for bank in banks]) for name in ("labels", "folds", "units", "first")
    )
    return Bank(torch.cat([bank.images for bank in banks]), labels, folds, units, first)


def fit_or_any_source(observation: Observation, epochs: int, answer: Answer, fit: Callable[[Bank], Trained]) -> Trained:
    """A classifier of what `answer` says of rehearsals, or of the class of any source.

    The second is tried where held-out hits of the first are not above chance (Wilson's lower end), and taken where its
    held-out loss is further below that of its own class shares.

    fit  fit(bank) -> a classifier and the facts of its training; the facts gain `answers` in the second case
    """
    key = rehearsal_key(observation)
    classifier, report = fit(rehearsed_bank(observation, key, answer, epochs))
    low, _ = wilson(report["held_out_hits"], report["held_out_n"])
    clear = report["learned"] and low is not None and low > report["held_out_chance"]
    if clear or observation.sources == 1 or observation.defense.mixing["intra_class"]:
        return classifier, report
    try:
        other, facts = fit(any_source_bank(observation, key, epochs))
    except NotConverged:
        return classifier, report
    gain, gained = (each["constant_loss"] - each["held_out_loss"] for each in (facts, report))
    better = facts["learned"] and (gain > gained or not report["learned"])
    return (other, {**facts, "answers": "any source"}) if better else (classifier, report)


def rehearsal_key(observation: Observation) -> bytes:
    """A key that depends on the defense and the adversary's images, and not on the attack that asks for it."""
    return memoised(observation, "folds of rehearsals", (), lambda key: key)


def mirrored_bank(images: Bytes, labels: Array, folds: Array) -> Bank:
    """Images as they are, and mirrored."""
    rows = np.arange(len(labels))
    labels_, folds_, units = (np.tile(part, 2) for part in (labels, folds, rows))
    return Bank(torch.cat([images, images.flip(-1)]), labels_, folds_, units, np.repeat([True, False], len(labels)))


def fit_classifier(
    bank: Bank, featurisers: Mapping[str, Sequence[Featuriser]], classes: int
) -> tuple[LinearClassifier, dict[str, Any]]:
    """The classifier of the features and the penalty with the least cross-validated loss, and the facts of its choice.

    NotConverged where its loss is significantly above that of the class shares, the best constant guess; where it is
    not significantly below, nothing was learned and the shares are answered.

    featurisers  kinds of features by name; of several functions the features are joined
    """
    functions = {function: function(bank.images) for kind in featurisers.values() for function in kind}
    tried: dict[tuple[str, float], Array] = {}
    with threadpool_limits(1):  # the matrices are small: where cores are busy, threads wait a minute for each other
        for name, kind in featurisers.items():
            features = np.concatenate([functions[function] for function in kind], 1)
            for strength, held_out in zip(STRENGTHS, _cross_validated(features, bank, classes), strict=True):
                tried[name, strength] = held_out
        losses = {setting: _losses(held_out, bank.labels) for setting, held_out in tried.items()}
        chosen = min(losses, key=lambda setting: losses[setting].mean())
        kind = featurisers[chosen[0]]
        trained = _trained(np.concatenate([functions[f] for f in kind], 1), bank.labels, classes, [chosen[1]])[0]
    constant = np.empty(len(bank.labels))
    for fold in np.unique(bank.folds):
        held = bank.folds == fold
        constant[held] = -np.log(class_shares(bank.labels[~held], classes))[bank.labels[held]]
    first = bank.first
    correct = hits(torch.from_numpy(tried[chosen][first]), bank.labels[first])
    counted: dict[str, float] = {
        "held_out_hits": int(correct.sum()),
        "held_out_n": len(correct),
        "held_out_chance": float(np.bincount(bank.labels[first]).max() / first.sum()),
    }
    facts = compared_with_constant(losses[chosen], constant, bank.units, counted)
    report = {"uses": chosen[0], "strength": chosen[1], **facts, **counted}
    classifier = replace(trained, featurise=lambda images: np.concatenate([function(images) for function in kind], 1))
    prior = None if facts["learned"] else class_shares(bank.labels, classes)
    return replace(classifier, prior=prior), report


def class_shares(labels: Array, classes: int) -> Array:
    """(K,) the share of every class, each counted once more than it occurs (Laplace's rule: none is 0)."""
    counts = np.bincount(labels, minlength=classes) + 1.0
    shares: Array = counts / counts.sum()
    return shares


def _cross_validated(features: Array, bank: Bank, classes: int) -> list[Array]:
    """For every strength (n, K) predictions of each row by a classifier that was trained on the other folds.

    A class that the other folds lack has the probability that Laplace's rule gives it, as in the constant guess.
    """
    found = [np.zeros((len(features), classes)) for _ in STRENGTHS]
    for fold in np.unique(bank.folds):
        held = bank.folds == fold
        lacking = np.bincount(bank.labels[~held], minlength=classes) == 0
        unseen = np.where(lacking, class_shares(bank.labels[~held], classes), 0)
        for predicted, trained in zip(
            found, _trained(features[~held], bank.labels[~held], classes, STRENGTHS), strict=True
        ):
            predicted[held] = trained.probabilities(features[held]) * (1 - unseen.sum()) + unseen
    return found


def _trained(features: Array, labels: Array, classes: int, strengths: Sequence[float]) -> list[LinearClassifier]:
    """A classifier for every strength, each starting from the one before; features are standardised."""
    mean, deviation = features.mean(0), features.std(0)
    deviation = np.where(deviation > 1e-6, deviation, 1.0).astype(np.float32)
    standard = (features - mean) / deviation
    if len(np.unique(labels)) < 2:
        raise Inapplicable("all labels are of one class: there is nothing to tell apart")
    model = LogisticRegression(max_iter=_ITERATIONS, warm_start=True)
    found = []
    for strength in strengths:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # stopping early is one more penalty
            model.set_params(C=strength).fit(standard, labels)
        found.append(LinearClassifier(_no_features, copy.deepcopy(model), mean, deviation, classes))
    return found


def _no_features(images: Bytes) -> Array:
    raise AssertionError("a classifier of the cross-validation is given features, not images")


def _losses(predicted: Array, labels: Array) -> Array:
    """(n,) cross-entropy in nats."""
    found: Array = -np.log(np.maximum(predicted[np.arange(len(labels)), labels], 1e-7))
    return found
