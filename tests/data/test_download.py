"""A download gives the complete, right file, whatever the connection and the server do, or no file."""

from __future__ import annotations

import errno
import hashlib
import re
import socket
import threading
import time
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pytest

from harness.data import download, http
from harness.data.download import Archive, fetch
from harness.errors import HarnessError
from harness.system import progress
from harness.system.messages import shown
from harness.system.progress import reporting
from tests.helpers.loopback import serving
from tests.helpers.no_locks import refuse_locks

BODY = np.random.default_rng(0).bytes(300_000)
PAGE = b"<!DOCTYPE html><html><body>Please accept our terms</body></html>"


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(http, "PAUSE", 0.001)
    monkeypatch.delenv("HARNESS_OFFLINE", raising=False)


@pytest.fixture
def site():
    with serving() as made:
        made.files["/pets.zip"] = BODY
        yield made


@pytest.fixture
def pets(site):
    return Archive("pets.zip", f"{site.url}/pets.zip", hashlib.sha256(BODY).hexdigest(), len(BODY))


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def refusal(archive, folder):
    with pytest.raises(HarnessError) as caught:
        fetch(archive, folder, "pets")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def until(true, seconds=5):
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.01)


def begun(folder, count, version='"one"'):
    """The files of an interrupted run: the first bytes, and their version by the server."""
    folder.mkdir()
    (folder / "pets.zip.part").write_bytes(BODY[:count])
    if version:
        (folder / "pets.zip.part.from").write_text(version)


def test_the_folder_holds_the_archive_and_nothing_else(site, pets, tmp_path):
    found = fetch(pets, tmp_path / "cache", "pets")

    assert found.read_bytes() == BODY and files(tmp_path) == ["pets.zip"]


def test_a_broken_connection_is_continued_where_it_broke(site, pets, tmp_path):
    site.script = [100_000, 50_000]

    fetch(pets, tmp_path, "pets")

    assert [asked for _, asked, _ in site.requests] == [None, "bytes=100000-", "bytes=150000-"]
    assert [condition for *_, condition in site.requests] == [None, '"one"', '"one"']
    assert site.sent == len(BODY) and files(tmp_path) == ["pets.zip"]


def test_a_connection_without_data_times_out_and_is_continued(site, pets, tmp_path, monkeypatch):
    monkeypatch.setattr(http, "TIMEOUT", 2.0)
    site.script = ["stall"]

    fetch(pets, tmp_path, "pets")

    assert site.requests[1][1] == f"bytes={len(BODY) // 2}-" and site.sent == len(BODY)


def test_after_an_interruption_the_next_run_continues_and_no_half_archive_has_its_name(
    site, pets, tmp_path, monkeypatch
):
    def interrupt(reporter, done, total):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(progress.ProgressReporter, "update", interrupt)
        fetch(pets, tmp_path, "pets")
    left = files(tmp_path)
    have = (tmp_path / "pets.zip.part").stat().st_size

    fetch(pets, tmp_path, "pets")

    assert left == ["pets.zip.part", "pets.zip.part.from"] and 0 < have < len(BODY)
    assert site.requests[1][1] == f"bytes={have}-" and files(tmp_path) == ["pets.zip"]


def test_a_server_without_range_requests_sends_all_of_it_again(site, pets, tmp_path):
    site.script = [100_000, "whole"]

    assert fetch(pets, tmp_path, "pets").read_bytes() == BODY
    assert site.sent == 100_000 + len(BODY)


def test_two_versions_are_never_joined(site, pets, tmp_path):
    begun(tmp_path / "cache", 1000, '"zero"')

    assert fetch(pets, tmp_path / "cache", "pets").read_bytes() == BODY
    assert site.requests == [("/pets.zip", "bytes=1000-", '"zero"')] and site.sent == len(BODY)


def test_a_range_that_was_not_requested_is_discarded(site, pets, tmp_path):
    site.script = [100_000, "elsewhere"]

    assert fetch(pets, tmp_path, "pets").read_bytes() == BODY
    assert [asked for _, asked, _ in site.requests] == [None, "bytes=100000-", None]


