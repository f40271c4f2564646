"""A ledger that is damaged, gone or no ledger is refused in one line, and stays as it is."""

from __future__ import annotations

import json
import os
import tracemalloc

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.publish.ledger import MOST, VALUES, Ledger
from harness.publish.places import LEDGER
from tests.publish.conftest import refused


def emptied(data):
    return b""


def cut(data):
    return data[: len(data) // 2]


def count_changed(data):
    return data.replace(b'"releases": 2', b'"releases": 1')


def run_removed(data):
    held = json.loads(data)
    held["content"]["runs"] = []
    return json.dumps(held).encode()


def another_document(data):
    return b"[1, 2]"


def no_text(data):
    return b"\xff\xfe" + data


def nested(data):
    return b"[" * 100_000


def newer(data):
    return data.replace(b'"form": 1', b'"form": 2')


DAMAGES = [emptied, cut, count_changed, run_removed, another_document, no_text, nested, newer]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_ledger_is_one_line_and_stays_as_it_is(release, ledger, tmp_path, damage):
    release("a", "--epochs", "2")
    ledger.write_bytes(damage(ledger.read_bytes()))
    before = ledger.read_bytes()

    answer = release("b")

    refused(answer, str(ledger))
    assert len(answer[2].splitlines()) == 1
    assert ledger.read_bytes() == before and not (tmp_path / "b").exists()


@pytest.mark.parametrize("region", range(0, 100, 7))
def test_a_bit_that_flips_anywhere_is_found(release, ledger, region):
    release("a")
    data = bytearray(ledger.read_bytes())
    data[len(data) * region // 100] ^= 1
    ledger.write_bytes(bytes(data))

    refused(release("b"), str(ledger))


def test_a_ledger_of_millions_of_values_is_refused_in_bounded_memory(tmp_path):
    ledger = tmp_path / LEDGER
    ledger.write_text('{"form": 1, "sha256": "", "content": [' + "[]," * (VALUES // 2) + "1]}")

    tracemalloc.start()
    try:
        with pytest.raises(HarnessError, match=r"values; at most 8,388,608 are read") as caught:
            Ledger(ledger)._read()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert str(caught.value).startswith(f"ledger {ledger}: ") and "\n" not in str(caught.value)
    assert peak < MOST + 2 * ledger.stat().st_size, f"{peak:,}"


def test_a_ledger_with_a_right_checksum_and_a_wrong_field_names_it(release, ledger):
    from harness.publish.ledger import _checksum

    release("a")
    held = json.loads(ledger.read_text())
    held["content"]["runs"][0]["releases"] = -5
    held["sha256"] = _checksum(held["content"])
    ledger.write_text(json.dumps(held))

    refused(release("b"), str(ledger), "releases", "-5")


def test_a_ledger_that_is_gone_is_missed_while_its_secrets_are_there(release, ledger, tmp_path):
    release("a")
    ledger.unlink()

    refused(release("b"), "is missing", "a.npz")
    (tmp_path / "secrets/a.npz").rename(tmp_path / "a.npz")
    assert release("b")[1]["released_before"] == 0


def test_it_is_missed_too_where_the_folder_was_moved(release, ledger, tmp_path):
    release("a")
    ledger.unlink()
    (tmp_path / "secrets").rename(tmp_path / "moved")

    refused(release("b", secret=tmp_path / "moved/b.npz"), "is missing")


def test_another_files_in_the_folder_of_secrets_are_no_secrets(release, tmp_path):
    np.savez(tmp_path / "secrets/x.npz", about=np.array("no JSON"))
    np.savez(tmp_path / "secrets/y.npz", other=np.zeros(3))
    (tmp_path / "secrets/z.npz").write_bytes(b"x")
    os.mkfifo(tmp_path / "secrets/pipe.npz")

    assert release("a")[0] == 0


def test_a_ledger_elsewhere_counts_for_secrets_in_any_folder(release, tmp_path):
    (tmp_path / "other").mkdir()
    place = ["--ledger", str(tmp_path / "book")]
    release("a", *place)

    assert release("b", *place, secret=tmp_path / "other/b.npz")[1]["released_before"] == 1
    (tmp_path / "book").unlink()
    refused(release("c", *place), "is missing")


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "in the release", "the secret", "no folder"])
def test_a_ledger_that_cannot_be_one_is_one_line(release, tmp_path, kind):
    place = tmp_path / "book"
    if kind == "folder":
        place.mkdir()
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind == "device":
        place = "/dev/null"
    elif kind == "in the release":
        place = tmp_path / "a/book"
        (tmp_path / "a").mkdir()
    elif kind == "the secret":
        place = tmp_path / "secrets/a.npz"
    else:
        place = tmp_path / "nowhere/book"

    answer = release("a", "--ledger", str(place))

    refused(answer)
    assert len(answer[2].splitlines()) == 1
