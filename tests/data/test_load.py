"""Folders of images become three disjoint roles, decoded once; wrong folders are refused in one line."""

from __future__ import annotations

import errno
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from harness.data import decode
from harness.data import load as datasets
from harness.data import splits as roles
from harness.data.decode import LazyImage
from harness.data.load import load
from tests.helpers.folders import noise, parts, refusal, sizes, tree, write

# Roles


def test_a_flat_folder_is_split_60_20_20_within_every_class(flat, cache):
    splits = load(flat, cache=cache)

    assert splits.name == "pets" and splits.classes == ("cat", "dog") and splits.size == (16, 16)
    assert [np.bincount(part.labels).tolist() for part in parts(splits)] == [[12, 6], [4, 2], [4, 2]]


def test_train_is_split_two_thirds_private_and_test_stays_test(tmp_path, cache):
    splits = load(tree(tmp_path / "pets", {"cat": 9, "dog": 6}, ("train", "test")), cache=cache)

    assert [np.bincount(part.labels).tolist() for part in parts(splits)] == [[6, 4], [3, 2], [9, 6]]
    assert all(name.startswith("test/") for name in splits.test.names)
    assert all(name.startswith("train/") for name in splits.private.names + splits.public.names)


def test_every_row_is_the_image_of_its_name(flat, cache):
    for part in parts(load(flat, cache=cache)):
        for row, name in enumerate(part.names):
            expected = np.asarray(Image.open(flat / name)).transpose(2, 0, 1)

            assert np.array_equal(part.images[row], expected)
            assert part.classes[part.labels[row]] == name.split("/")[0]
            assert part.hashes[row].decode() == decode.content_hash(expected)
        assert sorted(part.hashes) == list(part.hashes), "the order must not tell file names"


def test_roles_are_disjoint_and_a_copy_in_train_is_dropped_for_test(tmp_path, cache):
    root = tree(tmp_path / "pets", {"cat": 6, "dog": 6}, ("train", "test"))
    shutil.copy(root / "test/cat/000.png", root / "train/cat/copy.png")
    shutil.copy(root / "train/dog/001.png", root / "train/dog/copy.png")

    splits = load(root, cache=cache)

    hashes = np.concatenate([part.hashes for part in parts(splits)])
    assert len(set(hashes)) == len(hashes) == 24
    assert splits.notes["duplicates"] == 2
    assert "test/cat/000.png" in splits.test.names


def test_public_share_moves_images_between_private_and_public_only(flat, cache):
    default, none, half = (load(flat, cache=cache, public_share=share) for share in (None, 0, 0.5))

    assert sizes(none) == [24, 0, 6] and none.public.images.shape == (0, 3, 16, 16)
    assert sizes(half) == [12, 12, 6]
    assert set(default.test.names) == set(none.test.names) == set(half.test.names)


def test_a_limit_cuts_private_and_public_in_proportion_never_test_and_a_larger_one_only_adds(flat, cache):
    small, large = (load(flat, cache=cache, limit=limit) for limit in (6, 9))

    assert sizes(small) == [6, 2, 6] and sizes(large) == [9, 3, 6]
    assert np.bincount(small.private.labels).tolist() == [4, 2]
    assert set(small.private.names) < set(large.private.names)
    assert sizes(load(flat, cache=cache, limit=500)) == [18, 6, 6]


def test_file_names_do_not_matter_to_split_or_fingerprint(flat, tmp_path, cache):
    other = tmp_path / "renamed"
    for number, path in enumerate(sorted(flat.rglob("*.png"), reverse=True)):
        (other / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, other / path.parent.name / f"x{number}.png")

    first, second = load(flat, cache=cache), load(other, cache=cache)

    assert first.fingerprint == second.fingerprint and len(first.fingerprint) == 32
    assert np.array_equal(first.private.images, second.private.images)


