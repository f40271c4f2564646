"""Training as utility and every learned attack use it: recipes, a learner, and when it has converged."""

from harness.train.learner import (
    RECIPES,
    Learner,
    Recipe,
    TrainingTask,
    autocast,
    batch_for,
    fit_until_flat,
    hits,
    prepare,
    recipe_named,
    require_evaluation_mode,
    seeded,
    steps_per_epoch,
)

__all__ = [
    "RECIPES",
    "Learner",
    "Recipe",
    "TrainingTask",
    "autocast",
    "batch_for",
    "fit_until_flat",
    "hits",
    "prepare",
    "recipe_named",
    "require_evaluation_mode",
    "seeded",
    "steps_per_epoch",
]
