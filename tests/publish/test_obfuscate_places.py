"""`harness obfuscate` removes nothing that another run made, and says which pictures it does not take."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from harness.cli import main
from harness.publish import obfuscate as obfuscation
from harness.publish import secret_file
from harness.publish.places import LEDGER
from harness.system.files import LOCK_MARK, lock_file
from tests.helpers.paths import ROOT
from tests.publish.conftest import EACH, obfuscate


@pytest.fixture
def place(tmp_path):
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def one_line(capsys):
    lines = capsys.readouterr().err.splitlines()
    assert "Traceback" not in "".join(lines) and lines[-1].startswith("harness: ")
    return lines[-1]


@pytest.mark.parametrize("folder", ["/", "."])
def test_a_ledger_that_is_a_folder_is_refused(pictures, place, capsys, folder):
    assert obfuscate(pictures, place, "--ledger", folder) == 2
    assert "is a folder; name a file" in one_line(capsys) and names(place) == []


# Two runs with one secret


def test_a_secret_that_appears_while_a_run_works_is_not_removed(pictures, place, monkeypatch, capsys):
    """Of a run on another machine, whose lock is not seen here."""
    written = secret_file.write_secret

    def late(file, arrays):
        file.write_bytes(b"theirs")
        return written(file, arrays)

    monkeypatch.setattr(secret_file, "write_secret", late)

    assert obfuscate(pictures, place) == 2
    assert "secret.npz" in one_line(capsys)
    assert names(place) == ["secret.npz"] and (place / "secret.npz").read_bytes() == b"theirs"


def test_a_secret_that_replaced_ones_own_is_not_removed(pictures, place, monkeypatch):
    def replaced(self, target):
        (place / "secret.npz").unlink()
        (place / "secret.npz").write_bytes(b"theirs")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "rename", replaced)

    assert obfuscate(pictures, place) == 2
    assert (place / "secret.npz").read_bytes() == b"theirs"


def test_a_second_run_with_the_same_secret_is_refused_before_the_work(pictures, place, monkeypatch, capsys):
    monkeypatch.setattr(obfuscation, "_decode", lambda *_: pytest.fail("it began to work"))

    with lock_file(place / ".secret.npz.lock"):
        assert obfuscate(pictures, place) == 2

    assert "another run is writing the secret" in one_line(capsys)
    assert names(place) == []


def test_two_runs_at_once_leave_one_release_with_its_secret(pictures, place):
    """Real processes. The one that is refused touches nothing of the other."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def start(number):
        words = [
            "--dataset",
            str(pictures),
            "--out",
            str(place / f"out{number}"),
            "--secret",
            str(place / "secret.npz"),
        ]
        command = [sys.executable, "-m", "harness.cli", "obfuscate", "--defense", "mix", "--epochs", "100", *words]
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)

    first = start(1)
    deadline = time.monotonic() + 120
    while not (place / ".secret.npz.lock").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    second = start(2)

    assert second.wait(120) == 2 and first.wait(120) == 0
    assert second.stderr.read().count("\n") == 1
    first.stderr.close()
    second.stderr.close()
    assert names(place) == [LEDGER, "out1", "secret.npz"]
    secret = np.load(place / "secret.npz")
    assert all((place / "out1" / file).is_file() for file in secret["file"])


def test_what_killed_runs_left_of_this_secret_is_removed_and_nothing_else(pictures, place):
    for name in (".secret.npz.0123abcd.partial", ".secret.npz.more.0123abcd.partial", ".other.npz.0123abcd.partial"):
        (place / name).write_bytes(b"of a secret")
    (place / ".secret.npz.lock").write_bytes(LOCK_MARK)

    assert obfuscate(pictures, place) == 0
    assert names(place) == [
        *(".other.npz.0123abcd.partial", ".secret.npz.more.0123abcd.partial"),
        *(LEDGER, "out", "secret.npz"),
    ]


OWN = (".out.lock", ".secret.npz.lock", f".{LEDGER}.lock", ".out.partial", ".secret.npz.0123abcd.partial")


@pytest.mark.parametrize("name", [*OWN, f".{LEDGER}.0123abcd.partial", f".{LEDGER}.notes"])
def test_a_users_own_file_beside_the_places_stays_as_it_is(pictures, place, capsys, name):
    """It has the name of a lock or partial file, which is refused in one line, or is in nobody's way."""
    (place / name).write_text("mine")

    code = obfuscate(pictures, place)

    said = [line for line in capsys.readouterr().err.splitlines() if name in line]
    assert (place / name).read_text() == "mine" and len(said) == (1 if code else 0)
    assert names(place) == ([name] if code else sorted([name, LEDGER, "out", "secret.npz"]))
    assert code == (2 if name.endswith(".lock") or name == ".out.partial" else 0)


