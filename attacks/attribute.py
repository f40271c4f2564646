"""Reading what the public label does not tell: a network trained on rehearsals names a second attribute.

The breach is anything but the label (Raynal et al. 2020, section 2). The network is that of `cnn`.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from attacks.cnn import learn
from harness.errors import Inapplicable
from harness.observation import Observation
from harness.randomness import key_from
from harness.train import Learner
from harness.types import Array, Generator, Guess, Labels, Release, Scores, Secret


def attribute(observation: Observation, rng: Generator, *, arch: str, train_epochs: int) -> Guess:
    """Scores of the dominant source's attribute: (n, A) over `observation.attributes`.

    arch, train_epochs  as for `cnn`
    """
    learner, report = reader(observation, key_from(rng), arch, train_epochs)
    rows = torch.from_numpy(observation.targets)
    read = learner.predict(observation.images[rows])
    return Guess(scores=read * allowed(observation, observation.labels[rows].cpu()), report=report)


def reader(observation: Observation, key: bytes, arch: str, train_epochs: int) -> tuple[Learner, dict[str, float]]:
    """A network that reads the dominant source's attribute from a release, and how its training went."""
    public = observation.public
    attributes = public.attributes
    if attributes is None:
        raise Inapplicable("the data set has no second attribute; use one with a coarse label, such as cifar10_coarse")

    def answer(release: Release, secret: Secret, rows: Array) -> Labels:
        return torch.from_numpy(attributes[rows[secret.dominant_rows]])

    return learn(observation, key, answer, len(observation.attributes), arch, train_epochs)


def allowed(observation: Observation, labels: Labels) -> Scores:
    """(n, A) how far each public label leaves room for each attribute: the share of its classes that ever have it."""
    public, classes = observation.public, len(observation.classes)
    seen = torch.zeros(classes, len(observation.attributes))
    seen[torch.from_numpy(public.labels), torch.from_numpy(public.attributes)] = 1
    shares = labels.float() if labels.ndim == 2 else functional.one_hot(labels, classes).float()
    return shares @ seen
