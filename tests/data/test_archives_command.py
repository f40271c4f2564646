"""Published archives by the command: fetched once, resumed, refused in one line where they are bad."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import namedtuple
from copy import deepcopy

import pytest
import yaml

from harness.cli import main
from harness.data import download
from harness.errors import HarnessError
from tests.helpers.archived import files, image_bytes, loaded, published, tarred, zipped

pytestmark = pytest.mark.usefixtures("hurry")


@pytest.fixture
def command(cats, tmp_path, monkeypatch):
    """`harness run --dataset small` with an entry of one's own; what it writes is under the temporary folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def run(*options, params=None):
        entry = {
            "use": "harness.data.sources.archives:class_folders",
            "version": 1,
            "cite": "me",
            "params": params or cats[1],
        }
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"datasets": {"small": entry}}))
        arguments = ["run", "--defense", "mix", "--attack", "look", "--dataset", "small", "--registry", "mine.yaml"]
        return main([*arguments, "--no-utility", "--size", "32", "--records", "records", "--json", *options])

    return run


def test_run_fetches_once_and_offline_afterwards(command, site, capsys):
    assert command() == 0
    first = json.loads(capsys.readouterr().out)
    assert command("--offline", "--dry-run") == 0
    second = json.loads(capsys.readouterr().out)

    assert len(site.requests) == 1
    assert first["cells"][0]["status"] == "ok" and all(item["done"] for item in second["plan"])


def page(site, params, _):
    site.kind = "text/html"


def wrong_checksum(site, params, _):
    params["archives"]["kagglecatsanddogs_5340.zip"]["sha256"] = "0" * 64


def no_such_file(site, params, _):
    params["archives"]["kagglecatsanddogs_5340.zip"]["url"] += ".old"


def no_network(site, params, _):
    params["archives"]["kagglecatsanddogs_5340.zip"]["url"] = "http://127.0.0.1:9/kagglecatsanddogs_5340.zip"


def full_disk(site, params, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage(0, 0, 1_000_000_000))


def link_inside(site, params, _):
    pinned(site, params, tarred({"PetImages/Cat/0.jpg": image_bytes(), "PetImages/Cat/1.jpg": None}))


def path_outside(site, params, _):
    pinned(site, params, zipped({"PetImages/Cat/0.jpg": image_bytes(), "../../escaped.jpg": image_bytes()}))


def bomb(site, params, _):
    params["archives"]["kagglecatsanddogs_5340.zip"]["unpacks_to"] = 100


def other_layout(site, params, _):
    pinned(site, params, zipped({"PetImages/Cat/0.jpg": image_bytes(), "pets/Dog/0.jpg": image_bytes()}))


def pinned(site, params, body):
    site.files["/kagglecatsanddogs_5340.zip"] = body
    params["archives"]["kagglecatsanddogs_5340.zip"] |= {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}


WHOLE = ["kagglecatsanddogs_5340.zip"]  # the archive that was asked for, checked; nothing of it was unpacked
BAD = [
    (page, "sent a web page in place of kagglecatsanddogs_5340.zip", []),
    (wrong_checksum, "expected 000000", []),
    (no_such_file, "404", []),
    (no_network, "cannot be fetched from 127.0.0.1:9", []),
    (full_disk, "1,200.0 MB in", []),
    (link_inside, "'PetImages/Cat/1.jpg', a link or a device", WHOLE),
    (path_outside, "'../../escaped.jpg', which leaves the folder", WHOLE),
    (bomb, "more than the 100 that are expected", WHOLE),
    (other_layout, "has no picture of 'dog' in PetImages/Dog", WHOLE),
]


@pytest.mark.parametrize(("trouble", "words", "left"), BAD, ids=[trouble.__name__ for trouble, *_ in BAD])
def test_bad_archives_are_one_line_and_exit_2(command, cats, site, tmp_path, capsys, monkeypatch, trouble, words, left):
    params = deepcopy(cats[1])
    trouble(site, params, monkeypatch)

    code = command(params=params)

    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if "downloading" not in line and "unpacking" not in line]
    assert code == 2 and said.out == ""
    assert len(lines) == 1 and lines[0].startswith("harness: ") and words in lines[0]
    assert files(tmp_path) == sorted(["mine.yaml", *left])
    assert not list(tmp_path.rglob("*.tmp"))


