"""Recognition by a network trained on undefended images, as a service that knows nothing of the defense would have.

The network and training of `cnn` (McPherson et al. 2016) on the adversary's own images as they are. The difference to
`cnn` is what knowing the defense contributes (Raynal et al. 2020, section 4.4, has both kinds of recogniser).
"""

from __future__ import annotations

from typing import Any

import torch

from harness.errors import Inapplicable
from harness.observation import Observation
from harness.plugins.attacks.common.classifier import Classifier, train_on_images
from harness.randomness import key_from
from harness.train.memo import memoised
from harness.types import Generator, Guess


def clean_cnn(observation: Observation, rng: Generator, *, arch: str, train_epochs: int) -> Guess:
    """Class scores of a network trained on the adversary's own images as they are.

    arch          as for `cnn`
    train_epochs  passes over the adversary's images, at least; raised to 1,000 steps, and on until the loss is flat
                  (kmeans_patches sees every image twice, mirrored once)
    """
    classifier, report = memoised(
        observation,
        "clean_cnn",
        (arch, train_epochs),
        lambda key: _train(observation, key, arch, train_epochs),
        rng_key=key_from(rng),
    )
    return Guess(scores=classifier.predict(observation.images[observation.targets]), report=report)


def _train(observation: Observation, key: bytes, arch: str, train_epochs: int) -> tuple[Classifier, dict[str, Any]]:
    public = observation.public
    if not len(public):
        raise Inapplicable("there are no public images to train on (--public-share 0)")
    images, labels = public.images.to(observation.device), torch.from_numpy(public.labels)
    return train_on_images(observation, key, images, labels, len(observation.classes), arch, train_epochs)
