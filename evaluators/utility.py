"""Utility of a release: accuracy on clean images of a model trained on it. Raynal et al. 2020, section 5."""

from __future__ import annotations

from harness.randomness import derive
from harness.train import (
    Learner,
    TrainingTask,
    batch_for,
    hits,
    networks,
    recipe_named,
    require_evaluation_mode,
    seeded,
    steps_per_epoch,
)
from harness.types import Array


def utility(task: TrainingTask, *, model: str, recipe: str) -> tuple[Array, dict[str, float]]:
    """Train on a fresh release every epoch, then classify the clean test images.

    HarnessError where an image's class depends on the images beside it (see harness.train.require_evaluation_mode).

    model    a torchvision or timm network, from scratch, unless the task has a network of its own
    recipe   "default" or "paper" (see harness.train.RECIPES)
    returns  (N,) 1 where the model classifies a test image rightly, else 0; and facts for the record
    """
    settings = recipe_named(recipe)
    with seeded(task.key, task.device):
        release = task.release(0)
        batch = batch_for(len(release), task.epochs, settings)
        steps = task.epochs * steps_per_epoch(len(release), batch)
        height, width = release.images.shape[2:]
        size = (height, width)
        network = task.network(task.classes, size) if task.network else networks.build(model, task.classes, size)
        learner = Learner(network, settings, batch, derive(task.key, "fit"), task.device, steps)
        losses = []
        for epoch in range(task.epochs):
            losses.append(learner.epoch(release.images, release.labels))
            if epoch + 1 < task.epochs:
                release = task.release(epoch + 1)
    predicted = learner.predict(task.test_images)
    require_evaluation_mode(learner, task.test_images, predicted)
    correct = hits(predicted, task.test_labels)
    return correct.astype(float), {"steps": learner.steps, "batch": batch, "train_loss": losses[-1]}
