"""Outside submissions as they arrive: from a Mac, from a spreadsheet, damaged, or made to be misread."""

import unicodedata

import numpy as np
import pytest
from PIL import Image

from harness.errors import HarnessError
from harness.publish.submission import read_reconstructions, read_scores

FILES = [f"epoch_000/{number:06d}.png" for number in range(3)]
STEMS = np.array([f"{number:06d}" for number in range(3)])
CLASSES = ("a", "é", "c;d")
SCORES = np.array([[0.1, 0.2, 0.7], [0.5, 0.4, 0.1], [1, 0, 0]])
CSV = "file,a,é,c;d\n" + "".join(f"{f},{','.join(map(str, row))}\n" for f, row in zip(FILES, SCORES, strict=True))


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "s"
    place.mkdir()
    for number in range(3):
        Image.fromarray(np.full((12, 8, 3), number, np.uint8)).save(place / f"{number:06d}.png")
    return place


def test_what_a_mac_adds_to_a_folder_is_left_out(folder):
    for name in ("._000000.png", ".DS_Store", "__MACOSX/000000.png", "__MACOSX/._000001.png", ".hidden/000002.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"\0\5\x16\7")
    assert read_reconstructions(folder, FILES, (12, 8), 2).candidates[:, 0, 0, 0, 0].tolist() == [0, 1, 2]


def test_a_link_is_refused(folder, tmp_path):
    original = tmp_path / "original.png"
    (folder / "000001.png").rename(original)
    (folder / "000001.png").symlink_to(original)

    with pytest.raises(HarnessError, match=r"000001\.png is a link"):
        read_reconstructions(folder, FILES, (12, 8), 2)


def test_a_folder_of_a_million_files_is_not_read_to_its_end(folder, monkeypatch):
    monkeypatch.setattr("os.walk", lambda _: iter([(str(folder), [], [f"{n}.png" for n in range(2000)])]))
    with pytest.raises(HarnessError, match="more than 1,300 PNG files"):
        read_reconstructions(folder, FILES, (12, 8), 2)


def test_scores_are_read_whatever_wrote_the_file(tmp_path):
    expected = read_scores(write(tmp_path, CSV), FILES, CLASSES).scores
    assert np.array_equal(expected, SCORES)
    variants = [CSV.replace("\n", "\r\n"), CSV.replace("\n", "\r"), "\ufeff" + CSV, unicodedata.normalize("NFD", CSV)]
    for text in variants:
        assert np.array_equal(read_scores(write(tmp_path, text), FILES, CLASSES).scores, SCORES)
    semicolons = CSV.replace("c;d", "cd").replace(",", ";")
    assert np.array_equal(read_scores(write(tmp_path, semicolons), FILES, ("a", "é", "cd")).scores, SCORES)
    np.savez(tmp_path / "s.npz", files=STEMS.astype("S"), classes=np.array(CLASSES), scores=SCORES)
    assert np.array_equal(read_scores(tmp_path / "s.npz", FILES, CLASSES).scores, SCORES)


def write(place, text):
    (place / "s.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    return place / "s.csv"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "its first column is missing"),
        ("a,b\n", "its first column is 'a'"),
        (CSV.replace("0.7", "x" * 140_000), "a cell of more than 131,072 letters"),
        (CSV.replace("0.7", "0_7"), "'0_7' is no finite number"),
        (CSV.replace("0.7", "nan"), "'nan' is no finite number"),
        (CSV.replace("0.7", "1e999"), "'1e999' is no finite number"),
        (CSV.replace("0.7", "٣"), "no finite number"),
        (CSV.replace(",", ";").replace("0.7", "0,7").replace("c;d", '"c;d"'), "'0,7' is no finite number; write 0.7"),
        (CSV.replace("0.7", ""), "'' is no finite number"),
        (CSV.replace(",0.7", ""), "line 2: 3 cells, and the head has 4"),
        (CSV.encode("utf-16"), "not UTF-8"),
        (CSV.replace("000001", "00\x0001"), "holds a NUL"),
        (CSV.replace("000001", "000000"), "'000000' is there twice"),
        (CSV.replace("000001", "9" * 5000), "1 unknown (first '99999"),
        (CSV.replace("file,a", "file," + "z" * 5000), "expected the classes a, é, c;d"),
        (CSV + CSV.split("\n")[1] + "\n" * 1, "is there twice"),
        (CSV + "".join(f"{n},1,1,1\n" for n in range(200)), "more than 106 rows"),
    ],
)
def test_what_cannot_be_scores_is_one_short_line(tmp_path, text, said):
    with pytest.raises(HarnessError) as caught:
        read_scores(write(tmp_path, text), FILES, CLASSES)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"files": np.array("x")}, "files has the shape ()"),
        ({"scores": np.array(3.0)}, "scores has the shape ()"),
        ({"classes": np.array("abc")}, "classes has the shape ()"),
        ({"classes": np.array([1, 2, 3])}, "classes is of type int64; expected text"),
        ({"scores": SCORES[:2]}, "with a row per file"),
        ({"scores": SCORES[:, :2]}, "expected the classes"),
        ({"scores": SCORES.astype(str)}, "expected number"),
        ({"scores": np.where(SCORES > 0.6, np.nan, SCORES)}, "not finite"),
        ({"scores": SCORES.astype(object)}, "Python objects"),
        ({"files": np.array([b"\xff", b"a", b"b"])}, "a name is not UTF-8"),
        ({"release": np.array(["a", "b"])}, "release has the shape (2,)"),
        ({"release": np.array(b"\xff")}, "release is not UTF-8; write it as text"),
        ({"release": np.array("a" * 1001)}, "release has room for 1,001 letters; 1,000 at most are read"),
        ({"release": np.array(7)}, "release is of type int64; expected text"),
        ({"files": np.full(107, "a"), "scores": np.zeros((107, 3))}, "files has 107 rows; 106 at most are read"),
        ({"classes": np.full(107, "a"), "scores": np.zeros((3, 0))}, "classes has 107 rows; 106 at most are read"),
    ],
)
def test_arrays_of_other_shapes_and_kinds_are_refused(tmp_path, changes, said):
    np.savez(tmp_path / "s.npz", **{"files": STEMS, "classes": np.array(CLASSES), "scores": SCORES, **changes})
    with pytest.raises(HarnessError) as caught:
        read_scores(tmp_path / "s.npz", FILES, CLASSES)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["U", "S"])
