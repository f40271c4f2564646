"""Pictures of a data set, and what outside authors submit for a release: tables of scores, arrays, pictures."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz import mutations
from tests.fuzz.inputs import Input
from tests.fuzz.material import SIDE, Material, picture
from tests.fuzz.mutations import mutated_arrays, mutated_bytes, mutated_tree, npz

FILES = [f"epoch_000/{n:06d}.png" for n in range(30)]
NAMES = ["a", "b", "c"]
KINDS = ("PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP")
SUFFIXES = ("png", "jpg", "bmp", "tif", "gif", "webp")
MODES = ("RGB", "L", "RGBA", "P", "1", "I;16", "I", "F", "CMYK", "LA", "YCbCr")
CLAIMS = ((60000, 60000), (30000, 30000), (2**31 - 1, 1), (1, 2**31 - 1), (0, 0), (16, 16))
STRANGE_NAMES = (".DS_Store", "._000001.png", "x.png", "Thumbs.db", "a b.png", "ü.png", "000001.PNG")


def image_bytes(rng: random.Random) -> bytes:
    """A small picture in some format and mode, mostly damaged."""
    if rng.random() < 0.03:
        return mutations.png_claiming(*rng.choice(CLAIMS))
    kind = rng.choice(KINDS)
    image = picture(rng.randrange(9), rng.choice(((16, 16), (16, 16), (17, 9), (1, 1), (64, 16))))
    stream = io.BytesIO()
    try:
        image.convert(rng.choice(MODES)).save(stream, kind, exif=rng.choice((b"", b"Exif\0\0II*\0\x08\0\0\0\x01\0")))
    except (OSError, ValueError, KeyError, TypeError):
        stream = io.BytesIO()
        image.save(stream, kind)
    return mutated_bytes(stream.getvalue(), rng) if rng.random() < 0.9 else stream.getvalue()


def image(rng: random.Random, place: Path, material: Material) -> Input:
    """Two classes of pictures, one of them damaged; the loader decodes all."""
    folder = place / "set"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for n in range(3):
            (folder / name / f"{n}.png").write_bytes((material.pictures / name / f"{n:03d}.png").read_bytes())
    damaged = folder / "a" / f"x.{rng.choice(SUFFIXES)}"
    damaged.write_bytes(image_bytes(rng))
    size = rng.choice((None, 16, 8))

    def call() -> None:
        from harness.data.decode import decode_into
        from harness.data.image_folder import image_folder

        pictures = sorted(image_folder(folder), key=lambda each: each.name)
        decode_into(io.BytesIO(), pictures, size, None)

    options = ["--size", str(size)] if size else []
    out = ["--out", str(place / "out"), "--secret", str(place / "s.npz")]
    commands = (
        ["obfuscate", "--defense", "mix", "--dataset", str(folder), *out, *options],
        ["measure", str(damaged), str(folder / "b" / "0.png")],
        ["preview", "--defense", "mix", "--dataset", str(folder), "--out", str(place / "p.png"), *options],
    )
    return Input(call, rng.choice(commands))


def submission(rng: random.Random, place: Path, material: Material) -> Input:
    from harness.publish.submission import read_reconstructions, read_scores

    maker, scores = rng.choice(((_csv, True), (_scores_npz, True), (_guesses_npz, False), (_guesses_folder, False)))
    path = maker(rng, place)
    if scores:
        call: Callable[[], object] = partial(read_scores, path, FILES, NAMES)
    else:
        call = partial(read_reconstructions, path, FILES, (SIDE, SIDE), 2)
    row = ["--defense", "mix", "--dataset", str(material.pictures), "--epochs", "1", "--records", str(material.records)]
    what = "--scores" if scores else "--reconstructions"
    secret = ["--secret", str(material.root / "challenge.secret.npz")]
    return Input(call, ["external", "score", *row, *secret, "--name", "Doe", what, str(path)])


def _csv(rng: random.Random, place: Path) -> Path:
    rows: Any = [["file", *NAMES], *([name, "0.2", "0.3", "0.5"] for name in FILES)]
    rows = mutated_tree(rows, rng)
    if isinstance(rows, list):
        text = "\n".join(",".join(map(_cell, row)) if isinstance(row, list) else _cell(row) for row in rows)
    else:
        text = _cell(rows)
    content = text.encode("utf-8", "surrogatepass")
    path = place / rng.choice(("scores.csv", "scores.txt", "scores"))
    path.write_bytes(mutated_bytes(content, rng) if rng.random() < 0.4 else content)
    return path


def _cell(value: Any) -> str:
    try:
        return str(value)[:200_000]
    except (RecursionError, ValueError):  # ValueError: an integer of more digits than Python prints
        return "9" * 5000


def _scores_npz(rng: random.Random, place: Path) -> Path:
    arrays = {"files": np.array(FILES), "classes": np.array(NAMES), "scores": np.full((len(FILES), 3), 0.3)}
    return _npz_file(rng, place, arrays)


def _guesses_npz(rng: random.Random, place: Path) -> Path:
    shape = (len(FILES), rng.choice((1, 2, 3)), 3, SIDE, SIDE)
    return _npz_file(rng, place, {"files": np.array(FILES), "candidates": np.zeros(shape, np.uint8)})


def _npz_file(rng: random.Random, place: Path, arrays: dict[str, Any]) -> Path:
    if rng.random() < 0.3:
        arrays["release"] = np.array(rng.choice(("0" * 32, "x", "")))
    content = npz(mutated_arrays(arrays, rng), rng)
    path = place / "submission.npz"
    path.write_bytes(mutated_bytes(content, rng) if rng.random() < 0.2 else content)
    return path


def _guesses_folder(rng: random.Random, place: Path) -> Path:
    folder = place / "guesses"
    folder.mkdir()
    stream = io.BytesIO()
    picture(1).save(stream, "PNG")
    for file in FILES:
        (folder / Path(file).name).write_bytes(stream.getvalue())
    for _ in range(rng.randint(1, 3)):
        path = folder / Path(rng.choice(FILES)).name
        change = rng.randrange(8)
        if change < 2:
            path.unlink(missing_ok=True)
        if change == 1:
            (folder / f"{path.stem}_{rng.choice(('1', '0', '99', '-1', 'x'))}.png").write_bytes(stream.getvalue())
        elif change == 2:
            path.unlink(missing_ok=True)
            rng.choice((path.mkdir, partial(path.symlink_to, path), partial(path.symlink_to, "/dev/zero")))()
            break
        elif change == 3:
            path.write_bytes(mutations.png_claiming(*rng.choice(CLAIMS)))
        elif change == 4:
            path.write_bytes(image_bytes(rng))
        elif change == 5:
            (folder / rng.choice(STRANGE_NAMES)).write_bytes(b"x")
        else:
            path.write_bytes(mutated_bytes(stream.getvalue(), rng))
    return folder
