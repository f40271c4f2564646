"""A client's own release (`harness obfuscate`) as a challenge, from its folder, its secret and the originals.

The release is made again from the originals and the secret, and must equal the one in the folder in every name and
pixel.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np

from harness.data.decode import decode_into, map_images
from harness.errors import HarnessError
from harness.publish.challenge import HASH, Challenge, SecretRootBench, folder_hash, pixels_of
from harness.publish.obfuscate import private_pictures
from harness.publish.release_files import file_names, png_files
from harness.publish.secret_file import AboutRelease, read_release_secret
from harness.randomness import derive
from harness.records import Records
from harness.registry import Registry
from harness.system.device import choose_device, use_threads
from harness.system.scratch import temporary_folder
from harness.types import Array, Dataset, Release, Splits


def challenge_of_published(
    folder: Path, secret: Path, originals: Path, registry: Registry, records: Records
) -> Challenge:
    """The release in `folder`.

    Raises HarnessError where it is not, in every name and pixel, what the secret makes of these originals.
    """
    held = read_release_secret(secret)
    about = held.about
    defense = registry.get("defenses", about.defense)
    if about.version != defense.version:
        raise HarnessError(
            f"secret {secret}: made by version {about.version} of {defense.name}, and this is {defense.version}; "
            f"score it with harness {about.harness}"
        )
    defense = defense.with_settings({**about.params, **(about.mixing or {})})
    splits = _splits(originals, about, name=Path(os.path.realpath(originals)).name)
    device = choose_device(about.device)
    bench = SecretRootBench(
        splits,
        registry,
        records,
        device,
        held.releases,
        len(splits.private),
        use_threads(1 if device == "cpu" else None),
        root=held.root,
    )
    bench.client.check(defense)
    release, epoch_secret = bench.client.release(defense, 0, 0)
    files = file_names(release, list(splits.classes), 0, derive(held.root, "names", 0))
    _check_files(folder, held.files, files, release)
    digest = folder_hash(folder)
    return Challenge(bench, defense, 0, tuple(files.tolist()), release, epoch_secret, digest, published=True)


def _splits(folder: Path, about: AboutRelease, name: str) -> Splits:
    """All images of a folder in the private role, in the order in which they were released."""
    pictures = sorted(private_pictures(folder), key=lambda picture: picture.name)
    size = about.height if about.height == about.width else None
    with tempfile.TemporaryFile(dir=temporary_folder()) as scratch:
        facts = decode_into(scratch, pictures, size, None)
        images = np.array(map_images(scratch, facts["shape"]))
    read = [pictures[row] for row in facts["rows"]]
    classes = tuple(sorted({picture.label for picture in pictures}))
    labels = np.array([classes.index(picture.label) for picture in read], np.int64)
    hashes = np.array(facts["hashes"], "S32")
    private = Dataset(images, labels, hashes, tuple(picture.name for picture in read), classes)
    empty = private.take(np.array([], np.int64))
    content = hashlib.sha256(b"published" + hashes.tobytes() + labels.tobytes()).hexdigest()[:HASH]
    return Splits(name, private, empty, empty, fingerprint=content)


def _check_files(folder: Path, listed: list[str], files: Array, release: Release) -> None:
    present = set(png_files(folder))
    if present != set(listed):
        missing, unknown = sorted(set(listed) - present), sorted(present - set(listed))
        first = f"{missing[0]} is missing" if missing else f"{unknown[0]} is not in the secret"
        raise HarnessError(
            f"release {folder}: {len(present)} files, and the secret lists {len(listed)} ({first}); "
            "give the folder that belongs to the secret, as it was published"
        )
    for file, image in zip(files.tolist(), release.images.cpu().numpy(), strict=True):
        if file not in present or not np.array_equal(pixels_of(folder / file), image):
            raise HarnessError(
                f"release {folder}: {file} is not what the secret makes of these originals; give the originals and the "
                "files as they were, and the harness that released them"
            )
