"""Which values of HARNESS_OFFLINE and HARNESS_DOWNLOAD mean yes."""

from __future__ import annotations

import pytest

from harness.system.offline import forbid_downloads, offline
from harness.train.pretrained import may_download

NO = ("", "0", "false", "No", "off", " 0 ")


@pytest.mark.parametrize("value", NO)
def test_no_is_online(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_OFFLINE", value)

    assert not offline()


@pytest.mark.parametrize("value", ["1", "true", "yes", "2"])
def test_anything_else_is_offline(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_OFFLINE", value)

    assert offline()


@pytest.mark.parametrize(("value", "allowed"), [*((value, False) for value in NO), ("1", True), ("yes", True)])
def test_a_command_downloads_weights_only_where_that_is_allowed(
    value: str, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HARNESS_OFFLINE", raising=False)
    monkeypatch.setenv("HARNESS_DOWNLOAD", value)

    with forbid_downloads(False):
        assert may_download() is allowed
