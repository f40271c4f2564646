"""Functions and classes of the session that became others after they were written: written as they are, or refused."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys

import pytest

import harness
from harness.api.written import source_of
from harness.errors import HarnessError
from harness.registry import load_registry
from tests.api.test_written import rebuilt, session
from tests.helpers.paths import ROOT
from tests.helpers.planted import stripes

DARKEN = """
import functools
def darken(wrapped):
    @functools.wraps(wrapped)
    def inner(a):
        return wrapped(a) * 0
    return inner
def bare(f):
    def inner(a):
        return f(a) + 1
    return inner
def register(f):
    return f
"""


@pytest.mark.parametrize(
    ("cell", "of_five"),
    [
        ("def plain(a):\n    return a\nf = darken(plain)", 0),
        ("@darken\ndef f(a):\n    return a", 0),
        ("@register\n@darken\ndef f(a):\n    return a", 0),
        ("@register\ndef plain(a):\n    return a\nf = darken(plain)", 0),
        ("@register\ndef f(a):\n    return a\nf = darken(f)", 0),
        ("@bare\ndef f(a):\n    return a", 6),
        ("def f(a):\n    return a\ndef g(a):\n    return a + 9\nf.__code__ = g.__code__", 14),
        ("class C:\n    k = 1\n    def n(self):\n        return 0\nC.k = 3\ndef f(a):\n    return a * C.k", 15),
        ("class C:\n    k = 1\n    def n(self):\n        return 0\nC.other = 3\ndef f(a):\n    return a * C.other", 15),
        ("S = 2\nclass C:\n    def m(self, a, s=S):\n        return a * s\nS = 1\ndef f(a):\n    return C().m(a)", 10),
        ("S = 2\nclass C:\n    k = S\n    def n(self):\n        return 0\nS = 1\ndef f(a):\n    return a * C.k", 10),
        ("S = 2\ndef h(x, s=S, *, t=S + 1):\n    return x * s * t\nS = 1\ndef f(a):\n    return h(a)", 30),
        ("def make(s):\n    def h(x, k=s):\n        return x * k\n    def f(a):\n        return h(a)\n    return f\n"
         "f = make(3)", 15),
        ("__hidden = 2\ndef f(a):\n    return a * __hidden", 10),
        ("def f(a):\n    return a * f.k\nf.k = 4", 20),
        ("from enum import Enum\nclass M(Enum):\n    A = 2\n    def n(self):\n        return 0\n"
         "def f(a):\n    return a * M.A.value", 10),
    ],
)  # fmt: skip
def test_the_written_function_does_what_the_given_one_does(cell, of_five):
    function = session(DARKEN, cell)["f"]

    assert function(5) == of_five and rebuilt(function)(5) == of_five


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("class C:\n    k = 1\n    def n(self):\n        return 0\nC.k = object()\n"
         "def f(a):\n    return C.k", "it uses C.k, a object of this session"),
        ("class C:\n    def n(self):\n        return 0\n    def m(self):\n        return 1\n"
         "def m(self):\n    return 2\nC.m = m\n"
         "def f(a):\n    return C()", "m of class C is not the one that the class was written with"),
        ("def h(x, s=object()):\n    return s\ndef f(a):\n    return h(a)", "the default of s in h is of type object"),
        ("def h(x, s=1):\n    return s\nh.__defaults__ = (1, 2)\ndef f(a):\n    return h(a)", "the defaults of h were"),
        ("def f(a):\n    return f.k\nf.k = object()", "it uses f.k, a object of this session"),
        ("N = 10 ** 5000\ndef f(a):\n    return a * (N > 0)", "it uses N, a int of this session"),
        ("L = [1]\nL.append(L)\ndef f(a):\n    return a * len(L)", "it uses L, a list of this session"),
        ("def p(a):\n    return a\nf = darken(darken(p))", "the name wrapped stands for two things"),
    ],
)  # fmt: skip
def test_what_no_text_can_say_is_refused_in_one_sentence(cell, said):
    with pytest.raises(HarnessError, match=said) as refused:
        source_of(session(DARKEN, cell)["f"], "defense 'f'")

    assert "\n" not in str(refused.value)


def test_what_dataclasses_make_is_no_change():
    cell = (
        "from dataclasses import dataclass\n@dataclass\nclass D:\n    k: int = 2\n    def n(self):\n        return 0\n"
    )

    text = source_of(session(cell + "def f(a):\n    return D().k * a")["f"], "f")

    assert "D.k =" not in text and "    k: int = 2" in text


def test_evaluate_refuses_a_module_that_was_changed_before_anything_runs(tmp_path, monkeypatch):
    """Of a function that is given, of one that uses the module, and of a plugin of a registry file."""
    (tmp_path / "changed_fade.py").write_text(
        "S = 1.0\ndef fade(sources, weights, rng):\n    return sources[:, 0] * S\n"
    )
    mixing = "mixing: {weights: [0.75, 0.25], pairing: permutation, intra_class: false, label: dominant}"
    registry = tmp_path / "mine.yaml"
    registry.write_text(f"defenses: {{planted: {{use: 'changed_fade:fade', version: 1, cite: me, {mixing}}}}}")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("changed_fade")
    beside = importlib.import_module(load_registry([registry]).get("defenses", "planted").module)
    monkeypatch.setattr(module, "S", 0.0)
    monkeypatch.setattr(beside, "S", 0.0)

    def uses(sources, weights, rng):
        return module.fade(sources, weights, rng)

    for defense, files in ((module.fade, ()), (uses, ()), ("planted", registry)):
        with pytest.raises(
            HarnessError, match=r"^changed_fade\.S is 0\.0 in this process and 1\.0 in changed_fade\.py"
        ):
            harness.evaluate(defense, "look", stripes(30), registry=files, records=tmp_path / "records")
    assert not (tmp_path / "records").exists()
    sys.modules.pop("changed_fade")


def test_sets_are_written_alike_in_every_process():
    code = (
        "from harness.records.live_code import as_literal\n"
        "print(as_literal([{'alpha', 'beta', 'gamma', 'delta'}, frozenset('xyz')]))"
    )
    texts = {
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed},
                       capture_output=True, text=True, check=True).stdout
        for seed in ("1", "2")
    }  # fmt: skip

    assert texts == {"[{'alpha', 'beta', 'delta', 'gamma'}, frozenset({'x', 'y', 'z'})]\n"}
    assert "TAGS = {'a', 'b', 'c'}" in source_of(session("TAGS = set('cab')\ndef f(a):\n    return TAGS")["f"], "f")
