"""The metrics' compiled kernels: one image or pair in, on one core. evaluators.compiled says where they serve.

They go over strips of a fixed width, row by row: so what is needed again is still in a near cache, and distances in
memory that are constants let the compiler use the widest registers. Where a loop is over slices of arrays of one
dimension and its bounds are constants, numba's code is as fast as C; ask its assembly before changing that. A kernel
and its helpers share a file, for numba compiles anew only when the kernel's own file has changed.
"""

from harness.plugins.evaluators.kernels.haar import haar_loss
from harness.plugins.evaluators.kernels.shrink import pillow_shrink
from harness.plugins.evaluators.kernels.squares import squared_difference
from harness.plugins.evaluators.kernels.ssim import ssim_loss

__all__ = ["haar_loss", "pillow_shrink", "squared_difference", "ssim_loss"]
