"""Tar shards are read as the folder of the same pictures is; what is irregular is refused with shard and member."""

from __future__ import annotations

import io
import json
import tarfile

import numpy as np
import pytest

from harness.data.load import load
from tests.helpers.folders import parts, refusal


def members(root):
    """The pictures of a folder of classes as (name, bytes), a picture and its label each."""
    found = []
    for number, file in enumerate(sorted(root.rglob("*.png"))):
        found.append((f"{number:06d}.png", file.read_bytes()))
        found.append((f"{number:06d}.json", json.dumps({"label": file.parent.name}).encode()))
    return found


def shard(path, content):
    with tarfile.open(path, "w") as archive:
        for name, data in content:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def sharded(flat, tmp_path):
    """The pets in three shards of a folder called other."""
    folder = tmp_path / "other"
    folder.mkdir()
    content = members(flat)
    for number in range(3):
        shard(folder / f"shards-{number:03d}.tar", content[20 * number : 20 * (number + 1)])
    return folder


@pytest.mark.parametrize("given", ["", "/shards-{000..002}.tar"])
def test_shards_are_the_folder_that_they_were_made_of(flat, sharded, cache, given):
    """Another source, other names and another layout of the same pictures and labels: one identity."""
    of_folder, of_shards = load(flat, cache=cache), load(f"{sharded}{given}", cache=cache)

    assert of_shards.fingerprint == of_folder.fingerprint
    assert of_shards.name == ("other" if not given else "shards")
    for one, other in zip(parts(of_folder), parts(of_shards), strict=True):
        assert np.array_equal(one.images, other.images) and one.labels.tolist() == other.labels.tolist()
    assert load(f"{sharded}{given}", cache=cache, name="pets 2").name == "pets 2"


def test_another_label_is_another_data_set(flat, sharded, cache):
    before = load(sharded, cache=cache).fingerprint
    content = [(name, data.replace(b"dog", b"fox")) if name[-4:] == "json" else (name, data)
               for name, data in members(flat)]  # fmt: skip
    shard(sharded / "shards-000.tar", content[:20])
    shard(sharded / "shards-001.tar", content[20:40])
    shard(sharded / "shards-002.tar", content[40:])

    assert load(sharded, cache=cache).fingerprint != before


def test_numbers_are_classes_and_files_called_train_and_test_are_roles(flat, tmp_path, cache):
    content = [(name.replace("json", "cls"), b"%d\n" % (b"dog" in data)) if name[-4:] == "json" else (name, data)
               for name, data in members(flat)]  # fmt: skip
    (tmp_path / "roles").mkdir()
    held_out = content[:8] + content[-8:]
    shard(tmp_path / "roles" / "train-0.tar", content[8:-8])
    shard(tmp_path / "roles" / "test-0.tar", held_out)

    splits = load(tmp_path / "roles", cache=cache)

    assert splits.classes == ("0", "1")
    assert sorted(splits.test.names) == sorted(name for name, _ in held_out if name.endswith("png"))


def named(name, kind=tarfile.REGTYPE, to=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info


PICTURE, LABEL = ("a.png", b"picture"), ("a.cls", b"0")
IRREGULAR = {
    "link": ([PICTURE, LABEL, (named("b.png", tarfile.SYMTYPE, "/etc/passwd"), b"")], "'b.png' is a link"),
    "absolute": ([("/a.png", b"x"), LABEL], "'/a.png', which leaves"),
    "above": ([("../a.png", b"x"), LABEL], "'../a.png', which leaves"),
    "alone": ([PICTURE], "'a.png' has no label beside it"),
    "unlabelled": ([LABEL], "'a.cls' has no image beside it"),
    "twice": ([PICTURE, LABEL, PICTURE], "'a.png' is the second image of 'a'"),
    "labelled twice": ([PICTURE, LABEL, ("a.json", b'{"cls": 1}')], "'a.json' is the second label of 'a'"),
    "suffix": ([PICTURE, LABEL, ("a.exe", b"x")], "'a.exe' ends in '.exe'"),
    "no number": ([PICTURE, ("a.cls", b"-1")], "'a.cls': the label is"),
    "truth": ([PICTURE, ("a.json", b'{"label": true}')], "'a.json': the label is true"),
    "invisible": ([PICTURE, ("a.json", '{"label": "ca\u200bt"}'.encode())], "'a.json': the label is"),
    "deep": ([PICTURE, ("a.json", b"[" * 60_000)], "'a.json': the label is"),
    "long label": ([PICTURE, ("a.json", b" " * 70_000)], "'a.json' has 70,000 bytes"),
    "nothing": ([], "holds no sample"),
}


@pytest.mark.parametrize("what", IRREGULAR)
def test_what_is_irregular_is_refused_with_shard_and_member(tmp_path, cache, what):
    content, said = IRREGULAR[what]
    place = shard(tmp_path / "a.tar", content)

    message = refusal(place, cache=cache)

    assert said in message and "a.tar" in message and "\n" not in message


@pytest.mark.parametrize("keep", [100, 512, 700, 1024, 1536, 2048])
def test_a_shard_that_is_cut_is_refused_wherever_it_was_cut(tmp_path, cache, keep):
    place = shard(tmp_path / "a.tar", [PICTURE, LABEL])
    place.write_bytes(place.read_bytes()[:keep])

    assert "a.tar" in (said := refusal(place, cache=cache)) and "cut" in said


def test_garbage_between_members_is_refused(tmp_path, cache):
    place = shard(tmp_path / "a.tar", [PICTURE, LABEL, ("b.png", b"x"), ("b.cls", b"1")])
    content = bytearray(place.read_bytes())
    content[2048:2560] = b"\xff" * 512  # the header of the third member
    place.write_bytes(content)

    assert "damaged after 'a.cls'" in refusal(place, cache=cache)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_that_states_a_huge_length_is_not_read(tmp_path, cache, kind):
    info = named("a.png", kind)
    info.size = 2**32
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(10240))

    assert "a header of 4,294,967,296 bytes" in refusal(tmp_path / "a.tar", cache=cache)


def test_a_picture_of_a_huge_size_is_refused(tmp_path, cache):
    info = named("a.png")
    info.size = 2**40
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(10240))

    assert "a.tar" in refusal(tmp_path / "a.tar", cache=cache)


def test_a_sample_in_two_shards_is_refused(tmp_path, cache):
    for name in "ab":
        shard(tmp_path / f"{name}.tar", [PICTURE, LABEL])

    assert "the samples 'a' are here and in a.tar" in refusal(tmp_path, cache=cache)


def test_a_shard_that_changed_is_read_again(sharded, flat, cache):
    before = load(sharded, cache=cache).fingerprint
    shard(sharded / "shards-000.tar", members(flat)[:18])

    assert load(sharded, cache=cache).fingerprint != before


@pytest.mark.parametrize("pattern", ["s-{3..1}.tar", "s-{0..999999}.tar"])
def test_a_range_without_files_is_refused(tmp_path, cache, pattern):
    assert "use a range of 1 to" in refusal(tmp_path / pattern, cache=cache)
