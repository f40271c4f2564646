"""Packages, and edits that change what `root` of their module m gives, in a way that is not in its own text."""

from __future__ import annotations

# fmt: off
PLANTED_EDITS: dict[str, tuple[dict[str, str], tuple[str, str, str]]] = {
    'decorator registers, module imported for others': ({
        'r.py': """
            REG = {}
            def register(f):
                REG[f.__name__] = f
                return f
        """,
        'impl.py': """
            from PKG.r import register
            @register
            def first(x):
                return x + 1
            def helper(x):
                return x
        """,
        'm.py': """
            from PKG.impl import helper
            from PKG.r import REG
            def root():
                return REG["first"](1)
            def other():
                return helper(1)
        """,
    }, ('impl.py', 'x + 1', 'x + 2')),
    'singledispatch type annotation': ({
        'm.py': """
            import functools
            @functools.singledispatch
            def fun(x):
                return 0
            @fun.register
            def _(x: int):
                return 1
            def root():
                return fun(3)
        """,
    }, ('m.py', 'x: int', 'x: str')),
    'init_subclass': ({
        'm.py': """
            class Base:
                all = []
                def __init_subclass__(cls):
                    Base.all.append(cls)
            class A(Base):
                def run(self): return 1
            def root():
                return [c().run() for c in Base.all]
        """,
    }, ('m.py', 'return 1', 'return 2')),
    'subclasses': ({
        'm.py': """
            class Base: pass
            class A(Base):
                def run(self): return 1
            def root():
                return [c().run() for c in Base.__subclasses__()]
        """,
    }, ('m.py', 'return 1', 'return 2')),
    'loop appends': ({
        'm.py': """
            T = []
            for i in range(3):
                T.append(i)
            def root(): return T
        """,
    }, ('m.py', 'range(3)', 'range(4)')),
    'if with assignment and append': ({
        'm.py': """
            T = []
            if True:
                X = 1
                T.append(2)
            def root(): return T
        """,
    }, ('m.py', 'append(2)', 'append(3)')),
    'underscore = mutator': ({
        'm.py': """
            T = {"a": 1, "b": 2}
            _ = T.pop("a")
            def root(): return T
        """,
    }, ('m.py', 'pop("a")', 'pop("b")')),
    'global set by function called on import': ({
        'm.py': """
            S = 1
            def setup():
                global S
                S = 2
            setup()
            def root(): return S
        """,
    }, ('m.py', 'S = 2', 'S = 3')),
    'table filled by function whose value is kept': ({
        'm.py': """
            T = {}
            def fill():
                T["a"] = 2
                return True
            DONE = fill()
            def root(): return T
        """,
    }, ('m.py', '= 2', '= 3')),
    'alias modified': ({
        'm.py': """
            T = {"s": {"x": 1}}
            A = T["s"]
            A["x"] = 2
            def root(): return T
        """,
    }, ('m.py', '= 2', '= 3')),
    'library state in own setup function': ({
        'm.py': """
            import random
            def setup():
                random.seed(5)
            setup()
            def root(): return random.random()
        """,
    }, ('m.py', 'seed(5)', 'seed(6)')),
    'local import for effect': ({
        'a.py': 'X = 1',
        'p.py': """
            import PKG.a
            PKG.a.X = 2
        """,
        'm.py': """
            from PKG import a
            def root():
                import PKG.p
                return a.X
        """,
    }, ('p.py', '= 2', '= 3')),
    'the second of two star imports': ({
        'a.py': 'def f(): return 1',
        'b.py': 'def g(): return 1',
        'm.py': """
            from PKG.a import *
            from PKG.b import *
            def root(): return f() + g()
        """,
    }, ('b.py', 'return 1', 'return 2')),
    'later star wins': ({
        'a.py': 'def f(): return 1',
        'b.py': 'def f(): return 5',
        'm.py': """
            from PKG.a import *
            from PKG.b import *
            def root(): return f()
        """,
    }, ('b.py', 'return 5', 'return 2')),
    'star overrides own': ({
        'a.py': 'X = 1',
        'm.py': """
            X = 0
            from PKG.a import *
            def root(): return X
        """,
    }, ('a.py', '= 1', '= 2')),
    'try import except def, in a helper module': ({
        'h.py': """
            def half(x):
                return x / 2
            def third(x):
                return x / 3
        """,
        'fast.py': 'def half(x): return x*1',
        'k.py': """
            try:
                from PKG.fast import half
            except ImportError:
                def half(x): return x
        """,
        'm.py': """
            from PKG.k import half
            def root(): return half(4)
        """,
    }, ('fast.py', 'x*1', 'x*2')),
    'conditional import flag through module': ({
        'h.py': """
            def half(x):
                return x / 2
            def third(x):
                return x / 3
        """,
        'k.py': """
            FAST = False
            if FAST:
                from PKG.h import half as f
            else:
                from PKG.h import third as f
        """,
        'm.py': """
            from PKG.k import f
            def root(): return f(6)
        """,
    }, ('k.py', 'FAST = False', 'FAST = True')),
    'an import in the other branch of a function': ({
        'h.py': """
            def half(x):
                return x / 2
            def third(x):
                return x / 3
        """,
        'm.py': """
            def root(fast=False):
                if fast:
                    from PKG.h import half as f
                else:
                    from PKG.h import third as f
                return f(6)
        """,
    }, ('h.py', 'x / 3', 'x / 4')),
    'import_module f-string': ({
        'h.py': """
            def half(x):
                return x / 2
            def third(x):
                return x / 3
        """,
        'm.py': """
            import importlib
            def root(n="h"): return importlib.import_module(f"{__package__}.{n}").half(4)
        """,
    }, ('h.py', 'x / 2', 'x / 4')),
    'a chain through packages that import their own parts': ({
        'a/__init__.py': 'from . import b',
        'a/b/__init__.py': 'from . import c',
        'a/b/c.py': 'def g(): return 1',
        'm.py': """
            import PKG.a
            def root(): return PKG.a.b.c.g()
        """,
    }, ('a/b/c.py', 'return 1', 'return 2')),
    'not TYPE_CHECKING': ({
        'm.py': """
            from typing import TYPE_CHECKING
            S = 1
            if not TYPE_CHECKING:
                S = 2
            def root(): return S
        """,
    }, ('m.py', 'S = 2', 'S = 3')),
    'class-level same name': ({
        'h.py': """
            def half(x):
                return x / 2
            def third(x):
                return x / 3
        """,
        'm.py': """
            from PKG.h import half
            class C:
                half = staticmethod(half)
            def root(): return C().half(4)
        """,
    }, ('h.py', 'x / 2', 'x / 4')),
    'comprehension iter same name': ({
        'm.py': """
            xs = [1, 2]
            def root(): return [xs for xs in xs]
        """,
    }, ('m.py', '[1, 2]', '[1, 3]')),
    'a name bound within an expression': ({
        'm.py': """
            if (A := 1): pass
            def root(): return A
        """,
    }, ('m.py', 'A := 1', 'A := 2')),
    'dispatch by getattr(sys.modules)': ({
        'm.py': """
            import sys
            def a(): return 1
            def root(n="a"): return getattr(sys.modules[__name__], n)()
        """,
    }, ('m.py', 'return 1', 'return 3')),
    'deep vendored copies swap': ({
        'v1.py': """
            def a(): return b()
            def b(): return c()
            def c(): return d()
            def d(): return e()
            def e(): return f()
            def f(): return K
            K = 1
        """,
        'v2.py': """
            def a(): return b()
            def b(): return c()
            def c(): return d()
            def d(): return e()
            def e(): return f()
            def f(): return K
            K = 2
        """,
        'm.py': """
            from PKG.v1 import a as first
            from PKG.v2 import a as second
            def root(): return first() - second()
        """,
    }, ('m.py', 'v1 import a as first\nfrom PKG.v2', 'v2 import a as first\nfrom PKG.v1')),
    'callable registry object': ({
        'r.py': """
            class Registry(dict):
                def __call__(self, f):
                    self[f.__name__] = f
                    return f
            R = Registry()
        """,
        'i.py': """
            from PKG.r import R
            @R
            def first(): return 1
            def k(): return 0
        """,
        'm.py': """
            from PKG.r import R
            from PKG.i import k
            def root(): return R['first']() + k()
        """,
    }, ('i.py', 'return 1', 'return 2')),
    'pkgutil discover': ({
        's/__init__.py': """
            import pkgutil, importlib
            for x in pkgutil.iter_modules(__path__):
                importlib.import_module(f'{__name__}.{x.name}')
        """,
        's/r.py': """
            D = {}
            def add(f):
                D[f.__name__] = f
                return f
        """,
        's/b.py': """
            from PKG.s.r import add
            @add
            def two(): return 2
        """,
        'm.py': """
            from PKG.s.r import D
            def root(): return D['two']()
        """,
    }, ('s/b.py', 'return 2', 'return 3')),
    'a decorator of a method registers': ({
        'm.py': """
            D = {}
            def reg(f):
                D[f.__name__] = f
                return f
            class C:
                @reg
                def go(self): return 1
            def root(): return D['go'](0)
        """,
    }, ('m.py', 'return 1', 'return 2')),
    'a function that fills what it is given': ({
        'm.py': """
            L = []
            def fill(t):
                t.append(1)
                return t
            X = fill(L)
            def root(): return L
        """,
    }, ('m.py', 'append(1)', 'append(2)')),
    'an import in the body of a class': ({
        'h.py': 'def f(): return 1',
        'm.py': """
            class C:
                from PKG.h import f
            def root(): return C.f()
        """,
    }, ('h.py', 'return 1', 'return 2')),
}
