"""harness.system.names: no name from data leaves its folder, and no two share a file."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.system.names import LONGEST, file_name, file_names


@pytest.mark.parametrize(
    "name", ["photos", "imagenette10_96", "faces[v2]", "my photos (2)", "a.b-c", "_x", "x" * LONGEST]
)
def test_a_plain_name_is_its_own_file_name(name):
    assert file_name(name) == name


HOSTILE = [
    "", ".", "..", "../x", "/etc/passwd", "a/b", "a\\b", "a\0b", "a\nb", "CON", "con.txt", "-rf", ".hidden", "x.",
    "x ", " x", "é", unicodedata.normalize("NFD", "é"), "x" * (LONGEST + 1), "x" * 10_000, "a:b", "a*b", "\ud800",
    "a_b-0123456789ab", "~root", "$HOME", "\u202e", "COM1",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_anything_else_is_a_short_plain_one_of_its_own(name):
    file = file_name(name)
    assert file != name and file.isascii() and len(file) <= 60
    assert not set(file) & set('/\\\0\n:*?"<>|') and file[0] not in ".-" and file == file.strip(" .")


def test_different_names_have_different_files_whatever_the_file_system():
    names = [*HOSTILE, "Photos", "photos", "PHOTOS", "a b", *map(file_name, HOSTILE)]
    files = list(file_names(dict.fromkeys(names)).values())
    assert len({unicodedata.normalize("NFC", file).casefold() for file in files}) == len(set(names))


@given(
    st.lists(st.text(st.characters(), max_size=30) | st.from_regex(r"[A-Za-z_.-]{1,4}(-[0-9a-f]{12})?", fullmatch=True))
)
def test_no_list_of_names_shares_a_file_or_leaves_the_folder(names):
    found = file_names(names)
    assert len({file.casefold() for file in found.values()}) == len(set(names))
    assert all("/" not in file and file not in (".", "..") and len(file) <= LONGEST for file in found.values())
