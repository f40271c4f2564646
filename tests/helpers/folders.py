"""Small folders of images, what is loaded from them and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from harness.data.load import load
from harness.errors import HarnessError

RNG = np.random.default_rng(0)


def noise(height=16, width=16):
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def write(path, pixels=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise() if pixels is None else pixels).save(path)
    return path


def tree(root, counts, prefixes=("",)):
    for prefix in prefixes:
        for label, count in counts.items():
            for number in range(count):
                write(root / prefix / label / f"{number:03}.png")
    return root


def parts(splits):
    return splits.private, splits.public, splits.test


def sizes(splits):
    return [len(part) for part in parts(splits)]


def refusal(*args, **knobs):
    with pytest.raises(HarnessError) as caught:
        load(*args, **knobs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])
