"""Cats vs Dogs and Stanford Dogs, as small archives of the same layout."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from copy import deepcopy
from functools import partial

import numpy as np
from PIL import Image
from scipy.io import savemat

from harness.data.load import load
from harness.data.sources.archives import class_folders
from harness.registry import load_registry
from tests.helpers.folders import parts

RNG = np.random.default_rng(3)
BREEDS = ["basset", "german_shepherd", "golden_retriever", "husky", "pembroke", "poodle", "pug", "rottweiler"]
BREEDS += ["saint_bernard", "whippet"]


def image_bytes(side=20):
    buffer = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (side, side + 4, 3), dtype=np.uint8)).save(buffer, "JPEG")
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


def loaded(params, cache, **options):
    return load("pets", cache=cache, entries={"pets": partial(class_folders, **params)}, **options)


def names(splits):
    return [name for part in parts(splits) for name in part.names]


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())