@pytest.mark.parametrize("name", [".out.lock", ".secret.npz.lock", f".{LEDGER}.lock"])
@pytest.mark.parametrize("target", ["nowhere", "empty.txt", "full.txt", "."])
def test_a_link_where_a_lock_goes_is_one_line_and_is_not_followed(pictures, place, capsys, name, target):
    (place / "empty.txt").touch(0o644)
    (place / "full.txt").write_text("mine")
    (place / name).symlink_to(target)

    assert obfuscate(pictures, place) == 2
    assert f"{name} is a link and no lock file" in capsys.readouterr().err.splitlines()[-1]
    assert names(place) == sorted([name, "empty.txt", "full.txt"])
    assert (place / "empty.txt").read_bytes() == b"" and (place / "empty.txt").stat().st_mode & 0o777 == 0o644


# Places that cannot be written


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("which", ["secrets", "releases"])
def test_a_place_that_cannot_be_written_is_one_line_before_the_work(
    pictures, tmp_path, place, monkeypatch, capsys, code, which
):
    opened, made = os.open, Path.mkdir
    (tmp_path / "secrets").mkdir()
    (tmp_path / "releases").mkdir()

    def refused(path, *args, **kwargs):
        if f"/{which}/" in str(path):
            raise OSError(code, os.strerror(code), str(path))
        return opened(path, *args, **kwargs)

    def no_folder(self, *args, **kwargs):
        if f"/{which}/" in str(self):
            raise OSError(code, os.strerror(code), str(self))
        return made(self, *args, **kwargs)

    monkeypatch.setattr(os, "open", refused)
    monkeypatch.setattr(Path, "mkdir", no_folder)
    monkeypatch.setattr(obfuscation, "_decode", lambda *_: pytest.fail("it began to work"))
    words = ["--out", str(tmp_path / "releases/out"), "--secret", str(tmp_path / "secrets/s.npz")]

    assert main(["obfuscate", "--defense", "mix", "--dataset", str(pictures), *words]) == 2
    line = one_line(capsys)
    assert os.strerror(code) in line and "nothing was released" in line
    assert names(tmp_path / "secrets") == names(tmp_path / "releases") == []


def test_a_release_among_the_originals_is_refused(pictures, place, capsys):
    words = ["--out", str(pictures / "released"), "--secret", str(place / "s.npz")]

    assert main(["obfuscate", "--defense", "mix", "--dataset", str(pictures), *words]) == 2
    assert "inside the originals" in one_line(capsys)


def test_a_link_to_another_place_is_followed_before_places_are_compared(pictures, place, capsys):
    (place / "link").symlink_to(pictures)
    words = ["--out", str(place / "link/released"), "--secret", str(place / "s.npz")]

    assert main(["obfuscate", "--defense", "mix", "--dataset", str(pictures), *words]) == 2
    assert "inside the originals" in one_line(capsys)


