"""One file becomes pixels: its size is known before it is decoded, no depth comes out black, no pipe is waited for."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from harness.cli import main
from harness.data.load import load
from harness.data.pixels import read_image, size_of
from tests.helpers.folders import noise, refusal, tree, write
from tests.helpers.paths import ROOT

GREY = np.random.default_rng(1).integers(0, 256, (24, 20)).astype(np.uint16)
GREY[0, :2] = 0, 255


def png(width, height, depth, colour, rows):
    """A PNG file, written by hand."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def colour_png(path, values):
    """(H, W, 3) uint16 as a PNG file of 48 bits a pixel, which Pillow cannot write."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    path.write_bytes(png(values.shape[1], values.shape[0], 16, 2, rows))
    return path


def tiff(path, values, bits, *, photometric=1, sample_format=1, big_endian=False):
    """(H, W) as an uncompressed TIFF file of one band, written by hand."""
    order = ">" if big_endian else "<"
    if bits == 12:
        pairs = values.reshape(-1, 2).astype(np.uint32)
        packed = pairs[:, 0] << 12 | pairs[:, 1]
        data = b"".join(int(each).to_bytes(3, "big") for each in packed)
    else:
        data = values.astype(
            f"{order}{'f' if sample_format == 3 else 'i' if sample_format == 2 else 'u'}{bits // 8}"
        ).tobytes()
    height, width = values.shape
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: height, 279: len(data)}
    tags[339] = sample_format
    directory = struct.pack(f"{order}H", len(tags))
    directory += b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    path.write_bytes(
        (b"MM\0*" if big_endian else b"II*\0") + struct.pack(f"{order}I", 8 + len(data)) + data + directory + bytes(4)
    )
    return path


# What has no fixed white


@pytest.mark.parametrize("scale", [1, 2**23])
@pytest.mark.parametrize("kind", ["int32", "uint32", "int16", "float32", "float in [0, 1]", "float64"])
def test_a_depth_without_a_fixed_white_is_refused(tmp_path, kind, scale):
    values = {"float in [0, 1]": GREY / 255}.get(kind, GREY.astype(np.float64) * (1 if kind == "int16" else scale))
    bits, form = {"int32": (32, 2), "uint32": (32, 1), "int16": (16, 2), "float64": (64, 3)}.get(kind, (32, 3))

    with pytest.raises(ValueError, match=r"fixed white|no image of a format"):
        read_image(tiff(tmp_path / "a.tif", values, bits, sample_format=form))


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("container", ["16.png", "16.tif", "colour.png", "big endian.tif"])
def test_fewer_bits_in_sixteen_are_refused(tmp_path, bits, container):
    values, path = GREY << (bits - 8), tmp_path / container
    if container == "colour.png":
        colour_png(path, np.repeat(values[:, :, None], 3, 2))
    elif container == "16.png":
        Image.fromarray(values).save(path)
    else:
        tiff(path, values, 16, big_endian=container.startswith("big"))

    with pytest.raises(ValueError, match="scale them to 65535"):
        read_image(path)


def test_sixteen_bits_keep_their_high_byte(tmp_path):
    full = GREY * 257
    files = [colour_png(tmp_path / "c.png", np.repeat(full[:, :, None], 3, 2)), tiff(tmp_path / "a.tif", full, 16)]
    files += [tiff(tmp_path / "b.tif", full, 16, big_endian=True)]

    for file in files:
        assert np.array_equal(read_image(file), np.repeat(GREY[:, :, None], 3, 2)), file


def test_twelve_packed_bits_are_scaled(tmp_path):
    assert np.array_equal(read_image(tiff(tmp_path / "a.tif", GREY << 4, 12))[:, :, 0], GREY)


def test_a_black_picture_of_sixteen_bits_is_black(tmp_path):
    assert not read_image(tiff(tmp_path / "a.tif", GREY * 0, 16)).any()


def test_where_white_is_zero_the_values_are_inverted(tmp_path):
    read = read_image(tiff(tmp_path / "a.tif", 65535 - GREY * 257, 16, photometric=0))

    assert np.array_equal(read[:, :, 0], GREY)


# Size


def bomb(path, side):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(side, side, 8, 2, bytes(20_000)))
    return path


@pytest.mark.parametrize("side", [8193, 12_000, 16_000, 60_000])
def test_a_large_image_is_refused_by_its_header(tmp_path, side):
    for read in (read_image, size_of):
        with pytest.raises(ValueError, match="more than 67,108,864"):
            read(bomb(tmp_path / "a.png", side))


def test_the_size_is_read_without_the_pixels(tmp_path):
    assert size_of(bomb(tmp_path / "a.png", 8000)) == (8000, 8000)


def test_a_tile_larger_than_its_image_is_refused(tmp_path):
    """Tiles are decoded whole."""
    path = tiff(tmp_path / "a.tif", GREY * 257, 16)
    data = path.read_bytes()
    start = 8 + GREY.size * 2
    (count,) = struct.unpack("<H", data[start : start + 2])
    entries = [data[start + 2 + 12 * row : start + 14 + 12 * row] for row in range(count)]
    entries = [entry for entry in entries if struct.unpack("<H", entry[:2])[0] not in (273, 278, 279)]
    entries += [
        struct.pack("<HHII", tag, 4, 1, value) for tag, value in ((322, 60_000), (323, 60_000), (324, 8), (325, 960))
    ]
    path.write_bytes(data[:start] + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4))

    with pytest.raises(ValueError, match="tiles of 60000x60000"):
        read_image(path)


def test_a_jpeg_file_of_many_scans_is_refused(tmp_path):
    """Each is decoded over the whole picture: 10,000 of them are a file of 1 MB and take minutes."""
    path = tmp_path / "a.jpg"
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(path, progressive=True)
    data = path.read_bytes()
    last = data[data.rindex(b"\xff\xda") : -2]

    assert (read_image(path) == 90).all()
    path.write_bytes(data[:-2] + last * 500 + data[-2:])
    with pytest.raises(ValueError, match="scans, more than 64"):
        read_image(path)


def test_a_folder_of_large_images_is_refused_in_little_memory(tmp_path):
    """Two files of 20 kB; decoded they would take gigabytes. Through the command, in a process of its own."""
    for label in ("a", "b"):
        bomb(tmp_path / "set" / label / "0.png", 30_000)
    words = ["obfuscate", "--defense", "mix", "--dataset", "set", "--size", "16", "--out", "o", "--secret", "s.npz"]
    script = (
        "import re, sys; from harness.cli import main; code = main(sys.argv[1:]); "
        "print(int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) // 1024); sys.exit(code)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script, *words], cwd=tmp_path, env=environment, capture_output=True, text=True
    )

    assert done.returncode == 2 and done.stderr.count("Traceback") == 0
    assert "30000x30000" in done.stderr or "more than 67,108,864" in done.stderr
    assert int(done.stdout.split()[-1]) < 1500  # MiB; importing torch takes about 500


@pytest.mark.parametrize("side", [5000, 60_000])
def test_measure_refuses_large_images_by_name(tmp_path, capsys, side):
    path = bomb(tmp_path / "a.png", side)

    assert main(["measure", str(path), str(path), "--metric", "mse"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(path) in line and "scale it down" in line


# Only regular files are opened


@pytest.fixture(params=["pipe", "socket", "device", "folder", "link to a pipe"])
def special(request, tmp_path, monkeypatch):
    path = tmp_path / "special.png"
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "socket":
        monkeypatch.chdir(tmp_path)  # the path of a socket is short
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path.name)
    elif request.param == "device":
        path.symlink_to("/dev/zero")
    elif request.param == "folder":
        path.mkdir()
    else:
        os.mkfifo(tmp_path / "pipe")
        path.symlink_to("pipe")
    return path


def test_what_is_no_regular_file_is_named_and_not_waited_for(special):
    with pytest.raises(OSError, match="only regular files are read"):
        read_image(special)


@pytest.mark.parametrize("special", ["pipe", "socket", "device", "link to a pipe"], indirect=True)
def test_measure_names_what_is_no_regular_file(special, tmp_path, capsys):
    other = write(tmp_path / "other.png")

    assert main(["measure", str(special), str(other), "--metric", "mse"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(special) in line and "only regular files" in line


def test_an_empty_file_is_named(tmp_path, cache):
    root = tree(tmp_path / "pets", {"cat": 5, "dog": 5})
    (root / "cat/000.png").write_bytes(b"")

    assert "cat/000.png: the file is empty" in refusal(root, cache=cache)


# A set


def test_images_come_in_order_however_long_each_takes(tmp_path, cache):
    root = tmp_path / "pets"
    pictures = {}
    for label in ("cat", "dog"):
        for number in range(20):
            pixels = noise(16, 16) if number % 3 else np.kron(noise(16, 16), np.ones((30, 30, 1), np.uint8))
            write(root / label / f"{number:03}.png", pixels)
            pictures[f"{label}/{number:03}.png"] = pixels if number % 3 else pixels[::30, ::30]

    splits = load(root, cache=cache, size=16)

    for part in (splits.private, splits.public, splits.test):
        for name, image in zip(part.names, part.images, strict=True):
            assert np.abs(image.transpose(1, 2, 0).astype(int) - pictures[name]).mean() < 40, (
                name
            )  # of another picture: 85
