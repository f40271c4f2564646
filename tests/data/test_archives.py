"""Cats vs Dogs and Stanford Dogs, as small archives of the same layout served on loopback."""

from __future__ import annotations

import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from harness.data import decode
from harness.data.sources import archives
from harness.registry import load_registry
from tests.helpers.archived import BREEDS, files, loaded, names, published, tarred, zipped
from tests.helpers.folders import parts

pytestmark = pytest.mark.usefixtures("hurry")


def test_cats_and_dogs_are_sampled_by_class_in_the_numbers_of_the_entry(cats, tmp_path):
    files, params = cats

    splits = loaded(params, tmp_path, size=16)

    assert splits.classes == ("cat", "dog") and splits.size == (16, 16)
    assert [np.bincount(part.labels).tolist() for part in parts(splits)] == [[6, 6], [3, 3], [3, 3]]
    assert splits.notes == {"duplicates": 0, "unreadable": 0}
    for part in parts(splits):
        for row, name in enumerate(part.names):
            role, label, file = name.split("/")
            packed = files[f"PetImages/{label.title()}/{file}"]
            pixels = decode.resize_and_crop(np.asarray(Image.open(io.BytesIO(packed))), 16).transpose(2, 0, 1)
            assert np.array_equal(part.images[row], pixels)
            assert part.classes[part.labels[row]] == label and (role == "test") == (part is splits.test)


def test_the_papers_protocol_leaves_all_of_train_private(cats, tmp_path):
    splits = loaded(cats[1], tmp_path, size=16, public_share=0)

    assert [len(part) for part in parts(splits)] == [18, 0, 6]


def test_the_registry_has_the_papers_sizes():
    """Section 5.1: 22,800 training and 2,000 test images of 256 by 256; section 4.2.1: ten breeds, 256 by 256."""
    cats, dogs = (load_registry().get("datasets", name).params for name in ("cats_vs_dogs", "stanford_dogs10"))

    assert {role: count * len(cats["classes"]) for role, count in cats["per_class"].items()} == {
        "train": 22_800,
        "test": 2_000,
    }
    assert sorted(dogs["classes"]) == BREEDS
    assert cats["size"] == dogs["size"] == 256


def test_the_default_size_is_the_papers(cats, tmp_path):
    assert loaded(cats[1], tmp_path).size == (256, 256)


def test_unreadable_files_are_reported_and_copies_sampled_once(cats, tmp_path, caplog):
    splits = loaded(cats[1] | {"per_class": {"train": 13, "test": 3}}, tmp_path, size=16)

    found = names(splits)
    assert len(found) == len(set(found)) == 31
    assert not any(file in name for name in found for file in ("666.jpg", "11702.jpg", "Thumbs.db"))
    assert sum(name.endswith(("cat/3.jpg", "cat/99.jpg")) for name in found) == 1
    assert "PetImages/Cat/666.jpg is left out" in caplog.text and "PetImages/Dog/11702.jpg" in caplog.text
    assert str(tmp_path) not in caplog.text


def test_names_and_order_in_the_archive_do_not_matter(cats, site, tmp_path):
    files, params = cats
    first = loaded(params, tmp_path / "one", size=16)
    other = {name.replace("/", "/x", 2).replace("/x", "/", 1): files[name] for name in reversed(files)}

    second = loaded(
        published("cats_vs_dogs", site, kagglecatsanddogs=zipped(other)) | {"per_class": params["per_class"]},
        tmp_path / "two",
        size=16,
    )

    assert first.fingerprint == second.fingerprint and names(first) != names(second)


def test_the_ten_breeds_keep_the_archives_own_split(dogs, tmp_path):
    files, params = dogs

    splits = loaded(params, tmp_path, size=16)

    assert list(splits.classes) == BREEDS
    assert all(set(np.bincount(part.labels)) == {count} for part, count in zip(parts(splits), (5, 3, 4), strict=True))
    for name in names(splits):
        role, breed, file = name.split("/")
        assert (int(file.rpartition("_")[2][:-4]) < 8) == (role == "train")
        assert any(f"{folder}/{file}" in files for folder in params["classes"][breed])


def test_all_three_kinds_of_poodle_are_sampled_and_no_more_than_of_another_breed(dogs, tmp_path):
    found = [name for name in names(loaded(dogs[1], tmp_path, size=16)) if "/poodle/" in name]

    kinds = Counter(name.rpartition("/")[2].partition("_")[0] for name in found)
    assert set(kinds) == {"n02113624", "n02113712", "n02113799"} and sum(kinds.values()) == 12


def test_of_equal_files_the_one_in_the_test_list_is_kept(dogs, site, tmp_path):
    """Within a breed and across two."""
    contents, _ = dogs
    basset, pug = "Images/n02088238-basset/n02088238", "Images/n02110958-pug/n02110958"
    contents |= {f"{basset}_0.jpg": contents[f"{basset}_11.jpg"], f"{basset}_1.jpg": contents[f"{pug}_11.jpg"]}
    lists = site.files["/lists.tar"]

    found = names(loaded(published("stanford_dogs10", site, images=tarred(contents), lists=lists), tmp_path, size=16))

    assert {"test/basset/n02088238_11.jpg", "test/pug/n02110958_11.jpg"} < set(found)
    assert not {"train/basset/n02088238_0.jpg", "train/basset/n02088238_1.jpg"} & set(found)


def test_only_what_is_needed_is_unpacked(dogs, tmp_path):
    loaded(dogs[1], tmp_path, size=16)

    unpacked = [path for path in (tmp_path / "downloads").rglob("*.jpg")]
    assert len(unpacked) == 12 * 12 and not any("Chihuahua" in str(path) for path in unpacked)


def test_a_second_load_sends_no_request_and_checks_no_archive(cats, site, tmp_path, monkeypatch):
    first = loaded(cats[1], tmp_path, size=16)
    asked = len(site.requests)
    monkeypatch.setattr(archives, "fetch", lambda *_: pytest.fail("fetched again"))
    (tmp_path / "downloads/cats_vs_dogs/kagglecatsanddogs_5340.zip").unlink()

    again = loaded(cats[1], tmp_path, size=24)

    assert len(site.requests) == asked == 1
    assert names(again) and Counter(again.test.names) == Counter(first.test.names)


def test_an_archive_put_into_the_folder_needs_no_network(cats, site, tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_OFFLINE", "1")
    folder = tmp_path / "downloads/cats_vs_dogs"
    folder.mkdir(parents=True)
    (folder / "kagglecatsanddogs_5340.zip").write_bytes(site.files["/kagglecatsanddogs_5340.zip"])

    assert len(names(loaded(cats[1], tmp_path, size=16))) == 24
    assert not site.requests


def test_a_damaged_folder_is_unpacked_again_from_the_archive_that_is_there(cats, site, tmp_path, caplog):
    first = loaded(cats[1], tmp_path, size=16)
    for index in (tmp_path / "downloads/cats_vs_dogs").glob("unpacked-*/index"):
        index.write_text("damaged")

    again = loaded(cats[1], tmp_path, size=16)

    assert again.fingerprint == first.fingerprint and len(site.requests) == 1 and "set aside" in caplog.text


def test_an_interrupted_unpacking_leaves_nothing_half_written(cats, tmp_path, monkeypatch):
    def interrupted(archive, target, *_):
        (target / "PetImages").mkdir()
        (target / "PetImages/half.jpg").write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(archives, "unpack", interrupted)
        loaded(cats[1], tmp_path, size=16)

    assert files(tmp_path) == ["kagglecatsanddogs_5340.zip"]
    assert names(loaded(cats[1], tmp_path, size=16))
