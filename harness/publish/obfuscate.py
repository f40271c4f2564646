"""`harness obfuscate`: turn a client's folder into a folder of PNG files to publish, and a secret to keep.

Everything in the folder is private and is released R times. Of a file only its class is published: names are
random numbers, files contain pixels alone and are written in the order of those numbers, all times are the same.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from harness import __version__
from harness.client.client import check_scheme, scheme_of
from harness.data import splits
from harness.data.decode import decode_into, map_images
from harness.data.image_folder import image_folder
from harness.errors import HarnessError
from harness.publish.release_files import file_names, set_equal_times, write_images, write_labels, write_secret
from harness.randomness import derive
from harness.registry import Entry, Registry
from harness.release import Scheme, obfuscate
from harness.system.device import use_threads
from harness.system.files import new_folder

if TYPE_CHECKING:
    from harness.data.decode import LazyImage
    from harness.types import Array, Progress, Secret


@dataclass(frozen=True)
class Originals:
    """The client's images, decoded.

    images  (N, 3, H, W) uint8
    labels  (N,) int64, positions in `classes`
    names   (N,) paths relative to the folder
    """

    images: Array
    labels: Array
    names: list[str]
    classes: list[str]


def publish(
    defense: Entry,
    registry: Registry,
    folder: Path,
    out: Path,
    secret: Path,
    *,
    releases: int,
    root: bytes,
    size: int | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> int:
    """Write `releases` releases of a folder `<class>/*` and, apart from them, the secret. Returns the number of images.

    out       `out/epoch_000/<class>/<number>.png`; with soft labels `out/epoch_000/<number>.png` and `out/labels.csv`
    secret    an .npz of mode 0600: `epoch` (M,) the number of the release, `file` (M,) relative to `out`, `sources`
              (M, k) original relative paths, `weights` (M, k), `dominant` (M,) the column that gave the label, `root`
              16 bytes, `about` JSON
    root      128 bits from which everything random descends; must come from the operating system
    size      the shorter side in pixels, then a centre crop; None: images as they are, all of one size
    """
    out, secret = Path(out).resolve(), Path(secret).absolute()
    check_paths(out, secret)
    pictures = private_pictures(Path(folder))
    scheme = scheme_of(defense, registry)
    arrays: dict[str, Array] = {}
    try:
        with tempfile.TemporaryFile() as scratch, new_folder(out) as folder_in_progress:
            originals = _decode(pictures, size, scratch, progress)
            height, width = originals.images.shape[2:]
            check_scheme(scheme, originals.labels, (height, width))
            ledger = _release_all(scheme, originals, folder_in_progress, releases, root, device, progress)
            about = json.dumps(_about(defense, (height, width), device))
            arrays = {**ledger, "root": np.frombuffer(root, np.uint8), "about": np.array(about)}
            write_secret(secret, arrays)
    except BaseException:
        if arrays and not (out / arrays["file"][0]).exists():  # the folder was not renamed to `out`
            secret.unlink(missing_ok=True)
        raise
    return len(arrays["file"])


def _release_all(
    scheme: Scheme,
    originals: Originals,
    out: Path,
    releases: int,
    root: bytes,
    device: str,
    progress: Progress | None,
) -> dict[str, Array]:
    """Write every release's files; the arrays of the secret: which file holds what."""
    threads = use_threads()
    ledger: dict[str, list[Array]] = {name: [] for name in ("epoch", "file", "sources", "weights", "dominant")}
    soft: list[Array] = []
    for number in range(releases):
        if progress:
            progress("releasing", number, releases)
        key = derive(root, "release", number)
        release, drawn = obfuscate(scheme, originals.images, originals.labels, len(originals.classes), key, device)
        files = file_names(release, originals.classes, number, derive(root, "names", number))
        write_images(out, files, release, threads)
        _add_to_ledger(ledger, number, files, drawn, originals.names)
        if release.labels.ndim == 2:
            soft.append(release.labels.cpu().numpy())
    joined = {name: np.concatenate(parts) for name, parts in ledger.items()}
    if soft:
        write_labels(out / "labels.csv", joined["file"], np.concatenate(soft), originals.classes)
    set_equal_times(out)
    if progress:
        progress("releasing", releases, releases)
    return joined


def check_paths(out: Path, secret: Path) -> None:
    """Refuse paths that would overwrite something, mix two runs, or publish the secret."""
    for what, place in (("output folder", out), ("secret", secret)):
        if not place.parent.is_dir():
            raise HarnessError(f"{what} {place}: there is no folder {place.parent}; make it first")
    if out.exists() and not out.is_dir():
        raise HarnessError(f"output folder {out} is a file; name a folder that is empty or not there")
    if out.is_dir() and any(out.iterdir()):
        raise HarnessError(
            f"output folder {out} is not empty; name one that is empty or not there (two runs never mix)"
        )
    inside = secret.parent.resolve() / secret.name
    if out in (inside, *inside.parents):
        raise HarnessError(f"secret {secret} lies inside the release {out}; keep it outside, it undoes the release")
    if secret.exists() or secret.is_symlink():
        raise HarnessError(f"secret {secret} is there already and may belong to a release; name another file")


def private_pictures(folder: Path) -> list[LazyImage]:
    """Every image of a folder `<class>/*`. Refuses one with train/ or test/ roles: all of a folder is released."""
    for role in (splits.TRAIN, splits.TEST):
        if (folder / role).is_dir() and any(path.is_dir() for path in (folder / role).iterdir()):
            raise HarnessError(
                f"{folder} holds {role}/ with classes in it, and obfuscate releases all of a folder; "
                f"pass {folder / splits.TRAIN}, and keep test images to yourself"
            )
    return image_folder(folder)


def _decode(pictures: list[LazyImage], size: int | None, scratch: IO[bytes], progress: Progress | None) -> Originals:
    """Decode the images into an unnamed file, so that no copy remains even after a crash."""
    pictures = sorted(pictures, key=lambda picture: picture.name)
    try:
        facts = decode_into(scratch, pictures, size, progress)
        images = map_images(scratch, facts["shape"])
    except OSError as error:
        raise HarnessError(f"no scratch space: {error.strerror}; set TMPDIR to a larger disk") from None
    readable = [pictures[row] for row in facts["rows"]]
    classes = sorted({picture.label for picture in pictures})
    labels = np.array([classes.index(picture.label) for picture in readable], np.int64)
    return Originals(images, labels, [picture.name for picture in readable], classes)


def _add_to_ledger(ledger: dict[str, list[Array]], number: int, files: Array, secret: Secret, names: list[str]) -> None:
    ledger["epoch"].append(np.full(len(files), number, np.int64))
    ledger["file"].append(files)
    ledger["sources"].append(np.array(names)[secret.sources])
    ledger["weights"].append(secret.shares)
    ledger["dominant"].append(secret.dominant.astype(np.int64))


def _about(defense: Entry, size: tuple[int, int], device: str) -> dict[str, Any]:
    """The settings that make the same release from the same files and the root."""
    return {
        "harness": __version__,
        "defense": defense.name,
        "version": defense.version,
        "params": defense.params,
        "mixing": defense.mixing,
        "height": size[0],
        "width": size[1],
        "device": device,
    }
