"""Coarse labels: the class becomes the hidden attribute, roles stay, and data sets without attributes do not change."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from harness.data.decode import LazyImage, listing_key
from harness.data.load import load
from harness.data.sources.coarse import coarse
from harness.errors import HarnessError
from harness.registry import bind, load_registry
from tests.helpers.planted import picture_folder

GROUPS = {"straight": ["across", "down"], "skew": ["slanted"]}


@pytest.fixture
def folder(tmp_path):
    return picture_folder(tmp_path / "stripes")


def loaded(folder, cache, groups=None, **options):
    entries = {"mine": partial(coarse, of=str(folder), groups=GROUPS if groups is None else groups)}
    return load("mine", cache=cache, entries=entries, **options)


def parts(splits):
    return splits.private, splits.public, splits.test


def test_the_label_is_the_group_and_the_attribute_the_class(folder, tmp_path):
    splits = loaded(folder, tmp_path / "cache")

    assert splits.classes == ("skew", "straight")
    for part in parts(splits):
        assert part.attribute_names == ("across", "down", "slanted")
        for name, label, attribute in zip(part.names, part.labels, part.attributes, strict=True):
            own = name.split("/")[0]
            assert part.attribute_names[attribute] == own
            assert own in GROUPS[part.classes[label]]


@pytest.mark.parametrize("limit", [None, 20])
def test_roles_are_split_by_class_as_without_groups(folder, tmp_path, limit):
    """Every role has every class, and scores on the coarse and on the fine set are comparable."""
    fine, made = load(folder, cache=tmp_path, limit=limit), loaded(folder, tmp_path, limit=limit)

    for one, other in zip(parts(fine), parts(made), strict=True):
        assert np.array_equal(one.hashes, other.hashes) and np.array_equal(one.images, other.images)
        assert np.array_equal(one.labels, other.attributes)


def test_the_fingerprint_follows_the_attributes(folder, tmp_path):
    """The same images, labels and roles; two classes of one group change their names."""
    one = loaded(folder, tmp_path)
    (folder / "across").rename(folder / "aside")
    (folder / "down").rename(folder / "across")
    (folder / "aside").rename(folder / "down")

    other = loaded(folder, tmp_path)

    assert {bytes(h) for h in one.private.hashes} == {bytes(h) for h in other.private.hashes}
    assert one.fingerprint != other.fingerprint


def test_a_set_without_attributes_keeps_its_fingerprint(folder, tmp_path):
    """Computed here from its parts, as before there were attributes."""
    import hashlib

    splits = load(folder, cache=tmp_path)
    digest = hashlib.sha256()
    for role, part in zip(("private", "public", "test"), parts(splits), strict=True):
        held = sorted(
            (bytes(h).decode(), part.classes[label]) for h, label in zip(part.hashes, part.labels, strict=True)
        )
        digest.update(repr((role, held)).encode())

    assert splits.fingerprint == digest.hexdigest()[:32]
    assert all(part.attributes is None and part.attribute_names == () for part in parts(splits))


def test_the_cache_key_depends_on_the_attribute():
    plain = LazyImage("a.png", "pet", None, lambda: None, "1")

    keys = {listing_key([replace(plain, attribute=attribute)], 32) for attribute in (None, "cat", "dog")}

    assert len(keys) == 3


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ({"straight": ["across", "down"]}, "two or more"),
        ({"straight": ["across", "down"], "skew": ["slant"]}, "no class 'slant'; did you mean 'slanted'"),
        ({"straight": ["across"], "skew": ["slanted"]}, "class 'down' of .* is in no group; add it to one of straight"),
        ({"straight": ["across", "down"], "skew": ["slanted", "down"]}, "'down' is in both 'straight' and 'skew'"),
        ({"straight": ["across", "down"], "skew": "slanted"}, "group 'skew' is 'slanted'; expected a list"),
        ({"straight": ["across", "down", "slanted"], "skew": []}, "expected a list of classes"),
    ],
)
def test_groups_that_do_not_fit_are_refused_in_one_line(folder, tmp_path, groups, said):
    with pytest.raises(HarnessError, match=said) as caught:
        loaded(folder, tmp_path, groups)

    assert "\n" not in str(caught.value)


def test_an_unknown_set_gets_the_most_similar_name(tmp_path):
    with pytest.raises(HarnessError, match="did you mean 'cifar10'"):
        coarse(tmp_path, of="cifar_10", groups=GROUPS)


def test_all_images_have_an_attribute_or_none_has(folder, tmp_path):
    images = coarse(tmp_path, of=str(folder), groups=GROUPS)
    images[3] = replace(images[3], attribute=None)

    with pytest.raises(HarnessError, match="has no attribute and others have"):
        load("mine", cache=tmp_path, entries={"mine": lambda downloads: images})


def test_three_lines_of_yaml_make_a_coarse_set_of_a_folder(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    file = tmp_path / "mine.yaml"
    groups = "{straight: [across, down], skew: [slanted]}"
    entry = (
        f"use: 'harness.data.sources.coarse:coarse', version: 1, cite: mine, params: {{of: {folder}, groups: {groups}}}"
    )
    file.write_text(f"datasets:\n  my_coarse:\n    {{{entry}}}\n")
    registry = load_registry([file])

    entries = {"my_coarse": bind(registry.get("datasets", "my_coarse"))}
    splits = load("my_coarse", cache=tmp_path / "cache", entries=entries)

    assert splits.name == "my_coarse" and splits.private.attribute_names == ("across", "down", "slanted")


@pytest.mark.parametrize("name", ["cifar10_coarse", "imagenette_coarse"])
def test_the_built_in_groups_hold_ten_classes_once_each(name):
    groups = load_registry().get("datasets", name).params["groups"]

    classes = [label for members in groups.values() for label in members]
    assert len(classes) == len(set(classes)) == 10
