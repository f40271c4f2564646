"""Cats vs Dogs and Stanford Dogs, as small archives of the same layout served on loopback."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter, namedtuple
from copy import deepcopy
from functools import partial

import numpy as np
import pytest
import yaml
from PIL import Image
from scipy.io import savemat

from harness.cli import main
from harness.data import decode, download, http
from harness.data.load import load
from harness.data.sources import archives
from harness.data.sources.archives import class_folders
from harness.errors import HarnessError
from harness.registry import load_registry
from tests.helpers.loopback import serving

DICE = np.random.default_rng(3)
BREEDS = ["basset", "german_shepherd", "golden_retriever", "husky", "pembroke", "poodle", "pug", "rottweiler"]
BREEDS += ["saint_bernard", "whippet"]


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(http, "PAUSE", 0.001)
    for name in ("HARNESS_OFFLINE", "HARNESS_DOWNLOAD"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def site():
    with serving() as made:
        yield made


def image_bytes(side=20):
    buffer = io.BytesIO()
    Image.fromarray(DICE.integers(0, 256, (side, side + 4, 3), dtype=np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            if name.endswith("/"):
                info.type = tarfile.DIRTYPE
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            info.size = len(content or b"")
            archive.addfile(info, io.BytesIO(content or b""))
    return buffer.getvalue()


def published(name, site, **bodies):
    """The registry's own parameters, with these archives in place of the published ones."""
    params = deepcopy(load_registry().get("datasets", name).params)
    for key, body in bodies.items():
        file = next(file for file in params["archives"] if file.startswith(key))
        site.files[f"/{file}"] = body
        params["archives"][file] |= {
            "url": f"{site.url}/{file}",
            "bytes": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
        }
    return params


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


def breed_archives():
    """12 images of every folder of the registry's ten breeds and of one other; 8 of each folder are for training."""
    classes = load_registry().get("datasets", "stanford_dogs10").params["classes"]
    folders = [folder for its in classes.values() for folder in its] + ["Images/n02085620-Chihuahua"]
    files = {"Images/": b""}
    for folder in folders:
        wnid = folder.partition("/")[2].partition("-")[0]
        files |= {f"{folder}/{wnid}_{number}.jpg": image_bytes() for number in range(12)}
    names = [name.removeprefix("Images/") for name in files if name.endswith(".jpg")]
    lists = {}
    for role in ("train", "test"):
        its = [name for name in names if (int(name.rpartition("_")[2][:-4]) < 8) == (role == "train")]
        cells = np.empty((len(its), 1), object)
        for row, name in enumerate(its):
            cells[row, 0] = name
        buffer = io.BytesIO()
        savemat(buffer, {"file_list": cells, "labels": np.ones((len(its), 1))})
        lists[f"{role}_list.mat"] = buffer.getvalue()
    return files, lists


@pytest.fixture
def dogs(site):
    files, lists = breed_archives()
    params = published("stanford_dogs10", site, images=tarred(files), lists=tarred(lists))
    return files, params | {"per_class": {"train": 8, "test": 4}}


def loaded(params, cache, **options):
    return load("pets", cache=cache, entries={"pets": partial(class_folders, **params)}, **options)


def parts(splits):
    return splits.private, splits.public, splits.test


def names(splits):
    return [name for part in parts(splits) for name in part.names]


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


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


# The command


