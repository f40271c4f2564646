"""What lies in a folder and is not taken is counted and named; the same picture in two classes is said."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data.image_folder import image_folder
from harness.data.load import load
from harness.errors import HarnessError
from tests.helpers.folders import noise, refusal, sizes, tree, write


@pytest.fixture
def pets(tmp_path):
    return tree(tmp_path / "pets", {"cat": 10, "dog": 10})


def left_out(folder):
    return dict(image_folder(folder).left_out)


def foreign_suffix(pets):
    (pets / "cat/000.png").rename(pets / "cat/000.jfif")
    return "cat/000.jfif", ".jfif is not read"


def no_suffix(pets):
    (pets / "cat/000.png").rename(pets / "cat/000")
    return "cat/000", "no suffix"


def subfolder(pets):
    write(pets / "cat/more/deeper/x.png")
    write(pets / "cat/more/y.png")
    return ["cat/more/deeper/x.png", "cat/more/y.png"], "in a subfolder"


def folder_called_like_an_image(pets):
    write(pets / "cat/more.png/x.png")
    return "cat/more.png/x.png", "in a subfolder"


def link_to_its_own_class(pets):
    (pets / "cat/self").symlink_to("../cat")
    return [f"cat/self/{number:03}.png" for number in range(10)], "in a subfolder"


def pipe(pets):
    os.mkfifo(pets / "cat/x.png")
    return "cat/x.png", "a named pipe"


def unix_socket(pets):
    here = Path.cwd()
    os.chdir(pets / "cat")  # the path of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind("x.png")
    finally:
        os.chdir(here)
    return "cat/x.png", "a socket"


def device(pets):
    (pets / "cat/x.png").symlink_to("/dev/zero")
    return "cat/x.png", "a device"


def hidden(pets):
    write(pets / "cat/.x.png")
    return "cat/.x.png", "hidden"


def in_no_class(pets):
    write(pets / "x.png")
    return "x.png", "no class folder"


def foreign_in_no_class(pets):
    (pets / "x.heif").write_bytes(b"x")
    return "x.heif", "no class folder"


def dangling(pets):
    (pets / "cat/x.ppm").symlink_to("nowhere")
    return "cat/x.ppm", "No such file"


def link_to_itself(pets):
    (pets / "cat/x").symlink_to("x")
    return "cat/x", "symbolic links"


KINDS = [foreign_suffix, no_suffix, subfolder, folder_called_like_an_image, link_to_its_own_class, pipe, unix_socket]
KINDS += [device, hidden, in_no_class, foreign_in_no_class, dangling, link_to_itself]


@pytest.mark.parametrize("make", KINDS)
def test_what_is_not_taken_is_named_with_its_reason(pets, make):
    name, reason = make(pets)

    found = left_out(pets)

    assert list(found) == ([name] if isinstance(name, str) else name)
    assert all(reason in said for said in found.values())
    assert len(image_folder(pets)) == 20 - (make in (foreign_suffix, no_suffix))


@pytest.mark.parametrize("make", [subfolder, in_no_class, pipe])
def test_it_is_named_in_each_role_too(tmp_path, make):
    pets = tree(tmp_path / "pets", {"cat": 10, "dog": 10}, ("train", "test"))
    name, _ = make(pets / "train")
    write(pets / "val/cat/x.png")

    wanted = [name] if isinstance(name, str) else name
    assert list(left_out(pets)) == [*(f"train/{each}" for each in wanted), "val/cat/x.png"]


def test_nothing_is_said_of_a_folder_that_is_taken_whole(pets, cache, caplog):
    (pets / "labels.csv").write_text("file,label\n")

    with caplog.at_level(logging.WARNING, "harness"):
        splits = load(pets, cache=cache)

    assert caplog.text == ""
    assert splits.notes == {"duplicates": 0, "unreadable": 0}


def test_a_run_says_what_is_left_out_and_its_record_keeps_it(pets, cache, caplog):
    """Also when the images are read from the cache, and when it comes after they were decoded."""
    load(pets, cache=cache)
    subfolder(pets)
    for number in range(30):
        (pets / f"dog/{number}.jfif").write_bytes(b"x")

    with caplog.at_level(logging.WARNING, "harness"):
        splits = load(pets, cache=cache)

    (line,) = caplog.messages
    assert "data set pets: 32 files left out: cat/more/deeper/x.png (in a subfolder of a class)" in line
    assert splits.notes["left_out"] == 32 and len(splits.notes["left_out_files"]) == 20


def test_a_picture_in_two_classes_is_said_and_counts_for_the_first(pets, cache, caplog):
    Image.open(pets / "cat/001.png").save(pets / "dog/x.bmp")  # the same pixels in another file
    with caplog.at_level(logging.WARNING, "harness"):
        first, again = load(pets, cache=cache), load(pets, cache=cache)

    assert (
        caplog.messages
        == ["data set pets: 1 picture in two classes, of which the first counts: cat/001.png = dog/x.bmp"] * 2
    )
    assert first.notes == again.notes
    assert first.notes["two_classes_files"] == ["cat/001.png = dog/x.bmp"]
    assert sum(sizes(first)) == 20


def test_a_picture_twice_in_one_class_is_counted_alone(pets, cache, caplog):
    (pets / "cat/x.png").write_bytes((pets / "cat/001.png").read_bytes())
    with caplog.at_level(logging.WARNING, "harness"):
        assert load(pets, cache=cache).notes == {"duplicates": 1, "unreadable": 0}

    assert caplog.text == ""


# Links and names


def test_a_loop_of_links_is_one_line(pets, cache):
    (pets / "loop").symlink_to("loop")

    message = refusal(pets, cache=cache)

    assert "pets/loop" in message and "symbolic links" in message


def test_a_class_that_is_the_whole_folder_has_no_images(pets, cache):
    (pets / "self").symlink_to(".")

    assert "class 'self'" in refusal(pets, cache=cache)


def test_a_class_without_a_picture_that_is_read_says_why(pets, cache):
    for file in (pets / "cat").iterdir():
        file.rename(file.with_suffix(".ppm"))

    assert "cat/000.ppm: .ppm is not read" in refusal(pets, cache=cache)


def test_a_folder_that_cannot_be_listed_is_one_line(pets, cache, monkeypatch):
    listed = os.scandir

    def scandir(place):
        if str(place).endswith("dog"):
            raise PermissionError(13, "Permission denied", str(place))
        return listed(place)

    monkeypatch.setattr(os, "scandir", scandir)

    assert "pets/dog: Permission denied" in refusal(pets, cache=cache)


@pytest.mark.parametrize("name", [b"b\xff", b"b\n", b"\x1b[2Jb", "b\u2028".encode(), b"b\x7f"])
def test_a_class_whose_name_is_no_text_is_refused(pets, name):
    """It would name a folder of the release and a row of tables."""
    os.rename(pets / "dog", os.path.join(os.fsencode(pets), name))

    with pytest.raises(HarnessError, match="no text") as refused:
        image_folder(pets)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", ["d\u00f6g", "\u72ac", "\U0001f436", "a b", "$x|<b>"])
def test_any_text_names_a_class(pets, name):
    (pets / "dog").rename(pets / name)

    assert {image.label for image in image_folder(pets)} == {"cat", name}


@pytest.mark.parametrize("name", [b"\xff\xfe.png", b"a\nb.png", b"\x1b[31m.png", b"\xff.jfif"])
def test_file_names_that_are_no_text_are_read_and_written_as_escapes(pets, cache, caplog, name):
    Image.fromarray(noise()).save(pets / "x.png")
    os.rename(pets / "x.png", os.path.join(os.fsencode(pets / "cat"), name))

    with caplog.at_level(logging.WARNING, "harness"):
        splits = load(pets, cache=cache)

    assert sum(sizes(splits)) == 20 + name.endswith(b".png")
    assert all(line.isprintable() for line in caplog.messages)
    assert all(file.isprintable() for file in splits.notes.get("left_out_files", []))


def test_an_unreadable_file_of_such_a_name_is_written_as_an_escape(tmp_path, cache, caplog):
    root = tree(tmp_path / "pets", {"cat": 60, "dog": 60})
    with open(os.path.join(os.fsencode(root / "cat"), b"\xff\n.png"), "wb") as file:
        file.write(b"no image")

    with caplog.at_level(logging.WARNING, "harness"):
        splits = load(root, cache=cache)

    assert splits.notes["unreadable_files"] == ["cat/\\xff\\n.png"]
    assert all(line.isprintable() for line in caplog.messages)


def test_the_pictures_are_those_of_the_files(pets):
    for image in image_folder(pets):
        assert np.array_equal(image.read(), np.asarray(Image.open(pets / image.name)))
