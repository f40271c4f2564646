"""The tiles of `photos` come from the files inside scikit-image, and no pixel is in two of them."""

from __future__ import annotations

import socket
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image

from harness.data.load import load
from harness.data.sources.photos import LATTICE, PHOTOGRAPHS, photos
from harness.errors import HarnessError


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    return load("photos", cache=tmp_path_factory.mktemp("cache"))


def corner(name):
    label, place = name.split("/")
    top, left = place.split("-")
    return label, int(top), int(left)


def test_loads_without_network(tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "socket", lambda *_, **__: pytest.fail("network"))

    assert len(load("photos", cache=tmp_path, limit=20).private) == 20


def test_ten_classes_in_three_roles_of_64_pixels(splits):
    assert splits.classes == tuple(label for label, *_ in PHOTOGRAPHS) and len(splits.classes) == 10
    assert splits.size == (64, 64) and splits.notes["duplicates"] == 0
    for part, least in ((splits.private, 29), (splits.public, 9), (splits.test, 9)):
        counts = np.bincount(part.labels, minlength=10)
        assert counts.min() >= least and counts.max() <= 1.4 * counts.min()
    total = len(splits.private) + len(splits.public) + len(splits.test)
    assert 0.58 < len(splits.private) / total < 0.64


def test_tiles_are_cut_from_the_bundled_files(splits):
    folder = Path(skimage.__file__).parent / "data"
    sides = {label: (file, side) for label, file, _, side in PHOTOGRAPHS}
    for row in range(0, len(splits.private), 7):
        label, top, left = corner(splits.private.names[row])
        file, side = sides[label]
        crop = Image.open(folder / file).convert("RGB").crop((left, top, left + side, top + side))
        kernel = Image.Resampling.LANCZOS if side > 64 else Image.Resampling.BICUBIC
        difference = np.asarray(crop.resize((64, 64), kernel)) - splits.private.images[row].transpose(1, 2, 0).astype(
            float
        )

        assert np.abs(difference).max() <= 1


def test_tiles_do_not_overlap_and_lie_inside_their_photograph():
    for label, _, _, side in PHOTOGRAPHS:
        corners = [corner(image.name)[1:] for image in photos(Path()) if image.label == label]
        tops, lefts = (sorted(set(places)) for places in zip(*corners, strict=True))

        assert len(corners) == len(set(corners)) == len(tops) * len(lefts) <= 64
        assert all(later - earlier >= side for places in (tops, lefts) for earlier, later in pairwise(places))
        assert all(image.read().shape == (64, 64, 3) for image in photos(Path())[:: len(LATTICE) * 7])


def test_every_role_samples_every_quarter_of_a_photograph():
    tiles = [(*corner(image.name), image.role) for image in photos(Path())]
    for label, *_ in PHOTOGRAPHS:
        mine = [(top, left, role) for its, top, left, role in tiles if its == label]
        middle_top, middle_left = np.median([top for top, *_ in mine]), np.median([left for _, left, _ in mine])
        quarters = {(top > middle_top, left > middle_left, role) for top, left, role in mine}

        assert len(quarters) == 4 * 3, label


def test_no_tile_is_blank(splits):
    for part in (splits.private, splits.public, splits.test):
        assert part.images.reshape(len(part), 3, -1).std(axis=2).max(axis=1).min() > 3


def test_public_share_0_gives_the_public_tiles_to_private(splits, tmp_path):
    paper = load("photos", cache=tmp_path, public_share=0)

    assert len(paper.public) == 0
    assert set(paper.private.hashes) == set(splits.private.hashes) | set(splits.public.hashes)
    assert set(paper.test.hashes) == set(splits.test.hashes)


def test_size_resizes_the_tiles(tmp_path):
    assert load("photos", cache=tmp_path, size=32, limit=20).size == (32, 32)


def test_without_scikit_image_the_message_names_the_fix(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)

    with pytest.raises(HarnessError, match="pip install scikit-image"):
        photos(Path())
