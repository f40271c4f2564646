"""`harness measure A B`: the metrics between two images, or between the images of two folders that share their names.

A holds the images (releases, reconstructions), B the originals. Images of one shape are measured together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError, Skipped

if TYPE_CHECKING:
    from harness.types import Array, Progress

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
PIXELS_AT_ONCE = 2**22  # per side of the comparison, decoded and waiting to be measured
LARGEST_AREA = 4096 * 3072  # pixels of an image: the metrics take about 150 bytes of memory for each


def measure(
    a: Path,
    b: Path,
    metrics: Mapping[str, Callable[..., Any]],
    *,
    device: str = "cpu",
    per_image: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """`{"scores": {METRIC: {"mean", "low", "high", "p5", "min", "n"}}}`, a unit per pair.

    metrics    name -> `metric(images, originals) -> (N,)`, its knobs already bound. One that raises `Skipped` gets
               n = 0 and a "reason"; other errors become a HarnessError of one line
    per_image  adds `{"images": {NAME: {METRIC: figure}}}`
    """
    from harness.statistics import summarise

    pairs = match(Path(a), Path(b))
    figures: dict[str, dict[str, float]] = {metric: {} for metric in metrics}
    reasons: dict[str, str] = {}
    for batch in _batches(pairs, progress):
        for metric, function in metrics.items():
            if metric not in reasons:
                try:
                    figures[metric] |= _apply(metric, function, batch, device)
                except Skipped as reason:
                    reasons[metric] = str(reason)

    scores = {}
    for metric, values in figures.items():
        scores[metric] = summarise([] if metric in reasons else list(values.values()), proportion=False)
        if metric in reasons:
            scores[metric]["reason"] = reasons[metric]
    if not per_image:
        return {"scores": scores}
    shown = [metric for metric in metrics if metric not in reasons]
    return {
        "scores": scores,
        "images": {name: {metric: figures[metric][name] for metric in shown} for name in pairs},
    }


def match(a: Path, b: Path) -> dict[str, tuple[Path, Path]]:
    """Name -> the two files; by relative path, else by relative path without its suffix (a JPEG against its PNG)."""
    for path in (a, b):
        if not path.exists():
            raise HarnessError(f"{path} does not exist; give two images or two folders")
    if a.is_dir() != b.is_dir():
        file, folder = (b, a) if a.is_dir() else (a, b)
        raise HarnessError(f"{file} is a file and {folder} a folder; give two images or two folders")
    if not a.is_dir():
        return {a.name: (a, b)}

    files_a, files_b = _images_in(a), _images_in(b)
    pairs = {name: (files_a[name], files_b[name]) for name in files_a.keys() & files_b.keys()}
    by_stem = _by_stem(files_b.keys() - pairs.keys(), b)
    for stem, name in _by_stem(files_a.keys() - pairs.keys(), a).items():
        if stem in by_stem:
            pairs[name] = (files_a[name], files_b[by_stem.pop(stem)])
    if not pairs:
        raise HarnessError(f"no image in {a} shares its name with one in {b}; rename them alike")
    for folder, names in ((a, files_a.keys() - pairs.keys()), (b, set(by_stem.values()))):
        if names:
            shown = ", ".join(sorted(names)[:3]) + (", ..." if len(names) > 3 else "")
            raise HarnessError(f"{len(names)} images are only in {folder}: {shown}; remove them or add their partners")
    return dict(sorted(pairs.items()))


def _images_in(folder: Path) -> dict[str, Path]:
    files = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and not path.is_dir())
    images = {path.relative_to(folder).as_posix(): path for path in files if not path.name.startswith(".")}
    if not images:
        raise HarnessError(f"{folder} holds no images; looked for {', '.join(sorted(SUFFIXES))}")
    return images


def _by_stem(names: set[str], folder: Path) -> dict[str, str]:
    stems: dict[str, str] = {}
    for name in sorted(names):
        stem = str(Path(name).with_suffix(""))
        if stem in stems:
            raise HarnessError(f"{stems[stem]} and {name} in {folder} have one name; keep one of them")
        stems[stem] = name
    return stems


def _batches(
    pairs: dict[str, tuple[Path, Path]], progress: Progress | None
) -> Iterator[dict[str, tuple[Array, Array]]]:
    """Decoded pairs of one shape, by name. Memory is bounded, whatever the mix of shapes."""
    waiting: dict[tuple[int, ...], dict[str, tuple[Array, Array]]] = {}
    pixels = 0
    for done, (name, (path_a, path_b)) in enumerate(pairs.items()):
        if progress:
            progress("measuring", done, len(pairs))
        image, original = _read(path_a), _read(path_b)
        if image.shape != original.shape:
            sizes = [
                f"{path} is {pixels.shape[1]}x{pixels.shape[0]}"
                for path, pixels in ((path_a, image), (path_b, original))
            ]
            raise HarnessError(f"{sizes[0]} but {sizes[1]}; resize one of them")
        waiting.setdefault(image.shape, {})[name] = (image, original)
        pixels += image.shape[0] * image.shape[1]
        if pixels >= PIXELS_AT_ONCE:
            yield from waiting.values()
            waiting, pixels = {}, 0
    yield from waiting.values()
    if progress:
        progress("measuring", len(pairs), len(pairs))


def _read(path: Path) -> Array:
    from harness.data.pixels import read_image, reason_of, size_of

    try:
        height, width = size_of(path)
        if height * width > LARGEST_AREA:
            raise ValueError(f"{width}x{height} pixels, and {LARGEST_AREA:,} at most can be measured; scale it down")
        return read_image(path)
    except Exception as error:  # Pillow raises nearly anything on damaged files
        raise HarnessError(f"{path} cannot be read as an image: {reason_of(error)}") from error


def _apply(
    metric: str, function: Callable[..., Any], batch: dict[str, tuple[Array, Array]], device: str
) -> dict[str, float]:
    import numpy as np
    import torch

    def stack(column: int) -> torch.Tensor:
        pixels = np.stack([pair[column] for pair in batch.values()])
        return torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float().div_(255).contiguous()

    first = next(iter(batch))
    try:
        values = function(stack(0), stack(1)).tolist()
    except HarnessError as error:
        raise HarnessError(f"{first}: {error}") from error
    except (ValueError, AssertionError) as error:  # how metrics of other packages refuse their input
        reason = " ".join(str(error).split()) or type(error).__name__
        raise HarnessError(f"{first}: {metric}: {reason}") from error
    for name, value in zip(batch, values, strict=True):
        if not np.isfinite(value):
            raise HarnessError(f"{name}: {metric} is not a finite number ({value})")
    return dict(zip(batch, values, strict=True))
