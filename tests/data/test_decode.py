"""Files become pixels: which are read, how they are turned, and how many may be unreadable."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from PIL import Image

from harness.data.decode import content_hash, hashes_match, read_image, resize_and_crop
from harness.data.load import load
from tests.helpers.folders import noise, refusal, sizes, tree, truncate, write


def test_files_of_the_system_and_hidden_folders_are_ignored(flat, cache):
    for name in ("cat/Thumbs.db", "cat/.DS_Store", "cat/._000.png", "labels.csv", ".git/x.png"):
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


def test_one_changed_byte_in_any_of_the_stored_images_is_seen():
    images = np.random.default_rng(0).integers(0, 256, (20, 3, 8, 8), dtype=np.uint8)
    hashes = [content_hash(image) for image in images]

    assert hashes_match(images, hashes)
    for row in range(len(images)):
        changed = images.copy()
        changed[row, 0, 0, 0] ^= 16
        assert not hashes_match(changed, hashes)
