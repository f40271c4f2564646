"""Weights are loaded only with the digest that is known or stated."""

from __future__ import annotations

import hashlib

import pytest

from harness.errors import HarnessError
from harness.system.weight_digests import check_weights, expected_digest, stated_digests

ONE, TWO = (hashlib.sha256(each).hexdigest() for each in (b"one", b"two"))


@pytest.fixture(autouse=True)
def nothing_stated(monkeypatch):
    monkeypatch.delenv("HARNESS_WEIGHTS_SHA256", raising=False)


def test_digests_are_stated_as_pairs(monkeypatch):
    assert stated_digests() == {}

    monkeypatch.setenv("HARNESS_WEIGHTS_SHA256", f" a.pt={ONE}, timm/b=c={TWO.upper()} ,,a.pt={ONE}")

    assert stated_digests() == {"a.pt": ONE, "timm/b=c": TWO}


@pytest.mark.parametrize("part", ["a.pt", "a.pt=", f"={ONE}", f"a.pt={ONE[:-1]}", f"a.pt={ONE}0", "a.pt=" + "g" * 64])
def test_what_is_no_pair_is_refused(part, monkeypatch):
    monkeypatch.setenv("HARNESS_WEIGHTS_SHA256", f"b={TWO},{part}")

    with pytest.raises(HarnessError, match=r"^HARNESS_WEIGHTS_SHA256: .* is not name=hex with the 64 hex digits"):
        stated_digests()


def test_two_digests_of_one_name_are_refused(monkeypatch):
    monkeypatch.setenv("HARNESS_WEIGHTS_SHA256", f"a={ONE},a={TWO}")

    with pytest.raises(HarnessError, match="'a' has two digests"):
        stated_digests()


def test_a_known_digest_is_expected_and_a_stated_one_must_agree(monkeypatch):
    assert expected_digest("a", ONE) == ONE and expected_digest("a", ONE[:8]) == ONE[:8]
    with pytest.raises(
        HarnessError, match="no SHA-256 of these weights is known; state it as HARNESS_WEIGHTS_SHA256=a="
    ):
        expected_digest("a")

    monkeypatch.setenv("HARNESS_WEIGHTS_SHA256", f"a={ONE}")
    assert expected_digest("a") == expected_digest("a", ONE[:8]) == expected_digest("a", ONE) == ONE
    assert expected_digest("b", TWO) == TWO
    with pytest.raises(HarnessError, match="'a' is stated as"):
        expected_digest("a", TWO[:8])


def test_a_file_passes_with_its_digest_alone(tmp_path):
    file = tmp_path / "weights.pt"
    file.write_bytes(b"one")

    check_weights(file, ONE)
    check_weights(file, ONE[:8])
    with pytest.raises(
        HarnessError, match=f"weights.pt: the file's SHA-256 begins with {ONE[:8]}, expected {TWO[:8]};"
    ):
        check_weights(file, TWO[:8])
    assert file.exists()


def test_a_download_that_differs_is_deleted(tmp_path):
    file = tmp_path / "weights.pt"
    file.write_bytes(b"one")

    with pytest.raises(HarnessError, match="it was deleted"):
        check_weights(file, TWO, delete=True)

    assert not file.exists()