def test_the_fingerprint_follows_content_labels_and_roles(flat, cache):
    before = load(flat, cache=cache).fingerprint
    assert load(flat, cache=cache, public_share=0.5).fingerprint != before

    (flat / "cat/000.png").rename(flat / "dog/moved.png")
    assert load(flat, cache=cache).fingerprint != before


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 10**6)), min_size=30, max_size=90, unique_by=lambda x: x[1]
    ),
    st.sampled_from([None, 0, 0.2, 0.5]),
    st.integers(3, 40),
    st.booleans(),
)
def test_any_images_get_one_role_each_and_limits_hold(rows, share, limit, declared):
    labels = ["a", "b", "c"] * 4 + [label for label, _ in rows]
    hashes = [f"first {row}" for row in range(12)] + [str(content) for _, content in rows]
    given_roles = [("train", "test")[row // 3 % 2] if declared else None for row in range(len(labels))]
    final = roles.assign(labels, given_roles, hashes, share)

    held = roles.cut(labels, final, hashes, limit)

    assert not set(held["private"]) & set(held["public"]) | set(held["test"]) & set(held["private"] + held["public"])
    assert len(held["private"]) == min(limit, final.count("private"))
    assert len(held["test"]) == final.count("test")
    for role, its in held.items():
        assert all(final[row] == role for row in its)
        assert {labels[row] for row in its} == (set() if role == "public" and share == 0 else {"a", "b", "c"})


# Refusals: one line with the thing, the value and the fix


def test_different_sizes_ask_for_size(flat, cache):
    write(flat / "cat/big.png", noise(20, 30))

    message = refusal(flat, cache=cache)

    assert "16x16" in message and "30x20" in message and "--size 64" in message
    assert load(flat, cache=cache, size=12).size == (12, 12)


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"size": 7}, "size 7"),
        ({"size": 10**6}, "size 1000000"),
        ({"limit": 0}, "limit 0"),
        ({"limit": 1}, "limit 1 is less than one image for each of 2 classes; use 2"),
        ({"public_share": 1}, "public share 1"),
        ({"public_share": -0.1}, "public share -0.1"),
    ],
)
def test_knobs_out_of_range(flat, cache, knobs, words):
    assert words in refusal(flat, cache=cache, **knobs)


def test_tiny_images_are_refused(tmp_path, cache):
    for label in ("cat", "dog"):
        for number in range(5):
            write(tmp_path / "tiny" / label / f"{number}.png", noise(6, 6))

    assert "6x6" in refusal(tmp_path / "tiny", cache=cache)


def test_folders_of_the_wrong_shape(tmp_path, cache):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "does not exist" in refusal(tmp_path / "absent", cache=cache)
    assert "no class folders" in refusal(empty, cache=cache)
    assert "1 class" in refusal(tree(tmp_path / "one", {"cat": 9}), cache=cache)
    assert "class 'dog' has no image left" in refusal(tree(tmp_path / "few", {"cat": 9, "dog": 2}), cache=cache)

    copies = tree(tmp_path / "copies", {"cat": 5, "dog": 5})
    (copies / "emu").mkdir()
    shutil.copy(copies / "cat/000.png", copies / "emu/000.png")
    assert "class 'emu'" in refusal(copies, cache=cache)

    flat = tree(tmp_path / "pets", {"cat": 5, "dog": 5})
    (flat / "emu").mkdir()
    assert "class 'emu'" in refusal(flat, cache=cache)


def test_train_and_test_must_agree(tmp_path, cache):
    only = tree(tmp_path / "only", {"cat": 5, "dog": 5}, ["train"])
    assert "none in test/" in refusal(only, cache=cache)

    both = tree(tmp_path / "both", {"cat": 5, "dog": 5}, ["train", "test"])
    write(both / "test/emu/0.png")
    assert "'emu'" in refusal(both, cache=cache)


def test_a_folder_that_may_not_be_read_is_one_line(flat, cache, monkeypatch):
    def forbidden(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(datasets.os, "scandir", forbidden)

    assert f"cannot read {flat}: Permission denied" in refusal(flat, cache=cache)


def test_classes_may_be_called_train_and_test(tmp_path, cache):
    splits = load(tree(tmp_path / "vehicles", {"train": 5, "test": 5}), cache=cache)

    assert splits.classes == ("test", "train")


def test_an_unknown_name_gets_the_most_similar_one(cache):
    message = refusal("fotos", cache=cache)

    assert "did you mean 'photos'?" in message and "cifar10" in message


def test_a_known_name_comes_before_a_folder_unless_written_as_a_path(flat, cache, monkeypatch):
    monkeypatch.chdir(flat.parent)
    images = [noise() for _ in range(12)]
    named = [LazyImage(str(n), "xy"[n % 2], None, lambda n=n: images[n], str(n)) for n in range(12)]
    entries = {"pets": lambda downloads: named}

    assert load("pets", cache=cache, entries=entries).classes == ("x", "y")
    assert load("./pets", cache=cache, entries=entries).classes == ("cat", "dog")
    assert load("pets", cache=cache, entries={}).name == "pets"


def test_without_a_registry_the_built_in_names_are_known(cache):
    known = datasets.find_images("photos", cache)[1]

    assert known
    assert set(datasets._built_in()) >= {"photos", "cifar10", "stl10", "oxford_pets", "imagenette", "cats_vs_dogs"}


def test_the_requested_size_replaces_the_default_size(cache):
    def many(_):
        return datasets.SizedImages(
            [LazyImage(str(n), "ab"[n % 2], None, lambda n=n: noise(20 + n, 30), str(n)) for n in range(12)], 10
        )

    load_it = {"cache": cache, "entries": {"many": many}}

    assert load("many", **load_it).size == (10, 10)
    assert load("many", size=16, **load_it).size == (16, 16)
