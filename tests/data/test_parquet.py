"""Parquet files are read as the folder of the same pictures is; what is irregular is refused with file and row."""

from __future__ import annotations

import json

import numpy as np
import pytest

from harness.data.load import load
from tests.helpers.folders import parts, refusal

pa = pytest.importorskip("pyarrow", reason="pyarrow is of the dev extra")
pq = pytest.importorskip("pyarrow.parquet")

CLASSES = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}


def pictures(root):
    files = sorted(root.rglob("*.png"))
    return [file.read_bytes() for file in files], [file.parent.name for file in files]


@pytest.mark.parametrize("form", ["bytes", "struct", "numbers", "one group each"])
def test_a_file_is_the_folder_that_it_was_made_of(flat, tmp_path, cache, form):
    images, labels = pictures(flat)
    table = pa.table({"image": images, "label": labels})
    if form != "bytes":
        struct = [{"bytes": each, "path": "/etc/passwd"} for each in images]
        table = table.set_column(0, "image", pa.array(struct))
    if form == "numbers":
        table = table.set_column(1, "label", pa.array([int(label == "dog") for label in labels]))
        table = table.replace_schema_metadata({"huggingface": json.dumps(CLASSES)})
    pq.write_table(table, tmp_path / "other.parquet", row_group_size=1 if form == "one group each" else None)

    of_folder, of_file = load(flat, cache=cache), load(tmp_path / "other.parquet", cache=cache)

    assert of_file.fingerprint == of_folder.fingerprint and of_file.name == "other"
    for one, other in zip(parts(of_folder), parts(of_file), strict=True):
        assert np.array_equal(one.images, other.images) and one.labels.tolist() == other.labels.tolist()


def test_a_folder_of_train_and_test_files_has_these_roles(flat, tmp_path, cache):
    images, labels = pictures(flat)
    (tmp_path / "data").mkdir()
    for name, rows in (("train-00000-of-00001", slice(0, 30, 1)), ("test-00000-of-00001", slice(0, 30, 3))):
        pq.write_table(pa.table({"img": images[rows], "label": labels[rows]}), tmp_path / "data" / f"{name}.parquet")

    splits = load(tmp_path / "data", cache=cache)

    assert len(splits.test) == 10 and splits.notes["duplicates"] == 10
    assert all(name.startswith("test-") for name in splits.test.names)


BAD = {
    "no picture": ({"image": ["a", "b"], "label": [0, 1]}, "0 columns can be the images"),
    "no label": ({"image": [b"a", b"b"], "label": [0.5, 1.5]}, "0 columns can be the labels"),
    "several": ({"one": [b"a"], "two": [b"b"], "label": [0]}, "2 columns can be the images"),
    "negative": ({"image": [b"a", b"b"], "label": [0, -1]}, "row 1, column 'label': the label is -1"),
    "nothing": ({"image": [b"a", b"b"], "label": [0, None]}, "row 1, column 'label': the label is nothing"),
    "invisible": ({"image": [b"a"], "label": ["a\u200b"]}, "row 0, column 'label': the label is"),
    "path alone": ({"image": [{"bytes": None, "path": "/etc/passwd"}] * 2, "label": [0, 1]}, "columns can be"),
    "no image": ({"image": [b"a", b"b"], "label": [0, 1]}, "no image of a format that is read"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_what_is_irregular_is_refused_with_file_and_column(tmp_path, cache, what):
    columns, said = BAD[what]
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")

    message = refusal(tmp_path / "a.parquet", cache=cache)

    assert said in message and ("a.parquet" in message or "a/0" in message)


@pytest.mark.parametrize("keep", [0, 3, 100, -9])
def test_a_file_that_is_cut_is_refused(flat, tmp_path, cache, keep):
    images, labels = pictures(flat)
    place = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": images, "label": labels}), place)
    place.write_bytes(place.read_bytes()[:keep])

    assert "a.parquet is no Parquet file, or cut or damaged" in refusal(place, cache=cache)
