"""Whom every embedding names after a change of the picture: the table of docs/boards-and-statistics.md.

    python experiments/embeddings.py ../shared/datasets/imagenette10_96

Rank 1 of 300 changed originals in a gallery of these and 400 test images, 64 px, chance 1/700. A scheme's releases are
looked up by their dominant source.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.nn import functional

from harness.client.client import scheme_of
from harness.data.load import load
from harness.images import to_bytes, to_images
from harness.registry import bind, load_registry
from harness.release import obfuscate
from harness.report.markdown import grid
from harness.scores import embeddings
from harness.types import Array, Bytes, Generator, Images

SIZE, ORIGINALS, GALLERY = 64, 300, 700
SCHEMES = ("mix", "shuffle_mix", "noise_mix", "pixelize_mix", "blur_mix", "graft_mix")
HEADS = {
    "identity": "thumbnails",
    "identity_invariant": "invariant",
    "identity_histogram": "histogram",
    "identity_local": "local",
}

Change = Callable[[Images, Generator], Images]


def each(change: Callable[[torch.Tensor, Generator], torch.Tensor]) -> Change:
    """The same change of every image, with random numbers of its own."""
    return lambda images, rng: torch.stack([change(image, rng) for image in images])


def drawn(most: int, rng: Generator) -> int:
    """A whole number below `most`."""
    return int(torch.randint(most, (1,), generator=rng))


def recoloured(images: Images, rng: Generator) -> Images:
    """Each channel to a power of its own, from 1/2.8 to 2.8, in a random order."""
    powers = 2 ** (torch.rand(len(images), 3, 1, 1, generator=rng) * 3 - 1.5)
    order = torch.rand(len(images), 3, generator=rng).argsort(1)
    return (images.clamp(0, 1) ** powers)[torch.arange(len(images))[:, None], order]


def shifted(image: torch.Tensor, rng: Generator) -> torch.Tensor:
    return image.roll((drawn(image.shape[1], rng), drawn(image.shape[2], rng)), (1, 2))


def posed(image: torch.Tensor, rng: Generator) -> torch.Tensor:
    image = image.rot90(drawn(4, rng), (1, 2))
    return shifted(image.flip(2) if drawn(2, rng) else image, rng)


def contrast(images: Images, rng: Generator) -> Images:
    gain, offset = (torch.rand(len(images), 3, 1, 1, generator=rng) for _ in range(2))
    return (images - 0.5) * (0.4 + gain) + 0.3 + 0.4 * offset


def turned(images: Images, rng: Generator) -> Images:
    angle = (torch.rand(len(images), generator=rng) * 70 + 10) * math.pi / 180
    cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros(len(images))
    matrix = torch.stack([torch.stack([cosine, -sine, zero], 1), torch.stack([sine, cosine, zero], 1)], 1)
    places = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    return functional.grid_sample(images, places, padding_mode="reflection", align_corners=False)


def enlarged(images: Images, rng: Generator) -> Images:
    """A part at 1.5 times the size."""
    height, width = images.shape[2:]
    large = functional.interpolate(images, scale_factor=1.5, mode="bilinear")
    corners = [(drawn(height // 2 + 1, rng), drawn(width // 2 + 1, rng)) for _ in large]
    return torch.stack([one[:, a : a + height, b : b + width] for one, (a, b) in zip(large, corners, strict=True)])


def in_perspective(image: torch.Tensor, rng: Generator) -> torch.Tensor:
    """Its corners moved by at most a quarter of its side."""
    side = image.shape[2]
    corners = np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float32)
    moved = (torch.rand(4, 2, generator=rng).numpy() - 0.5) * side / 2
    matrix = cv2.getPerspectiveTransform(corners, (corners + moved).astype(np.float32))
    pixels = cv2.warpPerspective(image.permute(1, 2, 0).numpy(), matrix, (side, side), borderMode=cv2.BORDER_REFLECT)
    return torch.from_numpy(pixels).permute(2, 0, 1)


def placed(images: Images, grounds: Images, rng: Generator) -> Images:
    """Images at half the size somewhere upon `grounds`."""
    height, width = images.shape[2] // 2, images.shape[3] // 2
    for ground, small in zip(grounds, functional.avg_pool2d(images, 2), strict=True):
        a, b = drawn(height + 1, rng), drawn(width + 1, rng)
        ground[:, a : a + height, b : b + width] = small
    return grounds


def among_dots(images: Images, rng: Generator) -> Images:
    """Upon a wallpaper of black and white dots, 6 px apart, which are the strongest keypoints."""
    height, width = images.shape[2:]
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    dot = ((rows % 6 - 3) ** 2 + (columns % 6 - 3) ** 2) <= 4
    colours = torch.rand(len(images), 1, height // 6 + 1, width // 6 + 1, generator=rng).round()
    colours = colours.repeat_interleave(6, 2).repeat_interleave(6, 3)[:, :, :height, :width]
    return placed(images, torch.where(dot, colours, 0.5).repeat(1, 3, 1, 1), rng)


def within_noise(images: Images, rng: Generator) -> Images:
    return placed(recoloured(images, rng), torch.rand(images.shape, generator=rng), rng)


def permuted(image: torch.Tensor, rng: Generator) -> torch.Tensor:
    return image.flatten(1)[:, torch.randperm(image[0].numel(), generator=rng)].view_as(image)


CHANGES: dict[str, Change] = {
    "as it is": lambda images, rng: images,
    "random circular shift": each(shifted),
    "turned, mirrored and shifted": each(posed),
    "inverted": lambda images, rng: 1 - images,
    "contrast and brightness of each channel": contrast,
    "half the size, tiled 2 x 2, fresh colours of each channel": lambda images, rng: recoloured(
        functional.avg_pool2d(images, 2).repeat(1, 1, 2, 2), rng
    ),
    "turned by 10 to 80 degrees, fresh colours": lambda images, rng: recoloured(turned(images, rng), rng),
    "a part at 1.5 times the size, fresh colours": lambda images, rng: recoloured(enlarged(images, rng), rng),
    "in perspective, fresh colours": lambda images, rng: recoloured(each(in_perspective)(images, rng), rng),
    "half the size among black and white dots": among_dots,
    "half the size within noise, fresh colours": within_noise,
    "pixels permuted at random": each(permuted),
    "its mean colour alone": lambda images, rng: images.mean((2, 3), keepdim=True).expand_as(images),
    "uniform noise": lambda images, rng: torch.rand(images.shape, generator=rng),
    "one grey": lambda images, rng: torch.full_like(images, 0.5),
}


def shown(folder: str) -> Iterator[tuple[str, Bytes, Bytes, Array]]:
    """Name, (300, 3, H, W) uint8 that is looked up, the gallery, and the place of each image's original."""
    registry, splits = load_registry(), load(folder, size=SIZE)
    originals = splits.private.images[:ORIGINALS].copy()
    known = torch.from_numpy(np.concatenate([originals, splits.test.images[: GALLERY - ORIGINALS]]))
    own, everyone = torch.from_numpy(originals), np.arange(ORIGINALS)
    for name, change in CHANGES.items():
        yield name, to_bytes(change(to_images(own), torch.Generator().manual_seed(0)).contiguous()), known, everyone
    for name in SCHEMES:
        scheme = scheme_of(registry.get("defenses", name), registry)
        labels = splits.private.labels[:ORIGINALS]
        release, secret = obfuscate(scheme, originals, labels, len(splits.classes), b"embeddings", "cpu")
        yield f"`{name}`", release.images, known, secret.sources[np.arange(ORIGINALS), secret.dominant]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("dataset", type=Path)
    given = arguments.parse_args()
    registry, rows = load_registry(), []
    for name, images, gallery, truth in shown(str(given.dataset)):
        found = []
        for embedding in embeddings():
            likeness = bind(registry.get("evaluators", embedding))(images[:, None], gallery, "cpu")[:, 0]
            found.append(f"{float((likeness.argmax(1).numpy() == truth).mean()):.3f}".removeprefix("0"))
        rows.append([name, *found])
        print(rows[-1], flush=True)
    print(grid(["image", *(HEADS.get(name, name) for name in embeddings())], rows))


if __name__ == "__main__":
    main()