@pytest.mark.parametrize("length", [len(BODY), None])
@pytest.mark.parametrize("extra", [0, 7])
def test_a_part_that_is_already_complete_or_too_long_is_handled(site, pets, tmp_path, length, extra):
    begun(tmp_path / "cache", None)
    with (tmp_path / "cache/pets.zip.part").open("ab") as part:
        part.write(bytes(extra))

    assert fetch(replace(pets, bytes=length), tmp_path / "cache", "pets").read_bytes() == BODY
    assert site.sent == (len(BODY) if extra else 0)


def test_a_part_of_an_older_version_is_downloaded_again(site, pets, tmp_path):
    begun(tmp_path / "cache", 1000, None)
    (tmp_path / "cache/pets.zip.part").write_bytes(bytes(1000))

    assert fetch(pets, tmp_path / "cache", "pets").read_bytes() == BODY
    assert [asked for _, asked, _ in site.requests] == ["bytes=1000-", None]


@pytest.mark.parametrize("fault", ["503", "429", "unsized"])
def test_transient_errors_are_retried(site, pets, tmp_path, fault):
    site.script = [fault]

    assert fetch(pets, tmp_path, "pets").read_bytes() == BODY


def test_without_a_known_length_the_file_ends_with_the_answer(site, pets, tmp_path):
    site.script = ["unsized"]

    assert fetch(replace(pets, bytes=None), tmp_path, "pets").read_bytes() == BODY


def test_a_redirect_is_followed_with_the_range(site, pets, tmp_path):
    site.script = [None, 100_000]

    fetch(replace(pets, url=f"{site.url}/moved/pets.zip"), tmp_path, "pets")

    assert [(path, asked) for path, asked, _ in site.requests[2:]] == [
        ("/moved/pets.zip", "bytes=100000-"),
        ("/pets.zip", "bytes=100000-"),
    ]


def test_md5_is_accepted_where_nothing_better_is_published(site, pets, tmp_path):
    digest = hashlib.md5(BODY, usedforsecurity=False).hexdigest()

    fetch(replace(pets, digest=digest, bytes=None), tmp_path, "pets")

    assert "(md5 " in refusal(replace(pets, digest="0" * 32), tmp_path)


def at_once(count, work, site, capfd):
    """Run threads while the server delays its answer, until one of them waits for another."""
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    until(lambda: "waiting" in capfd.readouterr().err)
    site.gate.set()
    for thread in threads:
        thread.join()


def test_of_several_at_once_one_downloads_and_all_have_it(site, pets, tmp_path, capfd):
    site.gate = threading.Event()
    found = []
    at_once(3, lambda: found.append(fetch(pets, tmp_path, "pets")), site, capfd)

    assert [path.read_bytes() for path in found] == [BODY] * 3
    assert len(site.requests) == 1 and files(tmp_path) == ["pets.zip"]


def test_the_one_that_waited_takes_over_where_the_other_failed(site, pets, tmp_path, capfd):
    """The lock file that the first one removed is not mistaken for one that is held."""
    site.gate, site.script = threading.Event(), ["404"]
    outcome = []

    def attempt():
        try:
            outcome.append(fetch(pets, tmp_path, "pets").read_bytes())
        except HarnessError as error:
            outcome.append(str(error))

    at_once(2, attempt, site, capfd)

    assert "404" in outcome[0] and outcome[1] == BODY


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_download_goes_on_without_locks(number, site, pets, tmp_path, monkeypatch, capfd):
    refuse_locks(monkeypatch, number)

    assert fetch(pets, tmp_path, "pets").read_bytes() == BODY
    assert files(tmp_path) == ["pets.zip"] and "waiting" not in capfd.readouterr().err


def test_progress_goes_to_the_bar_and_in_plain_lines_to_a_file(site, pets, tmp_path, capsys):
    seen = []

    with shown(), reporting(lambda what, done, total: seen.append((what, done, total))):
        fetch(pets, tmp_path, "pets")

    assert {what for what, *_ in seen} == {"pets: downloading pets.zip, kB"}
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen) and seen[-1][1:] == (300, 300)
    lines = capsys.readouterr().err.splitlines()
    assert 2 <= len(lines) <= 11 and lines[-1] == "pets: downloading pets.zip, kB: 300 of 300"


# Refusals: one line, and nothing under the archive's name


def page(site, pets, _):
    site.kind = "text/html; charset=utf-8"
    return pets


def page_in_disguise(site, pets, _):
    site.files["/pets.zip"] = b"\xef\xbb\xbf\n " + PAGE + bytes(len(BODY) - len(PAGE) - 5)
    return pets


