"""harness.system.arrays: what an .npz declares is checked before it is read."""

import io
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.system.arrays import Expected, read_npz, texts

EXPECTED = {
    "files": Expected("text", 1),
    "scores": Expected("number", 2),
    "release": Expected("text", 0, optional=True),
}
SOUND = {"files": np.array(["a", "b"]), "scores": np.zeros((2, 3))}


def npy(array, **changes):
    """The bytes of a .npy file whose header says something else."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    data = stream.getvalue()
    for old, new in changes.get("replace", ()):
        data = data.replace(old, new)
    return data


@pytest.fixture
def packed(tmp_path):
    def pack(members, compression=zipfile.ZIP_STORED):
        with zipfile.ZipFile(tmp_path / "s.npz", "w", compression) as archive:
            for name, data in members.items():
                archive.writestr(f"{name}.npy", data if isinstance(data, bytes) else npy(data))
        return tmp_path / "s.npz"

    return pack


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_saves_is_read(tmp_path, save):
    save(tmp_path / "s.npz", **SOUND, extra=np.ones(3, np.float32))
    read = read_npz(tmp_path / "s.npz", EXPECTED)
    assert list(read) == ["files", "scores"]
    assert all(np.array_equal(read[name], SOUND[name]) for name in read)
    assert read_npz(tmp_path / "s.npz")["extra"].dtype == np.float32


@pytest.mark.parametrize("side", [2, 200])  # read with its header, and apart from it
@pytest.mark.parametrize("kind", ["<f4", ">f8", "|b1", "<i2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_either_size_and_order_are_as_saved_and_may_be_written_to(tmp_path, side, kind, order):
    values = np.asarray(np.arange(side * 3 * side).reshape(side, 3, side), kind, order=order)
    saved = {"cube": values, "point": np.array(7, kind), "empty": np.empty((0, 4), kind), "text": np.array(["a", "bc"])}
    np.savez(tmp_path / "s.npz", **saved)

    read = read_npz(tmp_path / "s.npz")

    for name, array in saved.items():
        assert read[name].dtype == array.dtype and read[name].shape == array.shape
        assert np.array_equal(read[name], array) and read[name].flags.writeable


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scores": None}, "lacks the array 'scores' (it holds files)"),
        ({"files": np.array("x")}, "files has the shape (); expected 1 dimensions"),
        ({"scores": np.array(["a"])}, "scores is of type <U1; expected number"),
        ({"scores": np.zeros((2, 3), bool)}, "scores is of type bool; expected number"),
        ({"scores": np.zeros((2, 3), complex)}, "scores is of type complex128; expected number"),
        ({"scores": np.array([[np.nan, 1]])}, "scores holds 1 numbers that are not finite"),
        ({"scores": np.array([{}], object)}, "holds Python objects"),
        ({"scores": np.zeros(2, [("a", "f8")])}, "holds Python objects or records"),
        ({"scores": b"no array"}, "magic string"),
        ({"scores": npy(np.zeros((2, 3)), replace=[(b"(2, 3)", b"(9, 9)")])}, "declares (9, 9) float64, 648 bytes"),
        (
            {"scores": npy(np.zeros((2, 3)), replace=[(b"(2, 3), }      ", b"(99999999, 3),}")])},
            "declares (99999999, 3)",
        ),
        ({"scores": npy(np.zeros((2, 3)), replace=[(b"(2, 3)", b"(-2,3)")])}, ""),
        ({"scores": npy(np.zeros(3), replace=[(b"'<f8'", b"'<g8'")])}, ""),
    ],
)
def test_anything_else_is_refused_in_one_line(packed, changes, said):
    members = {name: data for name, data in {**SOUND, **changes}.items() if data is not None}
    with pytest.raises(HarnessError) as caught:
        read_npz(packed(members), EXPECTED, what="scores ", fix="write it anew")
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert str(caught.value).startswith("scores ") and str(caught.value).endswith("; write it anew")


def test_a_zip_bomb_is_refused_by_its_declared_size_without_being_unpacked(packed):
    bomb = npy(np.zeros((2, 3)), replace=[(b"(2, 3), }        ", b"(2, 6250000), }  ")])[:128] + bytes(100_000_000)
    file = packed({"files": SOUND["files"], "scores": bomb}, zipfile.ZIP_DEFLATED)
    del bomb
    assert file.stat().st_size < 1_000_000
    tracemalloc.start()
    start = time.process_time()
    with pytest.raises(HarnessError, match="holds 100,000,008 bytes of arrays; 1,000,000 at most are read"):
        read_npz(file, EXPECTED, most=1_000_000)
    assert time.process_time() - start < 2 and tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_a_header_of_a_gigabyte_is_not_read(packed):
    bomb = b"\x93NUMPY\x02\x00" + (200_000_000).to_bytes(4, "little") + b" " * 200_000_000
    file = packed({"scores": bomb}, zipfile.ZIP_DEFLATED)
    del bomb
    tracemalloc.start()
    with pytest.raises(HarnessError, match="header"):
        read_npz(file)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_a_table_of_contents_of_many_arrays_is_not_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "s.npz", "w") as archive:
        for number in range(20_000):
            archive.writestr(f"{number}.npy", b"")
    tracemalloc.start()
    with pytest.raises(HarnessError, match="more than 1000 arrays"):
        read_npz(tmp_path / "s.npz")
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_unmeasured_numbers_are_kept_where_the_caller_says_so(tmp_path):
    np.savez(tmp_path / "s.npz", numbers=np.array([np.nan, 1.0]))
    assert np.isnan(read_npz(tmp_path / "s.npz", finite=False)["numbers"][0])


def test_a_name_twice_and_a_file_that_is_none_are_refused(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(tmp_path / "s.npz", "w") as archive:
        archive.writestr("a.npy", npy(np.ones(2)))
        archive.writestr("a.npy", npy(np.zeros(2)))
    with pytest.raises(HarnessError, match="is in it twice"):
        read_npz(tmp_path / "s.npz")
    with pytest.raises(HarnessError, match="there is no such file"):
        read_npz(tmp_path / "gone.npz")
    with pytest.raises(HarnessError, match="is no regular file"):
        read_npz(tmp_path)


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_is_read_or_refused(tmp_path, data):
    stream = io.BytesIO()
    np.savez(stream, **SOUND)
    content = bytearray(stream.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "s.npz").write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        read_npz(tmp_path / "s.npz", EXPECTED)
    except HarnessError as refused:
        assert "\n" not in str(refused)


@pytest.mark.parametrize("length", [0, 3])
def test_texts_are_read_of_either_kind(length):
    written = np.array(["a", "é", ""])[:length]
    assert texts(written, "f") == texts(np.char.encode(written, "utf-8"), "f") == written.tolist()
    assert texts(np.array("a"), "f") == texts(np.array(b"a"), "f") == ["a"]
    with pytest.raises(HarnessError, match="f is not UTF-8"):
        texts(np.array(b"\xff"), "f")


@pytest.mark.parametrize(
    ("array", "expected", "said"),
    [
        (np.array(["a"] * 11), Expected("text", 1, most=10), "a has 11 rows; 10 at most are read"),
        (np.array("a" * 11), Expected("text", 0, letters=10), "a has room for 11 letters; 10 at most are read"),
        (np.array(b"a" * 11), Expected("text", 0, letters=10), "a has room for 11 letters; 10 at most are read"),
    ],
)
def test_what_would_become_too_many_objects_is_refused(packed, array, expected, said):
    file = packed({"a": array})
    with pytest.raises(HarnessError) as caught:
        read_npz(file, {"a": expected})
    assert said in str(caught.value)
    within = Expected(expected.kind, expected.ndim, most=11, letters=11)
    assert np.array_equal(read_npz(file, {"a": within})["a"], array)
