"""Modules that were edited or changed after they were imported are refused; those that were not are not."""

from __future__ import annotations

import importlib
import sys

import pytest

from harness.errors import HarnessError
from harness.records.live_code import refuse_changed

HELPER = "def scaled(x, by=2):\n    return x * by\n"
MODULE = '''"""A module."""
import functools
from live_helper import scaled
S = 1.0
SETTINGS = {"strength": 1}
_CACHE = {}
COUNT = 0

def kept(f):
    @functools.wraps(f)
    def inner(*given):
        return f(*given)
    return inner

class Config:
    """Settings."""
    strength = 1
    calls = 0
    def used(self, x):
        return x * self.strength

@kept
def wrapped(x):
    return x

def fade(x, *, power=1):
    """Documented."""
    global COUNT
    COUNT += 1
    _CACHE[COUNT] = x
    Config.calls += 1
    assert SETTINGS
    return wrapped(scaled(Config().used(x)) * S) ** power
'''
ROOTS = [("live_module", "fade")]


@pytest.fixture
def place(tmp_path, monkeypatch):
    (tmp_path / "live_helper.py").write_text(HELPER)
    (tmp_path / "live_module.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    importlib.invalidate_caches()
    yield tmp_path
    for name in ("live_module", "live_helper"):
        sys.modules.pop(name, None)


def test_what_is_as_in_its_file_may_run_and_run_again(place):
    refuse_changed(ROOTS)  # not imported yet
    module = importlib.import_module("live_module")
    refuse_changed(ROOTS)
    module.fade(3)
    refuse_changed(ROOTS)

    (place / "live_module.py").write_text(
        "# a comment\n" + MODULE.replace("Documented", "Described").replace("x", "x ")
    )
    refuse_changed(ROOTS)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("S = 1.0", "S = 0.0", "live_module.S is 1.0 in this process and 0.0 in live_module.py; reload the module or"),
        ("S = 1.0", "S = 1", "live_module.S is 1.0 in this process and 1 in live_module.py"),
        ("* S)", "* S * 0)", "live_module.fade in this process is not the one in live_module.py; reload"),
        ("power=1", "power=2", "live_module.fade: the default of power is 1 in this process and 2 in"),
        ("strength = 1", "strength = 2", "live_module.Config.strength is 1 in this process and 2 in"),
        ("x * self.strength", "x", "live_module.Config.used in this process is not the one in"),
        ("    return x\n", "    return -x\n", "live_module.wrapped in this process is not"),
    ],
)
def test_an_edited_file_is_refused_until_it_is_loaded_again(place, old, new, said):
    module = importlib.import_module("live_module")
    assert MODULE.count(old) == 1
    (place / "live_module.py").write_text(MODULE.replace(old, new))

    with pytest.raises(HarnessError, match=said) as refused:
        refuse_changed(ROOTS)
    assert "\n" not in str(refused.value)

    importlib.reload(module)
    refuse_changed(ROOTS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("module.S = 0.0", "live_module.S is 0.0 in this process and 1.0 in live_module.py"),
        (
            "module.SETTINGS['strength'] = 0",
            "live_module.SETTINGS is {'strength': 0} in this process and {'strength': 1}",
        ),
        ("module.Config.strength = 0", "live_module.Config.strength is 0 in this process and 1 in"),
        ("module.Config.used = lambda self, x: 0", "live_module.Config.used in this process is not"),
        ("module.scaled = lambda x: 0", "live_module.scaled in this process is not live_helper.scaled"),
        ("module.fade = module.kept(module.fade)", "live_module.fade in this process is not"),
        ("module.wrapped = module.kept(module.wrapped)", "live_module.wrapped in this process is not"),
        ("module.fade.__kwdefaults__ = {'power': 3}", "the default of power is 3 in this process and 1"),
        ("del module.S", "live_module.S is missing in this process and 1.0 in"),
    ],
)
def test_a_change_in_memory_is_refused(place, change, said):
    module = importlib.import_module("live_module")
    exec(change, {"module": module})

    with pytest.raises(HarnessError, match=said):
        refuse_changed(ROOTS)


def test_a_helper_that_alone_was_loaded_again_is_refused(place):
    importlib.import_module("live_module")
    (place / "live_helper.py").write_text(HELPER.replace("x * by", "x * by * 0"))
    importlib.reload(sys.modules["live_helper"])

    with pytest.raises(HarnessError, match=r"live_module\.scaled in this process is not"):
        refuse_changed(ROOTS)