@pytest.mark.parametrize("what", ["--secret", "--ledger"])
@pytest.mark.parametrize("where", ["mine.npz", "class 0/mine.npz", "by a link"])
def test_a_secret_or_ledger_among_the_originals_is_refused(pictures, place, capsys, what, where):
    label = sorted(pictures.iterdir())[0].name
    (place / "link").symlink_to(pictures)
    file = place / "link/mine.npz" if where == "by a link" else pictures / where.replace("class 0", label)
    words = {"--out": place / "out", "--secret": place / "s.npz", "--dataset": pictures, what: file}
    before = sorted(pictures.rglob("*"))

    code = main(["obfuscate", "--defense", "mix", *(str(word) for pair in words.items() for word in pair)])

    said = one_line(capsys)
    assert code == 2 and f"{what[2:]} {pictures.resolve()}" in said and "inside the originals" in said
    assert sorted(pictures.rglob("*")) == before and names(place) == ["link"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("json", [[], ["--json"]])
def test_where_the_result_cannot_be_printed_the_line_says_that_the_release_stands(pictures, place, json):
    words = ["--dataset", str(pictures), "--out", str(place / "out"), "--secret", str(place / "s.npz"), *json]
    command = [sys.executable, "-m", "harness.cli", "obfuscate", "--defense", "mix", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, env=environment, stdout=full, stderr=subprocess.PIPE, text=True, check=False)

    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert f"No space left on device; but {place / 'out'} and {place / 's.npz'} are there, complete" in done.stderr
    assert (place / "out/epoch_000").is_dir() and (place / "s.npz").exists()


def test_an_interruption_while_the_result_is_printed_does_not_say_that_nothing_was_released(
    pictures, place, monkeypatch, capsys
):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.commands.common.print_result", stop)

    assert obfuscate(pictures, place) == 130
    assert "nothing was released" not in (said := one_line(capsys)) and "are there, complete" in said


@pytest.mark.parametrize("size", ["0", "-3", "7", "100000"])
def test_a_size_that_is_none_is_refused(pictures, place, capsys, size):
    assert obfuscate(pictures, place, "--size", size) == 2
    line = one_line(capsys)
    assert f"size {size}" in line and "use" in line


@pytest.mark.parametrize("name", [b"\xff\xfe", b"a\nb", b"\x1b[2J", b"a b'c"])
def test_foreign_names_of_places_and_files(pictures, tmp_path, capsys, name):
    """They are kept as they are on the disk, and written as escapes."""
    text = os.fsdecode(name)
    folder, place = tmp_path / text, tmp_path / f"place {text}"
    shutil.copytree(pictures, folder)
    first = sorted(folder.rglob("*.png"))[0]
    first.rename(first.with_name(f"{text}.png"))
    place.mkdir()

    assert obfuscate(folder, place, "--epochs", "2") == 0
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 3 and all(line.isprintable() for line in (said.out + said.err).splitlines())
    secret = np.load(place / "secret.npz")
    assert all((place / "out" / file).is_file() for file in secret["file"])
    assert all((folder / source).is_file() for source in secret["sources"].ravel())


def test_a_class_whose_name_is_no_text_is_not_published(pictures, place, capsys):
    os.rename(next(pictures.iterdir()), os.path.join(os.fsencode(pictures), b"\xff"))

    assert obfuscate(pictures, place) == 2
    assert "no text" in one_line(capsys)


# Pictures that are not taken


def test_what_is_left_out_is_said_before_anything_is_written(pictures, place, monkeypatch, caplog):
    some = sorted(pictures.rglob("*.png"))
    some[0].rename(some[0].with_suffix(".jfif"))
    (some[1].parent / "more").mkdir()
    some[1].rename(some[1].parent / "more" / some[1].name)
    written = obfuscation.write_images

    def after(*args):
        assert "2 files left out" in caplog.text and ".jfif" in caplog.text and "more/" in caplog.text
        written(*args)

    monkeypatch.setattr(obfuscation, "write_images", after)
    with caplog.at_level(logging.WARNING, "harness"):
        assert obfuscate(pictures, place) == 0

    assert len(np.load(place / "secret.npz")["file"]) == 3 * EACH - 2


def test_a_picture_in_two_classes_is_said(pictures, place, caplog):
    a, b, *_ = sorted(path for path in pictures.iterdir())
    shutil.copy(next(a.iterdir()), b / "again.png")

    assert obfuscate(pictures, place) == 0
    assert "1 picture in two classes" in caplog.text and "again.png" in caplog.text


def foreign(pictures):
    first = sorted(pictures.rglob("*.png"))[0]
    first.rename(first.with_suffix(".ppm"))
    return "ppm"


def in_two_classes(pictures):
    a, b, *_ = sorted(pictures.iterdir())
    shutil.copy(next(a.iterdir()), b / "again.png")
    return "two classes"


def twice_in_one(pictures):
    first = next(pictures.rglob("*.png"))
    shutil.copy(first, first.with_name("copy.png"))
    return "several times in a class"


def in_a_subfolder(pictures):
    (next(pictures.iterdir()) / "more").mkdir()
    shutil.copy(sorted(pictures.rglob("*.png"))[0], next(pictures.iterdir()) / "more")
    return "more/"


def pipe(pictures):
    os.mkfifo(next(pictures.iterdir()) / "x.png")
    return "a named pipe"


@pytest.mark.parametrize("make", [foreign, in_two_classes, twice_in_one, in_a_subfolder, pipe])
def test_strict_refuses_a_folder_that_is_not_released_whole(pictures, place, capsys, make):
    said = make(pictures)

    assert obfuscate(pictures, place, "--strict") == 2
    line = one_line(capsys)
    assert said in line and "--strict" in line
    assert names(place) == []


def test_strict_takes_a_folder_that_is_whole(pictures, place):
    assert obfuscate(pictures, place, "--strict") == 0


@pytest.mark.parametrize("link", ["loop", "class"])
def test_links_that_lead_to_themselves_end(pictures, place, capsys, caplog, link):
    if link == "loop":
        (pictures / "loop").symlink_to("loop")
    else:
        inner = next(pictures.iterdir())
        (inner / "self").symlink_to(inner)

    code = obfuscate(pictures, place)

    assert code == (2 if link == "loop" else 0)
    assert "symbolic links" in one_line(capsys) if link == "loop" else "self/" in caplog.text
