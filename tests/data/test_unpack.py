"""Unpacking writes only regular files of the announced lengths, and only inside the folder."""

from __future__ import annotations

import hashlib
import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.unpack import path_inside, unpack
from harness.errors import HarnessError

FILES = {"Pets/Cat/0.jpg": b"cat", "Pets/Dog/0.jpg": b"dog " * 1000, "./Pets/Dog/1.jpg": b"", "readme.txt": b"read me"}
LIMIT = 10_000


def make_zip(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in files.items():
            zipped.writestr(name, content)
    return path


def make_tar(path, files, mode="w"):
    with tarfile.open(path, mode) as tarred:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tarred.addfile(info, io.BytesIO(content))
    return path


def make_tgz(path, files):
    return make_tar(path, files, "w:gz")


def everything(_):
    return True


def nobody(done, total):
    pass


def written(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def target(tmp_path):
    (tmp_path / "outside").mkdir()
    folder = tmp_path / "outside" / "target"
    folder.mkdir()
    return folder


def refusal(archive, target, most=LIMIT):
    with pytest.raises(HarnessError) as caught:
        unpack(archive, target, everything, most, nobody)
    assert "\n" not in str(caught.value) and str(archive) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("make", [make_zip, make_tar, make_tgz])
def test_the_wanted_files_are_written_with_their_digests(make, tmp_path, target):
    seen = []

    digests = unpack(
        make(tmp_path / "pets", FILES), target, lambda path: path.endswith(".jpg"), LIMIT, lambda *at: seen.append(at)
    )

    expected = {name.removeprefix("./"): content for name, content in FILES.items() if name.endswith(".jpg")}
    assert written(target) == expected
    assert digests == {name: hashlib.sha256(content).hexdigest() for name, content in expected.items()}
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize(
    "name", ["../x", "/x", "a/../../x", "a/..", "C:\\x", "c:x", "..\\x", "\\x", "\\\\host\\x", "a/b/../../../x"]
)
def test_a_member_that_leaves_the_folder_makes_the_archive_refused(make, name, tmp_path, target):
    archive = make(tmp_path / "evil", {"first.jpg": b"harmless", name: b"evil"})
    before = written(tmp_path)

    message = refusal(archive, target)

    assert "leaves the folder" in message
    assert written(tmp_path) == before


@given(st.text(alphabet=["a", "b", ".", "/", "\\", ":", "C", " ", "\0"], max_size=12))
def test_every_name_is_inside_or_refused(name):
    folder = Path("/somewhere/target")

    try:
        path = path_inside(Path("evil.zip"), name)
    except HarnessError:
        return

    resolved = (folder / path).resolve()
    assert resolved == folder or folder in resolved.parents
    assert "\\" not in path and not path.startswith("/")


def odd(kind, **fields):
    info = tarfile.TarInfo("odd")
    info.type = kind
    for name, value in fields.items():
        setattr(info, name, value)
    return info


@pytest.mark.parametrize(
    "info",
    [
        odd(tarfile.SYMTYPE, linkname="/etc/passwd"),
        odd(tarfile.SYMTYPE, linkname="first.jpg"),
        odd(tarfile.LNKTYPE, linkname="../x"),
        odd(tarfile.FIFOTYPE),
        odd(tarfile.CHRTYPE, devmajor=1, devminor=3),
        odd(tarfile.BLKTYPE, devmajor=8),
    ],
    ids=["symlink", "symlink inside", "hard link", "fifo", "character device", "block device"],
)
def test_links_and_devices_in_a_tar_are_refused(info, tmp_path, target):
    archive = make_tar(tmp_path / "evil.tar", {"first.jpg": b"harmless"})
    with tarfile.open(archive, "a") as tarred:
        tarred.addfile(info)

    assert "'odd', a link or a device" in refusal(archive, target)
    assert written(target) == {}


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices_in_a_zip_are_refused(kind, tmp_path, target):
    archive = make_zip(tmp_path / "evil.zip", {"first.jpg": b"harmless"})
    info = zipfile.ZipInfo("odd")
    info.create_system, info.external_attr = 3, (kind | 0o777) << 16
    with zipfile.ZipFile(archive, "a") as zipped:
        zipped.writestr(info, "/etc/passwd")

    assert "'odd', a link or a device" in refusal(archive, target)
    assert written(target) == {}


@pytest.mark.parametrize("make", [make_zip, make_tar, make_tgz])
def test_a_bomb_is_refused_before_anything_is_written(make, tmp_path, target):
    archive = make(tmp_path / "bomb", {"first.jpg": b"harmless", "bomb.jpg": bytes(LIMIT)})

    assert "unpacks to 10,008 bytes, more than the 10,000 that are expected" in refusal(archive, target)
    assert written(target) == {}


def test_a_zip_that_announces_less_than_it_holds_writes_no_more_than_announced(tmp_path, target):
    archive = make_zip(tmp_path / "bomb.zip", {"bomb.jpg": bytes(1_000_000)})
    length = (1_000_000).to_bytes(4, "little")
    archive.write_bytes(archive.read_bytes().replace(length, (100).to_bytes(4, "little")))

    assert "cannot be unpacked" in refusal(archive, target)
    assert sum(map(len, written(target).values())) <= 100


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize("second", ["./a.jpg", "a.jpg/b.jpg"])
def test_a_path_that_occurs_twice_is_refused(make, second, tmp_path, target):
    assert "twice" in refusal(make(tmp_path / "twice", {"a.jpg": b"one", second: b"two"}), target)


@pytest.mark.parametrize("make", [make_zip, make_tar, make_tgz])
def test_a_damaged_archive_is_one_line(make, tmp_path, target):
    archive = make(tmp_path / "pets", {"a.jpg": NOISE, "b.jpg": NOISE})
    content = bytearray(archive.read_bytes())
    content[len(NOISE) // 2 : len(NOISE) // 2 + 600] = bytes(600)
    archive.write_bytes(content[: len(content) // 2] if make is make_tar else content)

    assert "pets" in refusal(archive, target)


NOISE = bytes(hashlib.shake_256(b"noise").digest(4000))


def test_a_file_that_is_no_archive_is_one_line(tmp_path, target):
    (tmp_path / "pets.zip").write_bytes(b"not an archive")

    assert "neither a zip nor a tar archive" in refusal(tmp_path / "pets.zip", target)


def test_an_encrypted_zip_is_one_line(tmp_path, target):
    archive = make_zip(tmp_path / "secret.zip", {"a.jpg": b"secret"})
    content = bytearray(archive.read_bytes())
    for signature, flag in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + flag] |= 1
    archive.write_bytes(content)

    assert "encrypted" in refusal(archive, target)
