"""What tests of data sets share."""

from __future__ import annotations

import pytest

from harness.data import http
from tests.helpers.archived import breed_archives, image_bytes, published, tarred, zipped
from tests.helpers.folders import tree
from tests.helpers.loopback import serving


@pytest.fixture
def flat(tmp_path):
    return tree(tmp_path / "pets", {"cat": 20, "dog": 10})


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def hurry(monkeypatch):
    monkeypatch.setattr(http, "PAUSE", 0.001)
    for name in ("HARNESS_OFFLINE", "HARNESS_DOWNLOAD"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def site():
    with serving() as made:
        yield made


@pytest.fixture
def cats(site):
    """16 cats and 15 dogs, and every irregularity of the published archive."""
    files = {"readme[1].txt": b"terms", "MSR-LA - 3467.docx": b"terms"}
    for label, count in (("Cat", 16), ("Dog", 15)):
        files |= {f"PetImages/{label}/{number}.jpg": image_bytes(16 + number) for number in range(count)}
        files[f"PetImages/{label}/Thumbs.db"] = b"thumbs"
    files["PetImages/Cat/666.jpg"] = b""
    files["PetImages/Dog/11702.jpg"] = b""
    files["PetImages/Cat/99.jpg"] = files["PetImages/Cat/3.jpg"]
    params = published("cats_vs_dogs", site, kagglecatsanddogs=zipped(files))
    return files, params | {"per_class": {"train": 9, "test": 3}}


@pytest.fixture
def dogs(site):
    files, lists = breed_archives()
    params = published("stanford_dogs10", site, images=tarred(files), lists=tarred(lists))
    return files, params | {"per_class": {"train": 8, "test": 4}}