def other_content(site, pets, _):
    site.files["/pets.zip"] = BODY[:-1] + b"?"
    return pets


def other_length(site, pets, _):
    site.files["/pets.zip"] = BODY + b"?"
    return pets


def gone(site, pets, _):
    return replace(pets, url=pets.url + ".old")


def forbidden(site, pets, _):
    site.always = "403"
    return pets


def ill(site, pets, _):
    site.always = "503"
    return pets


def empty(site, pets, _):
    site.always = 0
    return pets


def no_network(site, pets, _):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: refused
        return replace(pets, url=f"http://127.0.0.1:{taken.getsockname()[1]}/pets.zip")


def no_such_host(site, pets, _):
    return replace(pets, url="http://no-such-host.invalid/pets.zip")


def offline(site, pets, monkeypatch):
    monkeypatch.setenv("HARNESS_OFFLINE", "1")
    return pets


def full_disk(site, pets, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage(0, 0, len(BODY) - 1))
    return pets


REFUSED = [
    (page, "sent a web page in place of pets.zip"),
    (page_in_disguise, "sent a web page in place of pets.zip"),
    (other_content, "is not pets.zip \\(sha256 [0-9a-f]{64}, expected [0-9a-f]{64}\\); nothing is kept"),
    (other_length, "it offers 300,001 bytes instead of 300,000"),
    (gone, "it answered 404 Not Found"),
    (forbidden, "it answered 403 Forbidden"),
    (ill, "it answered 503 Service Unavailable"),
    (empty, "the connection ended after 0 bytes"),
    (no_network, "refused"),
    (no_such_host, "no-such-host.invalid"),
    (offline, "pets.zip is not here and --offline downloads nothing"),
    (full_disk, "needs 0.3 MB in .* and 0.3 MB are free; free some space or set XDG_CACHE_HOME"),
]


@pytest.mark.parametrize(("trouble", "words"), REFUSED, ids=[trouble.__name__ for trouble, _ in REFUSED])
def test_a_bad_answer_is_one_line_and_no_file_remains(site, pets, tmp_path, monkeypatch, trouble, words):
    archive = trouble(site, pets, monkeypatch)

    message = refusal(archive, tmp_path / "cache")

    assert re.search(words, message), message
    assert files(tmp_path) == []
    if trouble is not full_disk:
        assert archive.url in message and f"put it into {tmp_path / 'cache'}" in message


def test_a_connection_that_brings_nothing_new_is_given_up_and_the_part_is_kept(site, pets, tmp_path):
    site.script, site.always = [1000], 0

    message = refusal(pets, tmp_path)

    assert "the connection ended after 1,000 bytes" in message and "the same command continues" in message
    assert len(site.requests) == http.ATTEMPTS and "pets.zip" not in files(tmp_path)


def test_a_server_that_always_stops_at_the_same_byte_is_given_up(site, pets, tmp_path):
    """It ignores ranges, so that every attempt brings the same bytes."""
    site.version, site.always = 'W/"weak"', 1000

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http.Download, "_headers", lambda *_: {})
        refusal(pets, tmp_path)

    assert len(site.requests) == http.ATTEMPTS


def test_a_wrong_file_that_the_user_put_there_is_reported_and_not_changed(site, pets, tmp_path):
    (tmp_path / "pets.zip").write_bytes(b"mine")

    message = refusal(pets, tmp_path)

    assert f"{tmp_path / 'pets.zip'} is not the archive that was published" in message and "remove it" in message
    assert (tmp_path / "pets.zip").read_bytes() == b"mine" and not site.requests


def test_a_full_disk_gets_its_space_back(site, pets, tmp_path, monkeypatch):
    receive = download._receive

    class Full:
        def __init__(self, file):
            self.file = file

        def write(self, _):
            raise OSError(errno.ENOSPC, "No space left on device")

        def __getattr__(self, name):
            return getattr(self.file, name)

    def receive_on_full_disk(archive, final, file, dataset):
        receive(archive, final, Full(file), dataset)

    begun(tmp_path / "cache", 1000)
    monkeypatch.setattr(download, "_receive", receive_on_full_disk)

    assert "No space left on device" in refusal(pets, tmp_path / "cache")
    assert files(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_one_line(site, pets, tmp_path):
    (tmp_path / "file").write_text("in the way")

    assert "cannot write" in refusal(pets, tmp_path / "file" / "pets")