def test_offline_a_missing_archive_is_named_with_its_place(command, site, tmp_path, capsys):
    code = command("--offline")

    (line,) = capsys.readouterr().err.splitlines()
    folder = tmp_path / "cache/obfuscation-harness/downloads/cats_vs_dogs"
    assert code == 2 and not site.requests and files(tmp_path) == ["mine.yaml"]
    assert line == (
        "harness: cats_vs_dogs: kagglecatsanddogs_5340.zip is not here and --offline downloads nothing; get "
        f"kagglecatsanddogs_5340.zip from {site.url}/kagglecatsanddogs_5340.zip and put it into {folder}"
    )


def test_a_broken_connection_is_resumed_by_the_command(command, site):
    site.script = [2000, 3000]

    assert command("--dry-run") == 0
    assert [asked for _, asked, _ in site.requests] == [None, "bytes=2000-", "bytes=5000-"]


def test_ctrl_c_keeps_the_part_and_no_file_under_the_archives_name(cats, site, tmp_path):
    """In another process, with a real signal, from a server that stops sending."""
    half = len(site.files["/kagglecatsanddogs_5340.zip"]) // 2
    site.script = ["stall"]
    code = (
        "import os, signal, threading, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore it
        "from harness.data import download\n"
        "from pathlib import Path\n"
        f"part = Path({str(tmp_path)!r}) / 'cats.zip.part'\n"
        "def press():\n"
        f"    while not part.exists() or part.stat().st_size < {half}: time.sleep(0.01)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "threading.Thread(target=press, daemon=True).start()\n"
        f"archive = download.Archive('cats.zip', {site.url + '/kagglecatsanddogs_5340.zip'!r}, '0' * 64)\n"
        f"download.fetch(archive, part.parent, 'cats')\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)

    assert "KeyboardInterrupt" in done.stderr
    assert files(tmp_path) == ["cats.zip.part", "cats.zip.part.from"]
    assert (tmp_path / "cats.zip.part").stat().st_size == half


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sha256": "abc"}, "sha256 is 'abc'; expected 64 hex digits"),
        ({"url": "file:///etc/passwd"}, "url is 'file:///etc/passwd'; expected http:// or https://"),
        ({"bytes": "many"}, "bytes is 'many'; expected a whole number of bytes"),
        ({"unpacks_to": 0}, "unpacks_to is 0"),
        ({"md5": "abc"}, "expected a table with url, bytes, sha256 and unpacks_to"),
    ],
)
def test_an_entry_of_ones_own_is_checked(cats, tmp_path, change, words):
    params = deepcopy(cats[1])
    params["archives"]["kagglecatsanddogs_5340.zip"] |= change

    with pytest.raises(HarnessError, match=words):
        loaded(params, tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"per_class": {"train": 3}}, "expected train and test, each a number from 1"),
        ({"per_class": {"train": 3, "test": 0}}, "expected train and test"),
        ({"classes": {"cat": "PetImages/Cat"}}, "class 'cat' is 'PetImages/Cat'; expected a list of folders"),
        ({"classes": {"cat": ["a"], "dog": ["a"]}}, "folder 'a' is in both 'cat' and 'dog'"),
    ],
)
def test_classes_and_counts_of_ones_own_are_checked(cats, site, tmp_path, change, words):
    with pytest.raises(HarnessError, match=words):
        loaded(cats[1] | change, tmp_path)
    assert not site.requests


@pytest.mark.parametrize("change", [{"folder": "../x"}, {"archives": {"a/b.zip": {}}}, {"folder": ""}])
def test_names_that_are_paths_are_refused(cats, tmp_path, change):
    with pytest.raises(HarnessError, match="are names"):
        loaded(cats[1] | change, tmp_path)


@pytest.mark.parametrize(
    ("body", "words"), [(b"not MATLAB", "test_list.mat holds no list of files"), (None, "fix test_list")]
)
def test_an_invalid_test_list_is_one_line(dogs, site, tmp_path, body, words):
    lists = {"other.mat": b""} if body is None else {"test_list.mat": body}
    params = published("stanford_dogs10", site, images=site.files["/images.tar"], lists=tarred(lists))

    with pytest.raises(HarnessError, match=words):
        loaded(params, tmp_path)


def test_offline_forbids_weights_too_and_only_for_the_command(monkeypatch):
    from harness.system.offline import forbid_downloads, offline
    from harness.train.pretrained import may_download

    monkeypatch.setenv("HARNESS_DOWNLOAD", "1")
    with forbid_downloads(True):
        inside = offline(), may_download()
    with forbid_downloads(False):
        beside = offline(), may_download()

    assert inside == (True, False) and beside == (offline(), may_download()) == (False, True)
