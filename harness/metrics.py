"""The metrics on one's own tensors: `harness.metrics.dssim(images, originals)`, and so every other of `names()`.

    harness.metrics.dssim(images, originals)             # (N,) floats, larger is farther
    harness.metrics.dssim(images, originals, sigma=2.0)  # with another setting than the registered one

images, originals  tensors or arrays (N, 3, H, W), uint8 or floats in [0, 1], of one shape and on one device; uint8 is
                   divided by 255
returns            (N,) on their device, one number per image, without gradients

Raises HarnessError for other types, shapes, ranges, devices and settings, and where a metric lacks its weights.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeAlias

import torch

from harness.api import facade
from harness.api.arguments import as_lists
from harness.api.tensors import as_floats, check_same_device, checked_images
from harness.errors import HarnessError, Skipped
from harness.registry import bind

Metric: TypeAlias = Callable[..., torch.Tensor]
_SECTION = "metrics"


def names() -> list[str]:
    """The metrics that there are."""
    return facade.names(_SECTION)


@lru_cache
def _metric(name: str) -> Metric:
    entry = facade.entry(_SECTION, name)

    def metric(images: Any, originals: Any, **settings: Any) -> torch.Tensor:
        measure = bind(entry.with_settings(as_lists(settings)))
        ours, theirs = checked_images(name, images), checked_images(name, originals, "originals")
        if ours.shape != theirs.shape:
            shapes = f"images have shape {tuple(ours.shape)} and originals {tuple(theirs.shape)}"
            raise HarnessError(f"{name}: {shapes}; give an original for each image, of its size")
        check_same_device(name, ours, theirs, "originals")
        ours, theirs = as_floats(ours), as_floats(theirs)
        kind = torch.promote_types(ours.dtype, theirs.dtype)
        try:
            found: torch.Tensor = measure(ours.detach().to(kind), theirs.detach().to(kind))
        except Skipped as reason:
            raise HarnessError(f"{name}: {str(reason).removeprefix(f'{name}: ')}") from None
        return found

    both = [inspect.Parameter(each, inspect.Parameter.POSITIONAL_OR_KEYWORD) for each in ("images", "originals")]
    return facade.described(metric, entry, both)


def __getattr__(name: str) -> Metric:
    if name.startswith("_") or name not in names():
        raise AttributeError(facade.unknown(__name__, _SECTION, name))
    return _metric(name)


def __dir__() -> list[str]:
    return ["names", *names()]
