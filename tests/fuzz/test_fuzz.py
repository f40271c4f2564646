"""A few inputs at every door on each run; many more by `make fuzz`.

`python -m tests.fuzz TARGET --first NUMBER --count 1` tries the one that failed again.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.fuzz import campaign
from tests.fuzz.inputs import Input
from tests.fuzz.material import Material
from tests.fuzz.targets import TARGETS

FAILING: frozenset[str] = frozenset()
"""Doors with faults that are not fixed yet. One that passes fails the test until it is taken off this list."""
EXAMPLES = {"registry": 150, "settings": 300, "submission": 150, "image": 60, "secret": 60}
FEWEST = 25  # of the doors whose inputs take longer


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return Material(tmp_path_factory.mktemp("fuzz"))


def parameters() -> list[object]:
    failing = pytest.mark.xfail(strict=True, reason="not fixed yet")
    return [pytest.param(name, marks=[failing] if name in FAILING else []) for name in TARGETS]


@pytest.mark.slow
@pytest.mark.parametrize("target", parameters())
def test_whatever_comes_in_is_used_or_refused_in_one_line(target: str, material: Material) -> None:
    place = material.root / "place"

    @settings(max_examples=EXAMPLES.get(target, FEWEST), phases=(Phase.generate,))
    @given(number=st.integers(0, 2**31))
    def try_one(number: int) -> None:
        start = time.process_time()

        assert campaign.outcome(campaign.make(target, number, place, material)) in (None, "refused")
        assert time.process_time() - start < campaign.SECONDS

    try_one()


def planted(call: object) -> dict[str, object]:
    return {"planted": lambda rng, place, material: Input(call, None)}  # type: ignore[arg-type]


def sleep_long() -> None:
    end = time.process_time() + 30
    while time.process_time() < end:
        pass


@pytest.mark.parametrize(
    ("call", "counted", "said"),
    [
        (lambda: {}["x"], "tracebacks", "KeyError"),
        (lambda: exit(0), "tracebacks", "SystemExit"),
        (lambda: os._exit(3), "tracebacks", "ends the process: 3"),
        (sleep_long, "hangs", "hangs"),
    ],
)
def test_a_campaign_counts_a_fault_and_goes_on(
    call: object, counted: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaign, "TARGETS", planted(call))
    monkeypatch.setattr(campaign, "SECONDS", 0.5)

    count = campaign.in_process("planted", 0, 2, Material(tmp_path))

    assert (count.inputs, getattr(count, counted)) == (2, 2)
    assert all(said in fault for fault in count.faults)


def test_a_campaign_measures_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "TARGETS", planted(lambda: len(b"x" * 300_000_000)))

    assert 290e6 < campaign.in_process("planted", 0, 1, Material(tmp_path)).memory < 400e6


def test_the_input_of_a_number_is_always_the_same(tmp_path: Path) -> None:
    written = set()
    for _ in range(2):
        campaign.make("registry", 7, tmp_path / "place", Material(tmp_path))
        written.add((tmp_path / "place/registry.yaml").read_bytes())

    assert len(written) == 1
