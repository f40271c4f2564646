"""Recognition by a network trained on undefended images, as a service that knows nothing of the defense would have.

The network and training of `cnn` (McPherson et al. 2016) on the adversary's own images as they are. The difference to
`cnn` is what knowing the defense contributes (Raynal et al. 2020, section 4.4, has both kinds of recogniser).
"""

from __future__ import annotations

from typing import Any

import torch

from harness.errors import Inapplicable
from harness.observation import Observation
from harness.plugins.attacks.common.classifier import held_out_hits, new_learner, recipe_of, split_classes
from harness.randomness import derive, key_from, numpy_generator
from harness.train import Learner, batch_for, fit_until_flat, seeded
from harness.train.memo import memoised
from harness.types import Generator, Guess


def clean_cnn(observation: Observation, rng: Generator, *, arch: str, train_epochs: int) -> Guess:
    """Class scores of a network trained on the adversary's own images as they are.

    arch          mcpherson_face, mcpherson_cifar, or any torchvision or timm network (from scratch)
    train_epochs  passes over the adversary's images, at least; raised to 1,000 steps, and on until the loss is flat
    """
    learner, report = memoised(
        observation,
        "clean_cnn",
        (arch, train_epochs),
        lambda key: _train(observation, key, arch, train_epochs),
        rng_key=key_from(rng),
    )
    return Guess(scores=learner.predict(observation.images[observation.targets]), report=report)


def _train(observation: Observation, key: bytes, arch: str, train_epochs: int) -> tuple[Learner, dict[str, Any]]:
    public, classes = observation.public, len(observation.classes)
    if not len(public):
        raise Inapplicable("there are no public images to train on (--public-share 0)")
    fit, judge = split_classes(public.labels, numpy_generator(derive(key, "split")))
    if not len(fit):
        raise Inapplicable(f"{len(public)} public images are too few to train on and to judge by")
    images, labels = public.images.to(observation.device), torch.from_numpy(public.labels)
    data, held_out = ((images[rows], labels[rows]) for rows in map(torch.from_numpy, (fit, judge)))
    with seeded(key, observation.device):
        learner = new_learner(arch, classes, observation, batch_for(len(fit), train_epochs, recipe_of(arch)), key)
        report = fit_until_flat(learner, lambda _: data, held_out, rounds=train_epochs, classes=classes)
    return learner, {**report, **held_out_hits(learner, *held_out)}
