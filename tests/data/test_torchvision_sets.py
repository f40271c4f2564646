"""Torchvision's own loading code, run on tiny archives of the same layout served on loopback."""

from __future__ import annotations

import hashlib
import io
import pickle
import socket
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from harness.data import http
from harness.data.decode import resize_and_crop
from harness.data.load import load
from harness.data.sources import torchvision_sets
from harness.errors import HarnessError

sets = pytest.importorskip("torchvision.datasets")
RNG = np.random.default_rng(1)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path):
    (tmp_path / "www").mkdir()
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "www")))
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield tmp_path / "www", f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def md5(data):
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def archive(path, files):
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return md5(path.read_bytes())


def images(count, side):
    return RNG.integers(0, 256, (count, 3, side, side), dtype=np.uint8)


@pytest.fixture
def cifar(server, monkeypatch):
    www, url = server
    names = ["plane", "car"]
    train, test = images(30, 32), images(8, 32)
    files = {
        "data_batch_1": pickle.dumps({"data": train.reshape(30, -1), "labels": [0, 1] * 15}),
        "test_batch": pickle.dumps({"data": test.reshape(8, -1), "labels": [1, 0] * 4}),
        "batches.meta": pickle.dumps({"label_names": names}),
    }
    digest = archive(www / "cifar.tgz", {f"cifar-10-batches-py/{name}": data for name, data in files.items()})
    digests = {name: md5(data) for name, data in files.items()}
    monkeypatch.setattr(sets.CIFAR10, "url", f"{url}/cifar.tgz")
    monkeypatch.setattr(sets.CIFAR10, "filename", "cifar.tgz")
    monkeypatch.setattr(sets.CIFAR10, "tgz_md5", digest)
    monkeypatch.setattr(sets.CIFAR10, "train_list", [["data_batch_1", digests["data_batch_1"]]])
    monkeypatch.setattr(sets.CIFAR10, "test_list", [["test_batch", digests["test_batch"]]])
    monkeypatch.setattr(
        sets.CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": digests["batches.meta"]}
    )
    return www, train, test


def by_name(splits, original, labels):
    """Check every loaded image against the array that was packed."""
    for part in (splits.private, splits.public, splits.test):
        for row, name in enumerate(part.names):
            role, label, number = name.split("/")
            assert np.array_equal(part.images[row], original[role][int(number)])
            assert part.classes[part.labels[row]] == label == labels[role][int(number)]


def test_cifar10_is_fetched_once_and_equals_what_was_packed(cifar, tmp_path, monkeypatch):
    www, train, test = cifar

    splits = load("cifar10", cache=tmp_path / "cache")
    (www / "cifar.tgz").unlink()
    monkeypatch.setattr(sets, "CIFAR10", None)
    again = load("cifar10", cache=tmp_path / "cache", limit=6)

    assert [len(splits.private), len(splits.public), len(splits.test)] == [20, 10, 8]
    by_name(splits, {"train": train, "test": test}, {"train": ["plane", "car"] * 15, "test": ["car", "plane"] * 4})
    assert len(again.private) == 6


