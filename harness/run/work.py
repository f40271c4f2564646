"""The arithmetic behind a record: the distances of a release, the accuracy of a model, the scores of an attack.

Everything that can change a figure is reachable from the three functions here, and nothing else should be: planning,
records and progress are `harness.run.bench`'s. A record's code hash covers the definitions reached from here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch

from harness.client.client import Client
from harness.errors import Skipped
from harness.images import to_images
from harness.randomness import derive, root_of, torch_generator
from harness.registry import Entry, bind
from harness.registry.own_networks import OwnNetwork
from harness.release import as_tensor
from harness.run.answers import of_release
from harness.run.originals import Minima, pairs_at_a_time, summaries
from harness.run.rehearsal_check import compare, compare_scores
from harness.run.scoring import identified, must_beat_chance, score
from harness.run.shown import Shown, unseen_distances
from harness.scores import UNSEEN, judged
from harness.statistics import summarise
from harness.train import TrainingTask, own
from harness.types import Array, Bytes, Guess

Outcome: TypeAlias = tuple[dict[str, Any], dict[str, Array], dict[str, Any]]
"""scores, the per-image arrays behind them, and further facts."""


def measure_release(client: Client, defense: Entry, seed: int) -> Outcome:
    """Distances of release 0 to its originals; and of all releases how close they come to each, and whom they show.

    A metric that lacks something from outside (weights) is a score without values that says why.
    """
    release, secret = client.release(defense, seed, 0)
    rows, units = client.scored(secret)
    arrays: dict[str, Array] = {}
    missing: dict[str, Any] = {}
    for name, entry in client.registry.section("metrics").items():
        columns = secret.sources[rows] if name in judged() else secret.dominant_rows[rows][:, None]
        try:
            grid = _distances(client, bind(entry), release.images, rows, columns)
        except Skipped as reason:
            missing[name] = {**summarise([]), "reason": str(reason)}
            continue
        if name in judged():
            arrays[f"any_{name}"], arrays[f"every_{name}"] = grid.min(1), grid.mean(1)
            grid = grid[np.arange(len(rows)), secret.dominant[rows]][:, None]
        arrays[name] = grid[:, 0]
    scores = {name: summarise(values, units=units, proportion=False) for name, values in arrays.items()}
    minima, shown, answers, seen = Minima(client), Shown(client), [], set[tuple[bytes, bytes]]()
    for number in range(client.releases):
        its = client.release(defense, seed, number)
        answers.append(of_release(client, *its).not_in(seen))
        minima.add(answers[-1])
        shown.add(number, *its)
    by_original = minima.arrays(raw=True)
    by_original[f"{UNSEEN}{judged()[0]}"] = unseen_distances(client, by_original["held"])
    known, hits, found = identified(client, answers)
    rehearsal = compare(client, defense, seed)
    found |= shown.facts(lambda number: client.release(defense, seed, number)[0], minima.nearest)
    facts = {"released": len(release), "rehearsal": rehearsal, **found, **client.splits.notes}
    scores |= {**summaries(by_original), **known, **missing}
    return scores, {"units": units, **arrays, **by_original, **hits}, facts


def _distances(
    client: Client, metric: Callable[..., torch.Tensor], images: Bytes, rows: Array, columns: Array
) -> Array:
    """(n, k) distances of released images to the originals of their columns.

    rows     (n,) which of the released images
    columns  (n, k) rows of the private set
    """
    parts = []
    step = pairs_at_a_time(images.shape[1:], client.device)
    for start in range(0, len(rows), step):
        some = slice(start, start + step)
        released = to_images(images[torch.from_numpy(rows[some])].to(client.device))
        originals = to_images(client.originals(columns[some]).to(client.device))
        found = [metric(released, original) for original in originals.unbind(1)]
        parts.append(torch.stack(found, 1).double().cpu().numpy())
    return np.concatenate(parts)


def train_utility(
    client: Client, evaluator: Entry, defense: Entry, seed: int, epochs: int, network: OwnNetwork | None = None
) -> Outcome:
    """Accuracy on the clean test images of a model that `evaluator` trains for T epochs, epoch e on release e mod R.

    network  of one's own, which takes the place of the evaluator's model
    """
    task = TrainingTask(
        release=lambda epoch: client.release(defense, seed, epoch % client.releases)[0],
        test_images=as_tensor(client.splits.test.images),
        test_labels=client.splits.test.labels,
        classes=len(client.splits.classes),
        epochs=epochs,
        key=derive(root_of(seed), "training"),
        device=client.device,
        network=None if network is None else partial(own.build, network),
    )
    correct, facts = bind(evaluator)(task)
    accuracy, chance = summarise(correct), float(np.bincount(task.test_labels).max() / len(correct))
    return {"utility": {**accuracy, "chance": chance}}, {"utility": correct}, facts


def run_attack(client: Client, defense: Entry, attack: Entry, seed: int, *, must_learn: bool = False) -> Outcome:
    """The scores of one attack on the release of epoch 0.

    must_learn  the attack's proof on undefended images: NotConverged where it does not beat chance
    """
    observation = client.observe(defense, attack, seed)
    rng = torch_generator(derive(root_of(seed), "attack", attack.name), client.device)
    guess: Guess = bind(attack)(observation, rng)
    scores, arrays = score(
        client, attack, guess, *client.release(defense, seed, 0), lambda number: client.release(defense, seed, number)
    )
    if must_learn:
        must_beat_chance(attack, guess.report, scores)
    rehearsal = compare_scores(guess.report, arrays)
    return scores, arrays, dict(guess.report) | ({"rehearsal": rehearsal} if rehearsal else {})
