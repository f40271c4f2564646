"""What tests of data sets share."""

from __future__ import annotations

import pytest

from tests.helpers.folders import tree


@pytest.fixture
def flat(tmp_path):
    return tree(tmp_path / "pets", {"cat": 20, "dog": 10})


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"
