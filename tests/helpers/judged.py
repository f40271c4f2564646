"""Judgements made by hand, and SIMULATED ones of surveys that were made: nothing that is published comes from them."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from harness.registry import Registry, load_registry
from harness.study.agreement import Said, judge
from harness.study.judgements import PEOPLE, Judgement, Judgements, Pair, write
from tests.helpers.surveys import simulated, survey

DATASET = {"name": "pictures", "fingerprint": "f" * 32, "height": 64, "width": 64, "knobs": "scaled"}
METRICS = ("dssim", "dhaar")
HALF, WIDTH = 0.6, 0.05
"""Of the simulated people: the dSSIM at which half is recognised, and the width of the curve."""


def by_hand(distances, recognised, people=("ann",), kind=PEOPLE, dataset=None, metrics=None):
    """One image for each distance, judged by each person alike. recognised  one for each, or (person, image)"""
    names = [f"s1/q{place:02}" for place in range(len(distances))]
    pairs = [Pair(name, 0, "mix", metrics or {"dssim": float(d)}) for name, d in zip(names, distances, strict=True)]
    verdicts = np.broadcast_to(np.asarray(recognised, bool), (len(people), len(names)))
    judgements = [
        Judgement(name, 0, person, kind, bool(hit))
        for person, hits in zip(people, verdicts, strict=True)
        for name, hit in zip(names, hits, strict=True)
    ]
    return Judgements(dataset or DATASET, pairs, judgements)


def write_by_hand(file, *given, **more):
    write(by_hand(*given, **more), file)
    return file


@lru_cache
def answered_surveys(count=24):
    """SIMULATED: as many people as surveys, each with one of their own; a third metric, `noise`, is noise."""
    every = load_registry().entries
    registry = Registry(tuple(each for each in every if each.section != "metrics" or each.name in METRICS))
    keys = [survey(seed).key for seed in range(1, count + 1)]
    found, _ = judge(keys, [], registry)
    dssim = {(pair.image, pair.source): pair.metrics["dssim"] for pair in found.pairs}
    judgements = []
    for number, key in enumerate(keys):
        mine = {
            (question.id, source): dssim[key.image_id(question), source]
            for question in key.questions
            for source in range(len(question.classes))
        }
        answers = simulated(key, mine, f"person{number}", HALF, WIDTH)
        places = {name: place for place, name in enumerate(key.classes)}
        for question in key.questions:
            named = frozenset(places[name] for name in answers[question.id])
            said = Said(key, question, f"person{number}", PEOPLE, named)
            judgements += [
                Judgement(said.image, source, said.by, said.kind, hit) for source, hit in enumerate(said.hits)
            ]
    rng = np.random.default_rng(24)
    pairs = [replace(pair, metrics={**pair.metrics, "noise": float(rng.random())}) for pair in found.pairs]
    return Judgements({**found.dataset, "simulated": True}, pairs, judgements)
