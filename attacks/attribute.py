"""Reading what the public label does not tell: a network trained on rehearsals names a second attribute.

The breach is anything but the label (Raynal et al. 2020, section 2). The network is that of `cnn`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from harness.errors import Inapplicable
from harness.observation import Observation
from harness.plugins.attacks.cnn import learn
from harness.plugins.attacks.linking.link import along, tracks_of_targets
from harness.train import Learner
from harness.train.memo import memoised
from harness.types import Array, Generator, Guess, Labels, Release, Scores, Secret


def attribute(observation: Observation, rng: Generator, *, arch: str, train_epochs: int) -> Guess:
    """Scores of the dominant source's attribute: (n, A) over `observation.attributes`.

    arch, train_epochs  as for `cnn`
    """
    learner, report = reader(observation, arch, train_epochs)
    read = learner.predict(observation.images[observation.targets])
    return Guess(scores=read * allowed(observation, labels_of_targets(observation)), report=report)


def attribute_linked(observation: Observation, rng: Generator, *, arch: str, train_epochs: int) -> Guess:
    """The same network on every release that linking finds the same original in: log scores averaged over a track.

    arch, train_epochs  as for `cnn`
    """
    _attributes(observation)
    tracks = tracks_of_targets(observation)
    learner, report = reader(observation, arch, train_epochs)
    read = along(tracks, observation.releases, learner.predict)
    return Guess(scores=read * allowed(observation, labels_of_targets(observation)), report=report)


def reader(observation: Observation, arch: str, train_epochs: int) -> tuple[Learner, dict[str, Any]]:
    """A network that reads the dominant source's attribute from a release, and how its training went."""
    attributes = _attributes(observation)

    def answer(release: Release, secret: Secret, rows: Array) -> Labels:
        return torch.from_numpy(attributes[rows[secret.dominant_rows]])

    def train(key: bytes) -> tuple[Learner, dict[str, Any]]:
        return learn(observation, key, answer, len(observation.attributes), arch, train_epochs)

    return memoised(observation, "attribute", (arch, train_epochs), train)


def _attributes(observation: Observation) -> Array:
    attributes = observation.public.attributes
    if attributes is None:
        raise Inapplicable("the data set has no second attribute; use one with a coarse label, such as cifar10_coarse")
    return attributes


def labels_of_targets(observation: Observation) -> Labels:
    return observation.labels[torch.from_numpy(observation.targets)].cpu()


def allowed(observation: Observation, labels: Labels) -> Scores:
    """(n, A) the room that each public label leaves for each attribute: the share of its classes that have it."""
    public, classes = observation.public, len(observation.classes)
    seen = torch.zeros(classes, len(observation.attributes))
    seen[torch.from_numpy(public.labels), torch.from_numpy(public.attributes)] = 1
    shares = labels.float() if labels.ndim == 2 else functional.one_hot(labels, classes).float()
    return shares @ seen
