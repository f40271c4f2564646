"""Text of other people (file names, error messages) in one line of our own."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

LONGEST_LINE = 1200  # characters of an error message on the terminal
_HIDDEN = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control characters, undecodable bytes, line and paragraph separators


def is_text(name: str) -> bool:
    """Whether a name holds neither bytes that are not UTF-8 nor characters that control a terminal or end a line."""
    return not any(unicodedata.category(letter) in _HIDDEN for letter in name)


def one_line(text: str) -> str:
    r"""The text with everything that `is_text` refuses written as an escape: a line end becomes \n, a byte \xff."""
    return text if is_text(text) else "".join(map(_escaped, text))


def shortened(text: str, most: int = LONGEST_LINE) -> str:
    """The text; of a longer one the beginning and the end, where a message says what is wrong and what to do."""
    return text if len(text) <= most else f"{text[: most * 3 // 4]} [...] {text[-most // 4 :]}"


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
