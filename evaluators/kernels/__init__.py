"""The metrics' compiled kernels: one image or pair in, on one core. evaluators.compiled says where they serve.

Everything is computed in float64 on strips of a fixed width: what moves along a strip stays in the nearest cache, and
distances in memory that are constants let the compiler use the widest registers. A kernel and its helpers share a
file, for numba compiles anew only when the kernel's own file has changed.
"""

from evaluators.kernels.haar import haar_loss
from evaluators.kernels.shrink import pillow_shrink
from evaluators.kernels.squares import squared_difference
from evaluators.kernels.ssim import ssim_loss

__all__ = ["haar_loss", "pillow_shrink", "squared_difference", "ssim_loss"]
