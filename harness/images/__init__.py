"""Operations on stacks of images that several plugins need, and their fast paths on a CPU."""

from harness.images.ops import (
    add_noise,
    average,
    blur,
    choose,
    exact_mask,
    gaussian_window,
    graft_mask,
    pixelize,
    separable,
    shuffle_blocks,
    shuffle_by,
    to_bytes,
    to_images,
)

__all__ = [
    "add_noise",
    "average",
    "blur",
    "choose",
    "exact_mask",
    "gaussian_window",
    "graft_mask",
    "pixelize",
    "separable",
    "shuffle_blocks",
    "shuffle_by",
    "to_bytes",
    "to_images",
]
