"""The images of a survey judged by an attack, as Raynal et al. 2020 asked Google Vision (section 4.3).

An attack that labels images (its entry has the knob `labels`) recognises every class among its labels, however many do:
the paper's rule. Any other names one class, the likeliest. An attack that is granted the defense gets the questions of
one defense and setting at a time, as its adversary would.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from harness.client.client import scheme_of
from harness.errors import HarnessError, Inapplicable, NotConverged, Skipped
from harness.observation import KnownDefense, LabelledImages, Observation
from harness.randomness import derive, root_of, torch_generator
from harness.registry import Entry, Registry, bind
from harness.release import as_tensor
from harness.study.agreement import Said, check_alike
from harness.study.key import Asked, Key

if TYPE_CHECKING:
    from harness.types import Guess, Progress, Splits

_GRANTED = frozenset({"defense", "public"})
_Group = list[tuple[Key, Asked]]


def check(attack: Entry) -> None:
    """HarnessError for an attack that names no classes, or needs more than a survey has."""
    if attack.kind != "recognition":
        raise HarnessError(
            f"attack {attack.name} is of kind {attack.kind} and names no classes; use google_vision, timm_labels or cnn"
        )
    if more := sorted(set(attack.granted) - _GRANTED):
        raise HarnessError(
            f"attack {attack.name} needs {', '.join(more)}, and a survey has single images without labels; use cnn, say"
        )


def needs_data(attack: Entry) -> bool:
    """Whether it learns from public images of the data set."""
    return "public" in attack.granted


def check_data(keys: Sequence[Key], splits: Splits) -> None:
    """HarnessError unless these are the images that the surveys were made of, with public ones among them."""
    for key in keys:
        if key.dataset["fingerprint"] != splits.fingerprint:
            raise HarnessError(
                f"survey {key.survey} was made of other images ({key.dataset['name']}, fingerprint "
                f"{key.dataset['fingerprint']}) than {splits.name} ({splits.fingerprint}) with its size, limit and "
                "public share; give the same folder"
            )
    if not len(splits.public):
        raise HarnessError(f"{splits.name} has no public images to learn from (--public-share 0); make another survey")


def ask(
    keys: Sequence[Key],
    attack: Entry,
    registry: Registry,
    splits: Splits | None,
    *,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> tuple[list[Said], int]:
    """What the attack names in every image of the surveys, and how many of its networks learned nothing.

    splits  the data set, for an attack that learns from it (`check_data`)

    Raises Skipped where it lacks credentials or weights, HarnessError where it fails or its training did not converge.
    """
    check_alike(keys)
    groups = _groups(keys, apart="defense" in attack.granted)
    said: dict[tuple[str, str], Said] = {}
    lost = 0
    for number, group in enumerate(groups):
        if progress and len(groups) > 1:
            progress(f"asking {attack.name}", number, len(groups))
        guess = _guess(group, attack, registry, splits, seed, device)
        lost += guess.report.get("learned") is False
        for (key, question), named in zip(group, _named(guess, attack, len(group), len(keys[0].classes)), strict=True):
            said[key.survey, question.id] = Said(key, question, attack.name, attack.name, named)
    if progress and len(groups) > 1:
        progress(f"asking {attack.name}", len(groups), len(groups))
    return [said[key.survey, question.id] for key in keys for question in key.questions], lost


def _groups(keys: Sequence[Key], *, apart: bool) -> list[_Group]:
    """All questions, or those of each defense and setting apart."""
    groups: dict[str, _Group] = {}
    for key in keys:
        for question in key.questions:
            name = f"{question.defense} {sorted(question.settings.items())}" if apart else ""
            groups.setdefault(name, []).append((key, question))
    return list(groups.values())


def _guess(group: _Group, attack: Entry, registry: Registry, splits: Splits | None, seed: int, device: str) -> Guess:
    granted, question = frozenset(attack.granted), group[0][1]
    images = torch.from_numpy(np.stack([each.image for _, each in group])).to(device)
    sources = max(len(each.classes) for _, each in group)
    given: dict[str, Any] = {}
    if "defense" in granted:
        defense = registry.get("defenses", question.defense).with_settings(question.settings)
        scheme = scheme_of(defense, registry)
        given["_known"] = KnownDefense(deepcopy(defense.params), deepcopy(scheme.mixing), frozenset(defense.traits))
        given |= {"_scheme": scheme, "_key": derive(root_of(seed), "rehearsal")}
    if "public" in granted:
        assert splits is not None
        given["_public"] = LabelledImages(as_tensor(splits.public.images), splits.public.labels.copy())
    observation = Observation(images, np.arange(len(images)), group[0][0].classes, sources, device, granted, **given)
    try:
        guess: Guess = bind(attack)(observation, torch_generator(derive(root_of(seed), "attack", attack.name), device))
    except Skipped:
        raise
    except (Inapplicable, NotConverged) as reason:
        raise HarnessError(f"{attack.name}: {reason}") from None
    return guess


def _named(guess: Guess, attack: Entry, images: int, classes: int) -> list[frozenset[int]]:
    """The classes that count as named in each image; a row without a positive score names none."""
    scores = torch.as_tensor(guess.scores).float().cpu()
    if tuple(scores.shape) != (images, classes) or not bool(torch.isfinite(scores).all()):
        raise HarnessError(
            f"{attack.name}: scores of shape {tuple(scores.shape)}; expected finite ones, {images} x {classes}"
        )
    if "labels" in attack.params:
        return [frozenset(row.nonzero()[:, 0].tolist()) for row in scores > 0]
    return [frozenset({int(row.argmax())}) if bool((row > 0).any()) else frozenset() for row in scores]
