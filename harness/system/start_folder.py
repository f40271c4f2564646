"""The current folder: files in it are data, no modules, and it may be gone.

Nothing is imported here that a file in the current folder could hide.
"""

from __future__ import annotations

import os
import sys


def hide_modules() -> None:
    """Take the current folder, which `python -m` puts first on sys.path, from there.

    Where the harness itself is imported from it (a checkout), it comes last: modules in it hide no others.

    Too late for what Python imports before it runs a package (`runpy`, `typing`): `harness` and `python -P -m harness`
    look for nothing there.
    """
    main = getattr(sys.modules["__main__"], "__spec__", None)
    if main is None or sys.flags.safe_path or not sys.path:
        return
    checkout = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    try:
        is_first = os.path.samefile(sys.path[0], ".")
    except OSError:
        return
    if is_first:
        folder = sys.path.pop(0)
        if folder == checkout:
            sys.path.append(folder)


def why_gone() -> str | None:
    """Why nothing can be done in the current folder, with the fix; None where it is there."""
    try:
        os.getcwd()
    except OSError as error:
        folder = os.environ.get("PWD", "")
        named = f" {folder}" if folder else ""
        return f"the current folder{named} cannot be used ({error.strerror}); cd to one that is there"
    return None
