"""What the inputs are mutations of: a tiny data set, its records, a client's release and its secret."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness.cli import main
from harness.records import provenance
from harness.registry import Registry, load_registry

CLASSES = ("a", "b", "c")
EACH, SIDE = 10, 16


@dataclass(frozen=True)
class Material:
    """Valid inputs below `root`; every property is made when it is first needed, and is never written to."""

    root: Path

    @cached_property
    def registry(self) -> Registry:
        return load_registry()

    @cached_property
    def code(self) -> Any:
        return provenance.CodeAtHand(self.registry)

    @cached_property
    def pictures(self) -> Path:
        """A class folder of small synthetic pictures."""
        folder = self.root / "tiny"
        for c, name in enumerate(CLASSES):
            (folder / name).mkdir(parents=True, exist_ok=True)
            for i in range(EACH):
                picture(c * EACH + i).save(folder / name / f"{i:03d}.png")
        return folder

    @cached_property
    def records(self) -> Path:
        """Records of two defenses and one attack."""
        folder = self.root / "records"
        command = ["run", "--defense", "none,mix", "--attack", "look", "--dataset", str(self.pictures), "--epochs", "1"]
        quiet([*command, "--no-utility", "--workers", "1", "--records", str(folder)])
        return folder

    @cached_property
    def release(self) -> tuple[Path, Path]:
        """A client's release of the pictures, and its secret."""
        out, secret = self.root / "release", self.root / "secret.npz"
        command = ["obfuscate", "--defense", "mix", "--dataset", str(self.pictures), "--out", str(out)]
        quiet([*command, "--secret", str(secret)])
        return out, secret

    @cached_property
    def challenge(self) -> Path:
        """The secret of a challenge of one row."""
        out, secret = self.root / "challenge", self.root / "challenge.secret.npz"
        row = ["--defense", "mix", "--dataset", str(self.pictures), "--epochs", "1"]
        quiet(["external", "release", *row, "--out", str(out)])
        return secret

    @cached_property
    def secret(self) -> dict[str, Any]:
        with np.load(self.release[1]) as held:
            return {name: held[name] for name in held.files}


def picture(seed: int, size: tuple[int, int] = (SIDE, SIDE)) -> Image.Image:
    low = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(low).resize(size, Image.Resampling.BICUBIC)


def quiet(arguments: Sequence[str]) -> None:
    """A command that must succeed, without what it prints."""
    with silence() as said:
        code = main(arguments)
    assert code == 0, f"harness {' '.join(arguments)}: exit {code}: {said.getvalue()}"


@contextlib.contextmanager
def silence() -> Iterator[io.StringIO]:
    """Both streams in a buffer."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        yield said


@contextlib.contextmanager
def within(folder: Path) -> Iterator[None]:
    """The current folder for a while."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
