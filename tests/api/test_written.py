"""Functions that no other process can import, written out as modules with what they use."""

from __future__ import annotations

import linecache
import subprocess
import sys
import textwrap

import pytest
import torch

from harness.api.written import source_of
from harness.errors import HarnessError
from tests.helpers.paths import ROOT


def session(*cells):
    """The names of a notebook after some cells; their source is where a notebook keeps it."""
    names = {"__name__": "__main__"}
    for number, cell in enumerate(cells):
        text, file = textwrap.dedent(cell), f"<cell {id(names)} {number}>"
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        exec(compile(text, file, "exec"), names)
    return names


def rebuilt(function):
    """The function as another process has it: made of the written module alone."""
    names = {"__name__": "written"}
    exec(source_of(function, "f"), names)
    return names[function.__name__]


def test_a_notebooks_function_comes_with_helpers_constants_imports_and_classes():
    names = session(
        """
        import math
        import torch as T
        from harness.images import average as mean
        LEVELS = {"low": [1, 2], "high": (3.5, None, True, "x", b"y")}
        """,
        """
        class Curve:
            power = 2
            def __call__(self, images):
                return rounded(images ** self.power)

        def rounded(images, to=LEVELS["low"][1]):
            return T.round(images * to) / to
        """,
        """
        @T.no_grad()
        def scheme(sources, weights, rng, *, strength=math.pi):
            return Curve()(mean(sources, weights)) * min(strength, LEVELS["high"][0])
        """,
    )
    sources, weights = torch.rand(2, 2, 3, 4, 4), torch.full((2, 2), 0.5)

    assert torch.equal(rebuilt(names["scheme"])(sources, weights, None), names["scheme"](sources, weights, None))


def test_an_edited_helper_or_constant_is_another_text():
    function = "def f(a):\n    return g(a) * C\n"

    texts = {
        source_of(session(f"C = {constant}", f"def g(a):\n    return a + {added}", function)["f"], "f")
        for constant in (1, 2)
        for added in (1, 2)
    }

    assert len(texts) == 4


def test_functions_that_call_each_other_are_written_once():
    names = session("def even(n):\n    return n == 0 or odd(n - 1)\n\ndef odd(n):\n    return n != 0 and even(n - 1)\n")

    assert source_of(names["even"], "f").count("def odd") == 1 and rebuilt(names["even"])(10)


def test_names_that_only_look_global_are_left_alone():
    names = session(
        """
        noise = object()
        images = object()
        def f(images):
            noise = images.noise
            return [noise for noise in (noise,)][0]
        """
    )

    assert "object" not in source_of(names["f"], "f")


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("f = lambda a: a", "a lambda is no function"),
        ("import torch\nT = torch.ones(2)\ndef f(a):\n    return a + T", "it uses T, a Tensor of this session"),
        ("N = float('nan')\ndef f(a):\n    return a + N", "it uses N, a float of this session"),
        ("def f(a):\n    return g(a)\ng = lambda a: a", "a lambda is no function"),
        (
            "def make(c):\n    def g(a):\n        return a * c\n    return g\n"
            "def both(x, y):\n    def f(a):\n        return x(a) + y(a)\n    return f\nf = both(make(1), make(2))",
            "the name c stands for two things",
        ),
    ],
)
def test_what_cannot_be_written_is_refused_in_one_sentence(cell, said):
    with pytest.raises(HarnessError, match=said) as refused:
        source_of(session(cell)["f"], "defense 'f'")

    assert str(refused.value).startswith("defense 'f': ") and "\n" not in str(refused.value)


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="Python keeps the source of -c from 3.13 on")
def test_a_function_without_source_is_refused():
    code = "import harness\ndef f(sources, weights, rng):\n    return sources[:, 0]\nharness.Obfuscate(f)"

    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)

    assert "defense 'f': the source of function f cannot be read; put it into a .py file" in ran.stderr
