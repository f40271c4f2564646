"""`harness preview`: a contact sheet of originals and their releases by each defense, with dSSIM and dHaar.

With attacks, every original has further rows: the best reconstruction by each attack.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from harness.client.client import Client
from harness.errors import HarnessError, Inapplicable, NotConverged, Skipped
from harness.images import to_images
from harness.leaderboard.format import settings, short
from harness.randomness import derive, root_of, torch_generator
from harness.registry import Entry, bind
from harness.scores import judged, label

if TYPE_CHECKING:
    from harness.types import Array, Bytes, Release, Secret

TILE = 128  # pixels at least: smaller images are enlarged by a whole factor, pixel by pixel
GAP, LINE, SMALL, LARGE = 8, 15, 11, 13  # pixels; heights of text
INK, GREY = "#222222", "#6b6b6b"


def check(out: Path, images: int, attacks: Sequence[Entry]) -> None:
    """Refuse a wrong file name or an attack that makes no images, before anything is computed."""
    if out.suffix.lower() != ".png":
        raise HarnessError(f"sheet {out}: expected a name that ends in .png")
    if not out.parent.is_dir():
        raise HarnessError(f"sheet {out}: there is no folder {out.parent}; make it, or name another with --out")
    for attack in attacks:
        if attack.kind != "reconstruction":
            raise HarnessError(
                f"attack {attack.name} is of kind {attack.kind} and makes no pictures; use multi_release, say"
            )


def draw(client: Client, defenses: Sequence[Entry], attacks: Sequence[Entry], count: int, out: Path) -> int:
    """Write the sheet. Returns the number of originals on it."""
    private = client.splits.private
    if count > len(private):
        raise HarnessError(
            f"{count} images are more than the {len(private)} private ones; use --images {len(private)} or fewer"
        )
    for defense in defenses:
        client.check(defense)
    released = [client.release(defense, 0, 0) for defense in defenses]  # in scratch files where they are large
    rows = _shown_rows([secret for _, secret in released], len(private), count)
    columns = [_column(client, defense, *pair, attacks, rows) for defense, pair in zip(defenses, released, strict=True)]
    sheet = _Sheet(client.splits.size, len(defenses) + 1, count, 1 + len(attacks))
    sheet.column_title(0, "original", "")
    for place, defense in enumerate(defenses, 1):
        sheet.column_title(place, defense.name, settings({**defense.params, **_weights(defense)}))
    for line, row in enumerate(rows):
        sheet.tile(0, line, 0, private.images[row], private.classes[private.labels[row]])
        for depth, attack in enumerate(attacks, 1):
            sheet.text(0, line, depth, f"after {attack.name}")
        for place, column in enumerate(columns, 1):
            for depth, tiles in enumerate(column):
                sheet.tile(place, line, depth, *tiles[line])
    sheet.save(out)
    return count


def _shown_rows(secrets: Sequence[Secret], originals: int, count: int) -> Array:
    """The first originals, in their order by content, that dominate a release of as many defenses as possible."""
    dominating = np.zeros(originals, int)
    for secret in secrets:
        dominating[np.unique(secret.dominant_rows)] += 1
    return np.sort(np.argsort(-dominating, kind="stable")[:count])


def _weights(defense: Entry) -> dict[str, object]:
    return {"weights": (defense.mixing or {})["weights"]}


def _column(
    client: Client, defense: Entry, release: Release, secret: Secret, attacks: Sequence[Entry], originals: Array
) -> list[list[tuple[Array | None, str]]]:
    """Of one defense: per depth (release, then attacks), per original, an image and its caption."""
    first = {int(original): row for row, original in reversed(list(enumerate(secret.dominant_rows)))}
    depths: list[list[tuple[Array | None, str]]] = [
        [captioned(client, release.images[first[o]], o) if o in first else (None, "in no release") for o in originals]
    ]
    for attack in attacks:
        try:
            guesses = reconstructed(client, defense, attack)
        except (Inapplicable, NotConverged, Skipped) as reason:
            depths.append([(None, type(reason).__name__.lower()) for _ in originals])
            continue
        depths.append(
            [best(client, guesses[first[o]], o) if first.get(o) in guesses else (None, "-") for o in originals]
        )
    return depths


def reconstructed(client: Client, defense: Entry, attack: Entry, seed: int = 0) -> dict[int, Bytes]:
    """Row of the release -> (M, 3, H, W) candidates."""
    observation = client.observe(defense, attack, seed)
    guess = bind(attack)(observation, torch_generator(derive(root_of(seed), "attack", attack.name), client.device))
    if guess.releases is not None:
        named = zip(guess.releases, guess.candidates, strict=True)
        return {int(row): candidates for (release, row), candidates in named if release == 0}
    rows = observation.targets if len(guess.candidates) == len(observation.targets) else range(len(guess.candidates))
    return dict(zip(map(int, rows), guess.candidates, strict=True))


def best(client: Client, candidates: Bytes, original: int) -> tuple[Array, str]:
    """The candidate that is nearest to the original, as the evaluator chooses it."""
    return min((captioned(client, candidate, original) for candidate in candidates), key=lambda shown: shown[1])


def captioned(client: Client, picture: Bytes, original: int) -> tuple[Array, str]:
    """The pixels, and their distances to the original in words."""
    truth = to_images(torch.from_numpy(client.splits.private.images[original : original + 1].copy()))
    image = to_images(picture[None].cpu())
    distances = {name: float(bind(client.registry.get("metrics", name))(image, truth)) for name in judged()}
    return picture.cpu().numpy(), "  ".join(f"{label(name)} {short(value)}" for name, value in distances.items())


class _Sheet:
    """A white page: a title per column, and for every original a row of tiles, several deep with attacks."""

    def __init__(self, size: tuple[int, int], columns: int, rows: int, depths: int) -> None:
        height, width = size
        self._scale = max(1, -(-TILE // min(size)))
        self._tile = (width * self._scale, height * self._scale)
        self._step = (self._tile[0] + GAP, self._tile[1] + LINE + GAP)
        self._depths = depths
        self._top = GAP + 4 * LINE
        self._page = Image.new("RGB", (columns * self._step[0] + GAP, self._top + rows * self._block()), "white")
        self._pen = ImageDraw.Draw(self._page)
        self._fonts = {height: ImageFont.load_default(height) for height in (SMALL, LARGE)}

    def _block(self) -> int:
        return self._depths * self._step[1] + GAP

    def _corner(self, column: int, row: int, depth: int) -> tuple[int, int]:
        return GAP + column * self._step[0], self._top + row * self._block() + depth * self._step[1]

    def column_title(self, column: int, title: str, below: str) -> None:
        x = GAP + column * self._step[0]
        self._write(x, GAP, title, LARGE, INK)
        for line, words in enumerate(self._wrapped(below)[:3], 1):
            self._write(x, GAP + line * LINE, words, SMALL, GREY)

    def text(self, column: int, row: int, depth: int, text: str) -> None:
        self._write(*self._corner(column, row, depth), text, SMALL, GREY)

    def tile(self, column: int, row: int, depth: int, picture: Array | None, below: str) -> None:
        x, y = self._corner(column, row, depth)
        if picture is None:
            self._pen.rectangle((x, y, x + self._tile[0] - 1, y + self._tile[1] - 1), outline=GREY)
        else:
            pixels = Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0)))
            self._page.paste(pixels.resize(self._tile, Image.Resampling.NEAREST), (x, y))
        self._write(x, y + self._tile[1] + 1, below, SMALL, INK)

    def save(self, file: Path) -> None:
        try:
            self._page.save(file, "PNG")
        except OSError as error:
            raise HarnessError(f"sheet {file}: {error.strerror or error}; name another with --out") from None

    def _wrapped(self, text: str) -> list[str]:
        lines: list[str] = []
        for word in text.split():
            longer = f"{lines[-1]}  {word}" if lines else word
            if lines and self._pen.textlength(longer, self._fonts[SMALL]) <= self._tile[0]:
                lines[-1] = longer
            else:
                lines.append(word)
        return lines

    def _write(self, x: int, y: int, text: str, height: int, colour: str) -> None:
        self._pen.text((x, y), text, fill=colour, font=self._fonts[height])