def test_stl10_columns_and_rows_are_not_swapped(server, tmp_path, monkeypatch):
    www, url = server
    parts = {"train": images(12, 96), "test": images(4, 96)}
    files = {f"{role}_X.bin": part.transpose(0, 1, 3, 2).tobytes() for role, part in parts.items()}
    files |= {f"{role}_y.bin": bytes([1, 2] * (len(part) // 2)) for role, part in parts.items()}
    files |= {"unlabeled_X.bin": images(1, 96).tobytes(), "class_names.txt": b"airplane\nbird\n"}
    digest = archive(www / "stl.tar.gz", {f"stl10_binary/{name}": data for name, data in files.items()})
    listed = {name: [name, md5(data)] for name, data in files.items()}
    monkeypatch.setattr(sets.STL10, "url", f"{url}/stl.tar.gz")
    monkeypatch.setattr(sets.STL10, "filename", "stl.tar.gz")
    monkeypatch.setattr(sets.STL10, "tgz_md5", digest)
    monkeypatch.setattr(
        sets.STL10, "train_list", [listed[f] for f in ("train_X.bin", "train_y.bin", "unlabeled_X.bin")]
    )
    monkeypatch.setattr(sets.STL10, "test_list", [listed[f] for f in ("test_X.bin", "test_y.bin")])

    splits = load("stl10", cache=tmp_path / "cache")

    assert splits.size == (96, 96) and len(splits.private) == 8
    by_name(splits, parts, {role: ["airplane", "bird"] * 6 for role in parts})


@pytest.fixture
def pets(server, monkeypatch):
    www, url = server

    def jpeg(side):
        buffer = io.BytesIO()
        Image.fromarray(RNG.integers(0, 256, (side, side + 8, 3), dtype=np.uint8)).save(buffer, "JPEG")
        return buffer.getvalue()

    photographs = {f"images/{breed}_{n}.jpg": jpeg(20 + n) for breed in ("Bengal", "beagle") for n in range(8)}
    lines = [f"{breed}_{n} {k} {k} 1\n" for k, breed in ((1, "Bengal"), (2, "beagle")) for n in range(8)]
    lists = {"trainval": [line for line in lines if int(line.split()[0][-1]) < 6]}
    lists["test"] = [line for line in lines if line not in lists["trainval"]]
    annotations = {f"annotations/{split}.txt": "".join(part).encode() for split, part in lists.items()}
    resources = []
    for name, files in (("images", photographs), ("annotations", annotations)):
        resources.append((f"{url}/{name}.tar.gz", archive(www / f"{name}.tar.gz", files)))
    monkeypatch.setattr(sets.OxfordIIITPet, "_RESOURCES", tuple(resources))
    return www


def test_oxford_pets_are_cats_or_dogs(pets, tmp_path):
    splits = load("oxford_pets", cache=tmp_path, size=16)

    assert splits.classes == ("cat", "dog") and splits.size == (16, 16)
    assert [len(splits.private), len(splits.public), len(splits.test)] == [8, 4, 4]
    for name, label in zip(splits.private.names, splits.private.labels, strict=True):
        assert ("beagle" in name) == (splits.classes[label] == "dog")


def test_an_interrupted_extraction_is_done_again(pets, tmp_path):
    load("oxford_pets", cache=tmp_path, size=16)
    folder = tmp_path / "downloads/oxford_pets"
    (folder / "listing/index").unlink()
    (folder / "oxford-iiit-pet/annotations/test.txt").unlink()
    (pets / "images.tar.gz").unlink()  # the archives that were fetched are enough

    assert len(load("oxford_pets", cache=tmp_path, size=16).test) == 4


@pytest.fixture
def nette(server, monkeypatch):
    """Two of its classes, of several sizes, in the archive's own layout."""
    www, url = server
    photographs = {}
    for wnid in ("n01440764", "n02102040"):
        for split, count in (("train", 6), ("val", 3)):
            for number in range(count):
                buffer = io.BytesIO()
                pixels = RNG.integers(0, 256, (20 + number, 28, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(buffer, "JPEG")
                photographs[f"imagenette2-160/{split}/{wnid}/{split}_{number}.JPEG"] = buffer.getvalue()
    digest = archive(www / "imagenette2-160.tgz", photographs)
    resource = (f"{url}/imagenette2-160.tgz", digest)
    monkeypatch.setattr(sets.Imagenette, "_ARCHIVES", {"160px": resource})
    return www, photographs


def test_imagenette_has_names_for_classes_and_val_is_test(nette, tmp_path):
    www, photographs = nette

    splits = load("imagenette", cache=tmp_path, size=16)
    (www / "imagenette2-160.tgz").unlink()
    again = load("imagenette", cache=tmp_path, size=16)

    assert splits.classes == ("english_springer", "tench") and splits.size == (16, 16)
    assert [len(splits.private), len(splits.public), len(splits.test)] == [8, 4, 6]
    assert all(name.startswith("test/") and "/val_" in name for name in splits.test.names)
    assert again.fingerprint == splits.fingerprint
    folders = {"tench": "n01440764", "english_springer": "n02102040"}
    for part in (splits.private, splits.public, splits.test):
        for row, name in enumerate(part.names):
            role, label, file = name.split("/")
            packed = photographs[f"imagenette2-160/{'val' if role == 'test' else role}/{folders[label]}/{file}"]
            pixels = resize_and_crop(np.asarray(Image.open(io.BytesIO(packed))), 16).transpose(2, 0, 1)
            assert np.array_equal(part.images[row], pixels)


def test_an_interrupted_extraction_of_imagenette_is_done_again(nette, tmp_path):
    load("imagenette", cache=tmp_path, size=16)
    folder = tmp_path / "downloads/imagenette"
    (folder / "listing/index").unlink()
    for file in (folder / "imagenette2-160/train/n01440764").iterdir():
        file.unlink()

    assert len(load("imagenette", cache=tmp_path, size=16).private) == 8


def test_without_network_one_line_names_the_host_and_the_fix(tmp_path, monkeypatch):
    monkeypatch.setattr(http, "PAUSE", 0.01)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        closed = f"127.0.0.1:{taken.getsockname()[1]}"  # bound, not listening: refused
        monkeypatch.setattr(sets.STL10, "url", f"http://{closed}/stl10_binary.tar.gz")

        with pytest.raises(HarnessError) as caught:
            torchvision_sets.stl10(tmp_path)

    message = str(caught.value)
    assert "stl10" in message and closed in message and "\n" not in message
    assert f"stl10_binary.tar.gz from http://{closed}/stl10_binary.tar.gz and put it into {tmp_path}" in message


def test_a_file_with_the_wrong_checksum_is_refused(cifar, tmp_path, monkeypatch):
    monkeypatch.setattr(sets.CIFAR10, "tgz_md5", "0" * 32)

    with pytest.raises(HarnessError, match=f"cifar10: what came from .* is not cifar.tgz .*expected {'0' * 32}"):
        torchvision_sets.cifar10(tmp_path)
    assert not [path for path in tmp_path.glob("cifar10/*") if path.is_file()]


def test_an_archive_put_into_the_folder_needs_no_network(cifar, tmp_path, monkeypatch):
    www, *_ = cifar
    (tmp_path / "cifar10").mkdir()
    (www / "cifar.tgz").rename(tmp_path / "cifar10/cifar.tgz")
    monkeypatch.setattr(sets.CIFAR10, "url", "http://127.0.0.1:9/cifar.tgz")

    assert len(torchvision_sets.cifar10(tmp_path)) == 38


@pytest.mark.parametrize("name", ["cifar", "pets", "nette"])
def test_offline_a_missing_archive_is_named_with_its_place(name, request, tmp_path, monkeypatch):
    request.getfixturevalue(name)
    monkeypatch.setenv("HARNESS_OFFLINE", "1")
    dataset = {"cifar": "cifar10", "pets": "oxford_pets", "nette": "imagenette"}[name]

    with pytest.raises(HarnessError, match=f"{dataset}: .* is not here and --offline downloads nothing; get .* put it"):
        load(dataset, cache=tmp_path / "cache", size=16)


def test_offline_what_was_fetched_before_is_read(cifar, tmp_path, monkeypatch):
    before = load("cifar10", cache=tmp_path / "cache")
    monkeypatch.setenv("HARNESS_OFFLINE", "1")

    assert load("cifar10", cache=tmp_path / "cache").fingerprint == before.fingerprint
