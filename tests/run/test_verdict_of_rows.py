"""Schemes that hide from one row's own distances fail or do not match; schemes that show nothing do neither."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
import torch

from harness import release
from harness.images import to_bytes
from harness.leaderboard.judgement import EXPOSED
from harness.leaderboard.row import RowRecords, make_row
from harness.records import Records
from harness.registry import Entry, load_registry
from harness.run.bench import Bench
from tests.planted.data import photographs, splits_of
from tests.planted.sound import SOUND

SIZE, SCORED, PER_CALL = 32, 20, 8
MIXING = {"weights": [1.0], "pairing": "permutation", "intra_class": False, "label": "dominant"}
_asked: list[torch.Tensor] = []


def noise(sources, rng):
    return torch.rand(sources[:, 0].shape, generator=rng)


def chosen(image, one_in):
    """By the picture alone."""
    return int(to_bytes(image).long().sum()) % one_in == 0


def few_shown(sources, weights, rng):
    """Some of the pictures, whoever is scored."""
    images = noise(sources, rng)
    for row, picture in enumerate(sources[:, 0]):
        images[row] = picture if chosen(picture, 4) else images[row]
    return images


def lagged(sources, weights, rng, negative=False):
    """Pictures of five calls ago, one in four."""
    images, then = noise(sources, rng), _asked[-5] if len(_asked) >= 5 else []
    for row, picture in enumerate(then[: len(images)]):
        if chosen(picture, 4):
            images[row] = 1 - picture if negative else picture
    _asked.append(sources[:, 0].clone())
    if len(sources) < PER_CALL:
        _asked.clear()
    return images


def lagged_negatives(sources, weights, rng):
    return lagged(sources, weights, rng, True)


def poster(sources, weights, rng, negative=False):
    """The first picture that it was ever asked for stands in every image."""
    _asked[:] = _asked or [sources[0, 0].clone()]
    return (1 - _asked[0] if negative else _asked[0]).expand(sources[:, 0].shape).clone()


def poster_negative(sources, weights, rng):
    return poster(sources, weights, rng, True)


def fractal(sources, weights, rng):
    """Noise with the spectrum of photographs, at a random contrast."""
    n, _, _, height, width = sources.shape
    f = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    f[0, 0] = 1
    white = torch.randn(n, 3, height, width, generator=rng).numpy()
    made = np.fft.ifft2(np.fft.fft2(white + 2 * white[:, :1]) / f**1.5).real
    made = made / made.std((2, 3), keepdims=True) * torch.rand(n, 1, 1, 1, generator=rng).numpy() * 0.3 + 0.5
    return torch.from_numpy(made).float().clamp(0, 1)


def dead_leaves(sources, weights, rng):
    """Discs of random colours upon each other."""
    n, _, _, height, width = sources.shape
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    images = torch.rand(n, 3, 1, 1, generator=rng).expand(n, 3, height, width).clone()
    for image in images:
        for down, along, radius, *colour in torch.rand(25, 6, generator=rng).tolist():
            disc = (y - down * height) ** 2 + (x - along * width) ** 2 < ((0.05 + radius / 2) * height) ** 2
            image[:, disc] = torch.tensor(colour)[:, None]
    return images


def poisson_gain(sources, weights, rng):
    """Of its own source alone; its random numbers depend on the content."""
    images = torch.poisson(sources[:, 0] * 20, generator=rng) / 20
    return (images * 0.25 + 0.75 * torch.rand(len(images), 1, 1, 1, generator=rng)).clamp(0, 1)


@pytest.fixture
def judged(monkeypatch):
    """judged(function) -> the row of its two releases; of 60 photographs 20 are scored."""
    _asked.clear()
    monkeypatch.setitem(release._CHUNK_FLOATS, "cpu", PER_CALL * 3 * SIZE**2)
    data = photographs(SIZE)
    others = splits_of(replace(data, private=data.public, private_labels=data.public_labels)).private
    half = len(others) // 2
    splits = replace(
        splits_of(data), test=others.take(np.arange(half)), public=others.take(np.arange(half, len(others)))
    )

    def run(function):
        module = ModuleType("planted_rows")
        module.function = function
        monkeypatch.setitem(__import__("sys").modules, "planted_rows", module)
        entry = Entry("planted_rows", "defenses", "planted_rows:function", 1, {}, MIXING, cite="planted")
        bench = Bench(splits, load_registry(), Records.nowhere(), targets=SCORED, epochs=2, releases=2)
        made = bench.do(bench.release_piece(entry, 0))
        assert made.status == "ok", made.reason
        return make_row(RowRecords([made], [], released=2, epochs=2)), made.facts

    return run


@pytest.mark.parametrize("function", [few_shown, lagged, lagged_negatives, poster, poster_negative])
def test_pictures_that_no_scored_row_may_show_are_found(function, judged):
    row, facts = judged(function)

    assert row.passes[EXPOSED] is False, (row.judgements[EXPOSED].words, facts["own_rows"], facts["wrong_rows"])


@pytest.mark.parametrize("function", [lagged, lagged_negatives])
def test_state_between_calls_is_a_mismatch(function, judged):
    assert judged(function)[0].mismatch


def test_random_numbers_that_depend_on_the_content_are_no_mismatch(judged):
    row, facts = judged(poisson_gain)

    assert row.mismatch == []
    assert facts["own_rows"]["shown"] == facts["wrong_rows"]["shown"] == 0
    assert "named for certain" in row.judgements[EXPOSED].words  # the noise is weak: features survive it


@pytest.mark.parametrize("function", [*SOUND.values(), fractal, dead_leaves])
def test_what_shows_nothing_is_not_called_shown_and_matches(function, judged):
    row, facts = judged(function)

    assert row.mismatch == [] and row.passes[EXPOSED] is not False, row.judgements[EXPOSED].words
    assert facts["own_rows"]["shown"] == facts["wrong_rows"]["unlike_any"] == 0