def test_the_release_is_stated_as_text_or_as_its_bytes(tmp_path, kind):
    arrays = {"files": STEMS, "release": np.array("0123456789abcdef", kind)}
    np.savez(tmp_path / "s.npz", classes=np.array(CLASSES), scores=SCORES, **arrays)
    np.savez(tmp_path / "r.npz", candidates=np.zeros((3, 1, 3, 12, 8), np.uint8), **arrays)

    assert read_scores(tmp_path / "s.npz", FILES, CLASSES).release == "0123456789abcdef"
    assert read_reconstructions(tmp_path / "r.npz", FILES, (12, 8), 2).release == "0123456789abcdef"


def test_other_columns_are_refused_before_their_rows_are_read(tmp_path):
    columns = ",".join(str(number) for number in range(1000))
    text = f"file,{columns}\n" + "no rows\n"
    with pytest.raises(HarnessError, match="1,000 with scores; expected the classes a, é, c;d"):
        read_scores(write(tmp_path, text), FILES, CLASSES)


@pytest.mark.parametrize(
    ("candidates", "said"),
    [
        (np.zeros((3, 1, 3, 12, 8)), "candidates is of type float64; expected byte"),
        (np.zeros((3, 3, 12, 8), np.uint8), "expected 5 dimensions"),
        (np.zeros((3, 1, 3, 8, 12), np.uint8), "expected uint8 (N, M, 3, 12, 8)"),
        (np.zeros((2, 1, 3, 12, 8), np.uint8), "with a row per file"),
        (np.zeros((3, 0, 3, 12, 8), np.uint8), "0 guesses"),
        (np.zeros((3, 3, 3, 12, 8), np.uint8), "best of many guesses is an oracle"),
        (np.array(3, np.uint8), "expected 5 dimensions"),
    ],
)
def test_candidates_of_other_shapes_are_refused(tmp_path, candidates, said):
    np.savez(tmp_path / "s.npz", files=STEMS, candidates=candidates)
    with pytest.raises(HarnessError) as caught:
        read_reconstructions(tmp_path / "s.npz", FILES, (12, 8), 2)
    assert said in str(caught.value)
