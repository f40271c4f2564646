"""Schemes of an adversary that passed every part: pictures among clutter, and a few people shown openly in a pose."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from harness.images import to_bytes, to_images
from harness.run.answers import Answers
from harness.run.scoring import identified
from harness.scores import reidentifications
from tests.helpers import planted
from tests.planted.data import photographs
from tests.planted.sound import SOUND

N, SIZE = 60, 64


@pytest.fixture(scope="module")
def client():
    """60 photographs in a gallery with 120 others."""
    data = photographs(SIZE)
    private = planted.dataset(data.private, np.arange(len(data.private)) % 3)
    test = planted.dataset(data.public, np.arange(len(data.public)) % 3)
    return planted.bench(None, replace(planted.splits(), private=private, test=test)).client


def scored(client, shown):
    """The figures of one release that shows, in row i, what stands for original i: (N, 3, H, W) in [0, 1]."""
    rows = np.arange(N)
    scores, _, _ = identified(client, [Answers(to_bytes(shown)[:, None], rows[:, None], np.zeros(N, np.int64))])
    return {name: scores[name] for name in reidentifications()}


def originals(client):
    return to_images(torch.from_numpy(client.splits.private.images))


def static(rng):
    return torch.from_numpy(rng.random((N, 3, SIZE, SIZE), np.float32))


def fractal(rng):
    """Noise of the spectrum of photographs, at a brightness and contrast of its own."""
    down, along = np.fft.fftfreq(SIZE)[:, None], np.fft.fftfreq(SIZE)
    falling = np.hypot(down, along).clip(1 / SIZE) ** -1.5
    waves = np.fft.ifft2(np.fft.fft2(rng.normal(size=(N, 3, SIZE, SIZE))) * falling).real
    waves /= waves.std((2, 3), keepdims=True)
    mean, spread = rng.uniform(0.2, 0.8, (N, 1, 1, 1)), rng.uniform(0.05, 0.35, (N, 1, 1, 1))
    return torch.from_numpy(mean + spread * waves).float().clamp(0, 1)


def leaves(rng):
    """Discs of random colours over each other."""
    down, along = np.mgrid[0:SIZE, 0:SIZE]
    shown = rng.random((N, 3, 1, 1)).repeat(SIZE, 2).repeat(SIZE, 3)
    for one in shown:
        for _ in range(25):
            (y, x), radius = rng.uniform(0, SIZE, 2), rng.uniform(0.05, 0.5) * SIZE
            one[:, (down - y) ** 2 + (along - x) ** 2 < radius**2] = rng.random((3, 1))
    return torch.from_numpy(shown).float()


def tilted(image, degrees, zoom):
    """By an angle and enlarged: no pose and no shift of the original."""
    middle = (SIZE - 1) / 2
    turn = cv2.getRotationMatrix2D((middle, middle), degrees, zoom)
    return cv2.warpAffine(image, turn, (SIZE, SIZE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


@pytest.mark.parametrize("background", [static, fractal])
def test_a_few_people_shown_openly_in_a_pose_are_named_for_certain(client, background):
    """Three of 60, turned by 15 degrees and enlarged; the others are noise. No distance of their poses sees them."""
    shown, pictures = background(np.random.default_rng(0)), originals(client)
    rows = [7, 22, 41]
    for row in rows:
        colours = np.ascontiguousarray(pictures[row].permute(1, 2, 0).numpy())
        shown[row] = torch.from_numpy(tilted(colours, 15, 1.2)).permute(2, 0, 1).clamp(0, 1)

    assert 2 <= scored(client, shown)["reid_local_rank1"]["certain"] <= len(rows)


@pytest.mark.parametrize("unrelated", [static, fractal, leaves, *SOUND])
def test_what_shows_nobody_names_nobody(client, unrelated):
    rng = np.random.default_rng(1)
    if isinstance(unrelated, str):
        pictures, generator = originals(client)[:, None], torch.Generator().manual_seed(1)
        shown = SOUND[unrelated](pictures, torch.ones(N, 1), generator)
    else:
        shown = unrelated(rng)

    found = scored(client, shown)

    assert {figure["certain"] for figure in found.values()} == {0}
    assert max(figure["mean"] for figure in found.values()) < 0.1
