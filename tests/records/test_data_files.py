"""Files that a definition reads count with their content, however their names are put together."""

from __future__ import annotations

from collections.abc import Callable

import pytest

# fmt: off
CASES: dict[str, tuple[dict[str, str], str]] = {
    'HERE of other module with names in one def': ({
        'x.txt': '1 2',
        'y.txt': '1 2',
        'paths.py': """
            from pathlib import Path
            P = {'h': Path(__file__).parent, 'o': 'y.txt'}
        """,
        'm.py': """
            from PKG.paths import P
            def root(): return (P['h'] / 'x.txt').read_text()
        """,
    }, 'x.txt'),
    'percent': ({
        'a.csv': '1 2',
        'b.txt': '1 2',
        'm.py': """
            import os
            H=os.path.dirname(__file__)
            def root(): return open(os.path.join(H,'%s.txt' % 'b')).read() + open(os.path.join(H,'a.csv')).read()
        """,
    }, 'b.txt'),
    'fstring stem': ({
        'a.csv': '1 2',
        'n_1': '1 2',
        'm.py': """
            import os
            from pathlib import Path
            H=Path(__file__).parent
            def root(n=1): return (H/f'n_{n}').read_text()+(H/'a.csv').read_text()
        """,
    }, 'n_1'),
    'glob': ({
        'a.csv': '1 2',
        'n_1.txt': '1 2',
        'm.py': """
            from pathlib import Path
            H=Path(__file__).parent
            def root(n=1): return [p.read_text() for p in H.glob('n_*.txt')]+[(H/'a.csv').read_text()]
        """,
    }, 'n_1.txt'),
    'iterdir beside named': ({
        'a.csv': '1 2',
        'n_1.txt': '1 2',
        'm.py': """
            from pathlib import Path
            H=Path(__file__).parent
            def root(): return [p.read_text() for p in H.iterdir() if p.suffix=='.txt'], (H/'a.csv').read_text()
        """,
    }, 'n_1.txt'),
    'parent folder': ({
        'd/x.txt': '1 2',
        's/__init__.py': '',
        's/m.py': """
            from pathlib import Path
            def root(): return (Path(__file__).parent.parent/'d'/'x.txt').read_text()
        """,
    }, 'd/x.txt'),
    'dotdot in string': ({
        'x.txt': '1 2',
        's/__init__.py': '',
        's/m.py': """
            import os
            def root(): return open(os.path.dirname(__file__)+'/../x.txt').read()
        """,
    }, 'x.txt'),
    'resources other package': ({
        'd/__init__.py': '',
        'd/x.txt': '1 2',
        's/__init__.py': '',
        's/m.py': """
            from importlib.resources import files
            def root(): return (files('PKG.d')/'x.txt').read_text()
        """,
    }, 'd/x.txt'),
    'resources module object': ({
        'd/__init__.py': '',
        'd/x.txt': '1 2',
        's/__init__.py': '',
        's/m.py': """
            from importlib import resources
            from PKG import d
            def root(): return (resources.files(d)/'x.txt').read_text()
        """,
    }, 'd/x.txt'),
    'pkg.__file__': ({
        'x.txt': '1 2',
        'm.py': """
            from pathlib import Path
            import PKG
            def root(): return Path(PKG.__file__).with_name('x.txt').read_text()
        """,
    }, 'x.txt'),
    'inspect': ({
        'x.txt': '1 2',
        'm.py': """
            from pathlib import Path
            import inspect
            def root(): return Path(inspect.getfile(root)).with_name('x.txt').read_text()
        """,
    }, 'x.txt'),
    '__path__': ({
        'x.txt': '1 2',
        'm.py': """
            from pathlib import Path
            import PKG
            def root(): return Path(PKG.__path__[0],'x.txt').read_text()
        """,
    }, 'x.txt'),
    'py text': ({
        'x.py': 'def f(): return 1',
        'm.py': """
            from pathlib import Path
            def root():
                d={}
                exec(Path(__file__).with_name('x.py').read_text(), d)
                return d['f']()
        """,
    }, 'x.py'),
    'fstring up': ({
        's/__init__.py': '',
        's/m.py': """
            from pathlib import Path
            R = Path(__file__).parents[1] / 'd'
            def root(n=1): return (R / f'n{n}.npy').read_text()
        """,
        'd/n1.npy': '1',
    }, 'd/n1.npy'),
    'all up': ({
        's/__init__.py': '',
        's/m.py': """
            from pathlib import Path
            R = Path(__file__).parents[1] / 'd'
            def root(n=1): return [p.read_text() for p in sorted(R.iterdir())]
        """,
        'd/n1.npy': '1',
    }, 'd/n1.npy'),
}
"""Packages, and the file whose content `root` gives."""
# fmt: on


@pytest.mark.parametrize(("files", "read"), CASES.values(), ids=CASES.keys())
def test_a_file_that_is_read_counts(hash_of: Callable[..., str], files: dict[str, str], read: str) -> None:
    module = next(name for name in ("m", "s.m") if f"{name.replace('.', '/')}.py" in files)

    assert hash_of(files, module) != hash_of({**files, read: "S = 2\n"}, module)


def test_a_file_above_the_module_counts_where_the_module_goes_up_alone(hash_of: Callable[..., str]) -> None:
    here = "from pathlib import Path\ndef root(): return Path(__file__).with_name('x.txt').read_text()\n"
    files = {"s/__init__.py": "", "s/m.py": here, "s/x.txt": "1\n"}

    assert hash_of({**files, "x.txt": "1\n"}, "s.m") == hash_of({**files, "x.txt": "2\n"}, "s.m")


def test_leftovers_of_an_editor_do_not_count(hash_of: Callable[..., str]) -> None:
    listed = {
        "m.py": "from pathlib import Path\ndef root(): return list(Path(__file__).parent.iterdir())\n",
        "a.dat": "1",
    }

    assert hash_of(listed) == hash_of({**listed, ".m.py.swp": "1", "a.dat~": "2"})
