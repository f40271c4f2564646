"""Folders of images become three disjoint roles, decoded once; wrong folders are refused in one line."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from harness.data import decode
from harness.data import load as datasets
from harness.data import splits as roles
from harness.data.decode import LazyImage, read_image, resize_and_crop
from harness.data.load import load
from harness.errors import HarnessError

DICE = np.random.default_rng(0)


def noise(height=16, width=16):
    return DICE.integers(0, 256, (height, width, 3), dtype=np.uint8)


def write(path, pixels=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise() if pixels is None else pixels).save(path)
    return path


def tree(root, counts, prefixes=("",)):
    for prefix in prefixes:
        for label, count in counts.items():
            for number in range(count):
                write(root / prefix / label / f"{number:03}.png")
    return root


@pytest.fixture
def flat(tmp_path):
    return tree(tmp_path / "pets", {"cat": 20, "dog": 10})


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def parts(splits):
    return splits.private, splits.public, splits.test


def sizes(splits):
    return [len(part) for part in parts(splits)]


def refusal(*args, **knobs):
    with pytest.raises(HarnessError) as caught:
        load(*args, **knobs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


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


def test_a_limit_cuts_all_roles_in_proportion_and_a_larger_one_only_adds(flat, cache):
    small, large = (load(flat, cache=cache, limit=limit) for limit in (6, 9))

    assert sizes(small) == [6, 2, 2] and sizes(large) == [9, 3, 3]
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
    for role, its in held.items():
        assert all(final[row] == role for row in its)
        assert {labels[row] for row in its} == (set() if role == "public" and share == 0 else {"a", "b", "c"})


# Cache


def test_a_second_load_decodes_nothing_and_gives_the_same_arrays(flat, cache, monkeypatch):
    first = load(flat, cache=cache)
    monkeypatch.setattr(decode, "_decoded", lambda *_: pytest.fail("decoded again"))
    monkeypatch.setattr(decode, "read_image", lambda *_: pytest.fail("read again"))

    second = load(flat, cache=cache)
    load(flat, cache=cache, limit=5)

    for one, other in zip(parts(first), parts(second), strict=True):
        assert isinstance(other.images, np.memmap) and not other.images.flags.writeable
        for field in ("images", "labels", "hashes"):
            assert np.array_equal(getattr(one, field), getattr(other, field))
        assert one.names == other.names
    assert first.fingerprint == second.fingerprint and first.notes == second.notes


def test_each_role_has_its_own_file(flat, cache):
    splits = load(flat, cache=cache)

    for part in parts(splits):
        assert Path(part.images.filename).stat().st_size == part.images.nbytes


def test_a_changed_file_is_decoded_again(flat, cache):
    before = load(flat, cache=cache)
    write(flat / "cat/000.png")
    os.utime(flat / "cat/000.png", ns=(1, 1))

    assert load(flat, cache=cache).fingerprint != before.fingerprint


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def zero(path):
    path.write_bytes(bytes(path.stat().st_size))


def edit(path):
    path.write_text(path.read_text().replace("0", "1"))


@pytest.mark.parametrize("folder", ["roles", "decoded"])
@pytest.mark.parametrize(("damage", "file"), [(truncate, "*.bin"), (zero, "*.bin"), (edit, "index"), (zero, "index")])
def test_a_damaged_cache_is_reported_renamed_and_made_again(flat, cache, caplog, folder, damage, file):
    good = load(flat, cache=cache)
    copy = np.array(good.private.images)
    del good
    if folder == "decoded":
        shutil.rmtree(cache / "roles")
    for path in (cache / folder).glob(f"*/{file}"):
        damage(path)

    again = load(flat, cache=cache)

    assert np.array_equal(again.private.images, copy)
    assert [path.suffix for path in (cache / folder).iterdir()].count(".corrupt") == 1
    assert "damaged" in caplog.text and str(cache / folder) in caplog.text


def test_an_interrupted_decode_leaves_nothing_behind(flat, cache, monkeypatch):
    def interrupted(pictures, size):
        yield np.zeros((3, 16, 16), np.uint8)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(decode, "_decoded", interrupted)
        load(flat, cache=cache)

    assert not [path for path in cache.rglob("*") if path.is_file()]
    assert sizes(load(flat, cache=cache)) == [18, 6, 6]


def test_temporary_folders_of_a_killed_run_are_removed_later(flat, cache):
    old, fresh = cache / "decoded/dead.tmp", cache / "decoded/alive.tmp"
    for leftover in (old, fresh):
        leftover.mkdir(parents=True)
        (leftover / "images.bin").write_bytes(b"half")
    os.utime(old / "images.bin", (0, 0))
    os.utime(old, (0, 0))

    load(flat, cache=cache)

    assert not old.exists() and fresh.exists()


def test_a_full_disk_is_one_line(flat, cache, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")
        yield

    monkeypatch.setattr(decode, "_decoded", full)

    assert "No space left on device" in refusal(flat, cache=cache)


def test_a_cache_that_cannot_be_made_is_one_line(flat, tmp_path):
    (tmp_path / "file").write_text("in the way")

    assert "cannot write the cache" in refusal(flat, cache=tmp_path / "file")


def test_decoding_holds_few_images_at_a_time(tmp_path, cache):
    """A set larger than memory works: images are written before the last one is decoded."""
    alive, most = set(), 0

    class Pixels(np.ndarray):
        def __del__(self):
            alive.discard(id(self))

    def read(number):
        nonlocal most
        pixels = np.full((8, 8, 3), number % 256, np.uint8)
        pixels[0, 0, 0] = number // 256
        tracked = pixels.view(Pixels)
        alive.add(id(tracked))
        most = max(most, len(alive))
        return tracked

    def many(_):
        return [LazyImage(f"{n:04}", "ab"[n % 2], None, lambda n=n: read(n), str(n)) for n in range(1500)]

    splits = load("many", cache=cache, entries={"many": many})

    assert sizes(splits) == [900, 300, 300]
    assert most <= 4 * decode.BATCH


def test_progress_counts_up_to_the_number_of_files(flat, cache):
    seen = []

    load(flat, cache=cache, progress=lambda what, done, total: seen.append((what, done, total)))

    assert seen[0] == ("decoding", 0, 30) and seen[-1] == ("decoding", 30, 30)


# Files


def test_other_files_and_hidden_ones_are_ignored(flat, cache):
    for name in ("cat/Thumbs.db", "cat/notes.txt", "cat/.hidden.png", "labels.csv", ".git/x.png"):
        (flat / name).parent.mkdir(exist_ok=True)
        (flat / name).write_bytes(b"not an image")

    splits = load(flat, cache=cache)

    assert sizes(splits) == [18, 6, 6]
    assert splits.notes == {"duplicates": 0, "unreadable": 0}


def test_one_unreadable_file_in_a_hundred_is_reported_and_counted(tmp_path, cache, caplog):
    root = tree(tmp_path / "pets", {"cat": 60, "dog": 60})
    truncate(write(root / "cat/007.png", noise(64, 64)))

    with caplog.at_level(logging.WARNING, "harness"):
        splits = load(root, cache=cache, size=16)

    assert splits.notes["unreadable"] == 1 and splits.notes["unreadable_files"] == ["cat/007.png"]
    assert sum(sizes(splits)) == 119
    assert "cat/007.png" in caplog.text


def test_more_unreadable_files_are_refused(flat, cache):
    (flat / "cat/003.png").write_text("not an image")
    (flat / "dog/dangling.jpg").symlink_to("nowhere")

    message = refusal(flat, cache=cache)

    assert "2 of 31" in message and "cat/003.png" in message


GRADIENT = np.linspace(0, 255, 256).round().astype(np.uint8).reshape(16, 16)


def test_greyscale_and_16_bit_images_become_grey_rgb(tmp_path):
    Image.fromarray(GRADIENT).save(tmp_path / "8.png")
    Image.fromarray(GRADIENT.astype(np.uint16) * 257).save(tmp_path / "16.png")
    Image.fromarray(GRADIENT.astype(np.uint16) * 257).save(tmp_path / "16.tif")

    for name in ("8.png", "16.png", "16.tif"):
        assert np.array_equal(read_image(tmp_path / name), np.repeat(GRADIENT[:, :, None], 3, 2)), name


def test_transparent_pixels_become_white(tmp_path):
    pixels = np.dstack([noise(), GRADIENT])
    Image.fromarray(pixels).save(tmp_path / "rgba.png")
    Image.fromarray(pixels).save(tmp_path / "rgba.webp", lossless=True, exact=True)
    alpha = GRADIENT[:, :, None] / 255

    expected = pixels[:, :, :3] * alpha + 255 * (1 - alpha)

    for name in ("rgba.png", "rgba.webp"):
        assert np.abs(read_image(tmp_path / name) - expected).max() <= 1, name


def test_palette_images_show_their_colours_and_transparent_entries_white(tmp_path):
    colours = np.array([[255, 0, 0], [0, 128, 255]], np.uint8)
    indices = (np.arange(256) % 2).reshape(16, 16).astype(np.uint8)
    image = Image.fromarray(indices).convert("P")
    image.putpalette(colours.tobytes() + bytes(762))
    image.save(tmp_path / "opaque.png")
    image.save(tmp_path / "transparent.png", transparency=0)

    assert np.array_equal(read_image(tmp_path / "opaque.png"), colours[indices])
    colours[0] = 255
    assert np.array_equal(read_image(tmp_path / "transparent.png"), colours[indices])


def test_exif_rotation_is_applied(tmp_path):
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, :16] = 255  # white on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: left comes to the top
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif, quality=95)

    turned = read_image(tmp_path / "turned.jpg")

    assert turned.shape == (32, 16, 3)
    assert turned[:12].min() > 240 and turned[20:].max() < 15


def test_jpeg_webp_bmp_and_cmyk_are_read(tmp_path):
    smooth = np.dstack([GRADIENT] * 3)
    for name, mode in (("a.jpg", "RGB"), ("a.webp", "RGB"), ("a.bmp", "RGB"), ("cmyk.jpg", "CMYK")):
        Image.fromarray(smooth).convert(mode).save(tmp_path / name, quality=98)

        assert np.abs(read_image(tmp_path / name).astype(int) - smooth).mean() < 6, name


def test_floating_point_images_are_unreadable(tmp_path):
    Image.fromarray(np.zeros((16, 16), np.float32)).save(tmp_path / "float.tif")

    with pytest.raises(ValueError, match="floating point"):
        read_image(tmp_path / "float.tif")


def test_size_is_the_shorter_side_and_then_a_centre_crop():
    ramp = np.broadcast_to(np.linspace(0, 255, 96)[None, :, None], (32, 96, 3)).round().astype(np.uint8)

    small, same, large = (resize_and_crop(ramp, size) for size in (16, 32, 64))

    assert small.shape == (16, 16, 3) and large.shape == (64, 64, 3)
    assert np.array_equal(same, ramp[:, 32:64])
    assert np.abs(small.mean((0, 2)) - ramp[0, 32:64, 0].reshape(16, 2).mean(1)).max() < 3
    assert resize_and_crop(ramp, None) is ramp


def test_downsizing_does_not_alias():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255

    assert np.abs(resize_and_crop(stripes, 16).astype(int) - 127).max() <= 12


def test_equal_sizes_need_no_size_even_when_not_square(tmp_path, cache):
    for label in ("cat", "dog"):
        for number in range(5):
            write(tmp_path / "wide" / label / f"{number}.png", noise(16, 24))

    assert load(tmp_path / "wide", cache=cache).size == (16, 24)


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