@pytest.fixture
def command(cats, tmp_path, monkeypatch):
    """`harness run --dataset small` with an entry of one's own; what it writes is under the temporary folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def run(*options, params=None):
        entry = {
            "use": "harness.data.sources.archives:class_folders",
            "version": 1,
            "cite": "me",
            "params": params or cats[1],
        }
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"datasets": {"small": entry}}))
        arguments = ["run", "--defense", "mix", "--attack", "look", "--dataset", "small", "--registry", "mine.yaml"]
        return main([*arguments, "--no-utility", "--size", "32", "--records", "records", "--json", *options])

    return run


def test_run_fetches_once_and_offline_afterwards(command, site, capsys):
    assert command() == 0
    first = json.loads(capsys.readouterr().out)
    assert command("--offline", "--dry-run") == 0
    second = json.loads(capsys.readouterr().out)

    assert len(site.requests) == 1
    assert first["cells"][0]["status"] == "ok" and all(item["done"] for item in second["plan"])


def page(site, params, _):
    site.kind = "text/html"


def wrong_checksum(site, params, _):
    params["archives"]["kagglecatsanddogs_5340.zip"]["sha256"] = "0" * 64


def no_such_file(site, params, _):
    params["archives"]["kagglecatsanddogs_5340.zip"]["url"] += ".old"


def no_network(site, params, _):
    params["archives"]["kagglecatsanddogs_5340.zip"]["url"] = "http://127.0.0.1:9/kagglecatsanddogs_5340.zip"


def full_disk(site, params, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage(0, 0, 1_000_000_000))


def link_inside(site, params, _):
    pinned(site, params, tarred({"PetImages/Cat/0.jpg": image_bytes(), "PetImages/Cat/1.jpg": None}))


def path_outside(site, params, _):
    pinned(site, params, zipped({"PetImages/Cat/0.jpg": image_bytes(), "../../escaped.jpg": image_bytes()}))


def bomb(site, params, _):
    params["archives"]["kagglecatsanddogs_5340.zip"]["unpacks_to"] = 100


def other_layout(site, params, _):
    pinned(site, params, zipped({"PetImages/Cat/0.jpg": image_bytes(), "pets/Dog/0.jpg": image_bytes()}))


def pinned(site, params, body):
    site.files["/kagglecatsanddogs_5340.zip"] = body
    params["archives"]["kagglecatsanddogs_5340.zip"] |= {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}


WHOLE = ["kagglecatsanddogs_5340.zip"]  # the archive that was asked for, checked; nothing of it was unpacked
BAD = [
    (page, "sent a web page in place of kagglecatsanddogs_5340.zip", []),
    (wrong_checksum, "expected 000000", []),
    (no_such_file, "404", []),
    (no_network, "cannot be fetched from 127.0.0.1:9", []),
    (full_disk, "1,200.0 MB in", []),
    (link_inside, "'PetImages/Cat/1.jpg', a link or a device", WHOLE),
    (path_outside, "'../../escaped.jpg', which leaves the folder", WHOLE),
    (bomb, "more than the 100 that are expected", WHOLE),
    (other_layout, "has no picture of 'dog' in PetImages/Dog", WHOLE),
]


@pytest.mark.parametrize(("trouble", "words", "left"), BAD, ids=[trouble.__name__ for trouble, *_ in BAD])
def test_bad_archives_are_one_line_and_exit_2(command, cats, site, tmp_path, capsys, monkeypatch, trouble, words, left):
    params = deepcopy(cats[1])
    trouble(site, params, monkeypatch)

    code = command(params=params)

    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if "downloading" not in line and "unpacking" not in line]
    assert code == 2 and said.out == ""
    assert len(lines) == 1 and lines[0].startswith("harness: ") and words in lines[0]
    assert files(tmp_path) == sorted(["mine.yaml", *left])
    assert not list(tmp_path.rglob("*.tmp"))


def test_offline_a_missing_archive_is_named_with_its_place(command, site, tmp_path, capsys):
    code = command("--offline")

    (line,) = capsys.readouterr().err.splitlines()
    folder = tmp_path / "cache/obfuscation-harness/downloads/cats_vs_dogs"
    assert code == 2 and not site.requests and files(tmp_path) == ["mine.yaml"]
    assert line == (
        "harness: cats_vs_dogs: kagglecatsanddogs_5340.zip is not here and --offline downloads nothing; get "
        f"kagglecatsanddogs_5340.zip from {site.url}/kagglecatsanddogs_5340.zip and put it into {folder}"
    )


def test_a_broken_connection_is_resumed_by_the_command(command, site):
    site.script = [2000, 3000]

    assert command("--dry-run") == 0
    assert [asked for _, asked, _ in site.requests] == [None, "bytes=2000-", "bytes=5000-"]


def test_ctrl_c_keeps_the_part_and_no_file_under_the_archives_name(cats, site, tmp_path):
    """In another process, with a real signal, from a server that stops sending."""
    half = len(site.files["/kagglecatsanddogs_5340.zip"]) // 2
    site.script = ["stall"]
    code = (
        "import os, signal, threading, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore it
        "from harness.data import download\n"
        "from pathlib import Path\n"
        f"part = Path({str(tmp_path)!r}) / 'cats.zip.part'\n"
        "def press():\n"
        f"    while not part.exists() or part.stat().st_size < {half}: time.sleep(0.01)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "threading.Thread(target=press, daemon=True).start()\n"
        f"archive = download.Archive('cats.zip', {site.url + '/kagglecatsanddogs_5340.zip'!r}, '0' * 64)\n"
        f"download.fetch(archive, part.parent, 'cats')\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)

    assert "KeyboardInterrupt" in done.stderr
    assert files(tmp_path) == ["cats.zip.part", "cats.zip.part.from"]
    assert (tmp_path / "cats.zip.part").stat().st_size == half


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sha256": "abc"}, "sha256 is 'abc'; expected 64 hex digits"),
        ({"url": "file:///etc/passwd"}, "url is 'file:///etc/passwd'; expected http:// or https://"),
        ({"bytes": "many"}, "bytes is 'many'; expected a whole number of bytes"),
        ({"unpacks_to": 0}, "unpacks_to is 0"),
        ({"md5": "abc"}, "expected a table with url, bytes, sha256 and unpacks_to"),
    ],
)
def test_an_entry_of_ones_own_is_checked(cats, tmp_path, change, words):
    params = deepcopy(cats[1])
    params["archives"]["kagglecatsanddogs_5340.zip"] |= change

    with pytest.raises(HarnessError, match=words):
        loaded(params, tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"per_class": {"train": 3}}, "expected train and test, each a number from 1"),
        ({"per_class": {"train": 3, "test": 0}}, "expected train and test"),
        ({"classes": {"cat": "PetImages/Cat"}}, "class 'cat' is 'PetImages/Cat'; expected a list of folders"),
        ({"classes": {"cat": ["a"], "dog": ["a"]}}, "folder 'a' is in both 'cat' and 'dog'"),
    ],
)
def test_classes_and_counts_of_ones_own_are_checked(cats, site, tmp_path, change, words):
    with pytest.raises(HarnessError, match=words):
        loaded(cats[1] | change, tmp_path)
    assert not site.requests


@pytest.mark.parametrize("change", [{"folder": "../x"}, {"archives": {"a/b.zip": {}}}, {"folder": ""}])
def test_names_that_are_paths_are_refused(cats, tmp_path, change):
    with pytest.raises(HarnessError, match="are names"):
        loaded(cats[1] | change, tmp_path)


@pytest.mark.parametrize(
    ("body", "words"), [(b"not MATLAB", "test_list.mat holds no list of files"), (None, "fix test_list")]
)
def test_an_invalid_test_list_is_one_line(dogs, site, tmp_path, body, words):
    lists = {"other.mat": b""} if body is None else {"test_list.mat": body}
    params = published("stanford_dogs10", site, images=site.files["/images.tar"], lists=tarred(lists))

    with pytest.raises(HarnessError, match=words):
        loaded(params, tmp_path)


def test_offline_forbids_weights_too_and_only_for_the_command(monkeypatch):
    from harness.system.offline import forbid_downloads, offline
    from harness.train.pretrained import may_download

    monkeypatch.setenv("HARNESS_DOWNLOAD", "1")
    with forbid_downloads(True):
        inside = offline(), may_download()
    with forbid_downloads(False):
        beside = offline(), may_download()

    assert inside == (True, False) and beside == (offline(), may_download()) == (False, True)
