"""A survey of small pictures, whose classes are four colours, and people who answer it.

The people of `simulated` are SIMULATED: their chance to recognise a source is a known function of its dSSIM. They stand
in tests alone; nothing that is published is computed from them.
"""

from __future__ import annotations

import json
import math
from functools import lru_cache

import numpy as np

from harness.registry import load_registry
from harness.study.make import make
from harness.types import Dataset, Splits

CLASSES = ("blue_car", "green_frog", "red_fox", "white_<b>cat</b>")
REQUEST = {"size": None, "limit": None, "public_share": None}


def splits(size=32, images=6, classes=CLASSES):
    """Noise in the colour of the class, different in every image; as many public images as private ones."""
    parts = [_role(role, size, images, classes) for role in range(3)]
    return Splits("colours", *parts, fingerprint="f" * 32)


def _role(role, size, images, classes):
    rng = np.random.default_rng(role)
    labels = np.repeat(np.arange(len(classes)), images)
    colours = np.array([[40, 60, 200], [40, 180, 60], [200, 60, 40], [220, 220, 220], [90, 20, 90]])[labels]
    pixels = colours[:, :, None, None] + rng.integers(-30, 31, (len(labels), 3, size, size))
    names = tuple(f"{classes[label]}/{number}.png" for number, label in enumerate(labels))
    hashes = np.array([f"{role}{number:031}" for number in range(len(labels))], "S32")
    return Dataset(pixels.clip(0, 255).astype(np.uint8), labels, hashes, names, tuple(classes))


@lru_cache
def survey(seed=1, size=32, paper_knobs=False):
    return make(splits(size), REQUEST, load_registry(), seed, paper_knobs=paper_knobs)


def write_answers(file, key, person, answers):
    """A file as the page saves it. answers: question -> names of classes"""
    file.write_text(json.dumps({"form": 1, "survey": key.survey, "person": person, "answers": answers}))
    return file


def simulated(key, dssim, person, threshold=0.6, width=0.05):
    """SIMULATED answers: a source is named with the chance 1 / (1 + exp((dSSIM - threshold) / width)).

    dssim  (question, source) -> dSSIM
    """
    rng = np.random.default_rng(int.from_bytes(person.encode(), "little"))
    return {
        question.id: [
            key.classes[number]
            for source, number in enumerate(question.classes)
            if rng.random() < 1 / (1 + math.exp((dssim[question.id, source] - threshold) / width))
        ]
        for question in key.questions
    }
