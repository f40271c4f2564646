"""Text of other people (file names, error messages) in one line of our own."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

_HIDDEN = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control characters, undecodable bytes, line and paragraph separators


def is_text(name: str) -> bool:
    """Whether a name holds neither bytes that are not UTF-8 nor characters that control a terminal or end a line."""
    return not any(unicodedata.category(letter) in _HIDDEN for letter in name)


def one_line(text: str) -> str:
    r"""The text with everything that `is_text` refuses written as an escape: a line end becomes \n, a byte \xff."""
    return text if is_text(text) else "".join(map(_escaped, text))


def first_few(names: Sequence[str], most: int = 3) -> str:
    """The first of these names, and an ellipsis where there are more."""
    return ", ".join(map(one_line, names[:most])) + (", ..." if len(names) > most else "")


def counted(number: int, noun: str) -> str:
    """1 picture, 2 pictures."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _escaped(letter: str) -> str:
    if is_text(letter):
        return letter
    if 0xDC80 <= ord(letter) <= 0xDCFF:  # how Python keeps a byte of a file name that is not UTF-8
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode()
