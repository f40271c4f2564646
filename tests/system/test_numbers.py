"""harness.system.numbers: what people type as a number, and the bounds of every count."""

import argparse

import pytest

from harness.errors import HarnessError
from harness.system.numbers import MOST, check_count, count, finite, whole


@pytest.mark.parametrize(
    ("text", "value"), [("1", 1), (" +12 ", 12), ("-3", -3), ("007", 7), ("9" * 18, int("9" * 18))]
)
def test_whole_numbers_are_read(text, value):
    assert whole(text) == value


@pytest.mark.parametrize("text", ["1_000", "１", "1.0", "1e3", "", "0x10", "9" * 19, "9" * 100_000, "1 0", "--1"])
def test_nothing_else_is_a_whole_number(text):
    assert whole(text) is None


@pytest.mark.parametrize("text", ["1_0.5", "nan", "inf", "1e999", "", "0x1p3", "1,5", "9" * 5000, "１.５"])
def test_what_python_reads_generously_is_no_number(text):
    assert finite(text) is None


@pytest.mark.parametrize("name", MOST)
def test_every_count_has_a_bound_that_is_stated(name):
    check_count(name, MOST[name])
    for huge in (MOST[name] + 1, 10**12, 10**5000):
        with pytest.raises(HarnessError, match=f"^{name} .* is too (many|large); use {MOST[name]:,} or (fewer|less)$"):
            check_count(name, huge)
    with pytest.raises(HarnessError, match=f"^{name} 0 is too (few|small); use 1 or more$"):
        check_count(name, 0)
    with pytest.raises(argparse.ArgumentTypeError, match=r"is too (many|large); use"):
        count(name)("99999999999")
    with pytest.raises(argparse.ArgumentTypeError, match="is no count"):
        count(name)("1_0")
