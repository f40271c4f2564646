"""What tests of several attacks share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.train import convergence


@pytest.fixture(scope="module")
def short_trainings() -> Iterator[None]:
    """Stripes of 16 px are learned in a quarter of the thousand steps that photographs take."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convergence, "LEAST_STEPS", 250)
        yield
