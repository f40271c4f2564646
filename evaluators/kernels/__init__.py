"""Compiled kernels of the metrics, for one image or pair on one core. evaluators.compiled says when they are used.

They process strips of a fixed width, row by row, so that reused data is still in a near cache, and strides that are
constants let the compiler use the widest registers. Where a loop is over slices of one-dimensional arrays and its
bounds are constants, numba's code is as fast as C; check its assembly before changing that. A kernel and its helpers
share a file, because numba compiles anew only when the kernel's own file has changed.
"""

from harness.plugins.evaluators.kernels.alignment import best_pose, matched, packed_products, unit_luminance
from harness.plugins.evaluators.kernels.haar import haar_loss
from harness.plugins.evaluators.kernels.shrink import pillow_shrink
from harness.plugins.evaluators.kernels.squares import squared_difference
from harness.plugins.evaluators.kernels.ssim import ssim_loss

__all__ = [
    "best_pose",
    "haar_loss",
    "matched",
    "packed_products",
    "pillow_shrink",
    "squared_difference",
    "ssim_loss",
    "unit_luminance",
]
