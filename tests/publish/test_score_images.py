"""Images of outside submissions and of releases are measured by their header before they are decoded."""

from __future__ import annotations

import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from harness.cli import main
from harness.errors import HarnessError
from harness.publish.submission import read_reconstructions

FILES = ["epoch_000/000000.png", "epoch_000/000001.png"]


@pytest.fixture
def guesses(tmp_path):
    folder = tmp_path / "guesses"
    folder.mkdir()
    for name in ("000000.png", "000001.png"):
        Image.fromarray(np.full((16, 12, 3), 90, np.uint8)).save(folder / name)
    return folder


def bomb(path, width, height):
    """A PNG file of 20 kB that states this size."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(20_000)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b""))


def refused(folder, *words):
    with pytest.raises(HarnessError) as error:
        read_reconstructions(folder, FILES, (16, 12), 2)
    assert all(word in str(error.value) for word in words)
    assert "\n" not in str(error.value)


def test_they_are_read_in_the_size_of_the_release(guesses):
    assert (read_reconstructions(guesses, FILES, (16, 12), 2).candidates == 90).all()


@pytest.mark.parametrize(
    ("width", "height"), [(60_000, 60_000), (12, 2**31 - 1), (30_000, 30_000), (8000, 8000), (16, 12)]
)
def test_another_size_is_refused_by_its_header(guesses, width, height):
    bomb(guesses / "000001.png", width, height)

    refused(guesses, "000001.png")


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_regular_file_is_named(guesses, kind):
    path = guesses / "000001.png"
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()

    said = {"folder": "1 missing", "device": "is a link", "pipe": "only regular files"}
    refused(guesses, "000001", said[kind])


@pytest.mark.parametrize("kind", ["bomb", "pipe", "text"])
def test_the_hash_of_a_release_names_the_file_that_it_cannot_read(guesses, capsys, kind):
    path = guesses / "000001.png"
    path.unlink()
    if kind == "bomb":
        bomb(path, 60_000, 60_000)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.write_text("no image")

    assert main(["external", "hash", str(guesses)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(path) in line


def test_a_release_with_names_that_are_no_text_has_a_hash(guesses, capsys):
    os.rename(guesses / "000001.png", os.path.join(os.fsencode(guesses), b"\xff.png"))

    assert main(["external", "hash", str(guesses)]) == 0
    assert len(capsys.readouterr().out.strip()) == 32
