"""Fixed linear maps of the whole image, of blocks, or of the colours: a solve undoes them."""

from __future__ import annotations

import numpy as np
import torch
from scipy import fft

from harness.images import average
from tests.planted.moves import from_blocks, to_blocks
from tests.planted.table import LINEAR, Planted, as_bytes, decoder, fixed, on_bytes

BLOCK = 4
COLOURS = np.array([[0.2, 0.7, -0.5], [-0.6, 0.3, 0.5], [0.5, 0.3, 0.6]])
BASIS = np.linalg.qr(fixed(30).normal(size=(BLOCK**2, BLOCK**2)))[0]
HADAMARD = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2


def coloured(matrix, images, centre=127.5):
    """A matrix of the three colours around grey."""
    return np.einsum("ij,njhw->nihw", matrix, images - centre) + centre


def in_blocks(matrix, images, gain):
    """A matrix (16, 16) of the pixels of each block of each channel, around grey."""
    blocks = to_blocks(images.astype(float) - 127.5, BLOCK)
    flat = blocks.reshape(*blocks.shape[:3], BLOCK**2) @ matrix.T * gain
    return from_blocks(flat.reshape(blocks.shape), *images.shape[2:]) + 127.5


def companded(coefficients, scale):
    """Signed square roots into 0..255: small coefficients keep their steps."""
    return 127.5 + 127.5 * np.sign(coefficients) * np.sqrt(np.minimum(np.abs(coefficients) / scale, 1))


def expanded(released, scale):
    root = (released - 127.5) / 127.5
    return np.sign(root) * root**2 * scale


def cosines(images, rng=None):
    return companded(fft.dctn(images - 127.5, axes=(2, 3), norm="ortho"), scale_of(images))


def images_of_cosines(images):
    return fft.idctn(expanded(images, scale_of(images)), axes=(2, 3), norm="ortho") + 127.5


def scale_of(images):
    """The largest coefficient of an orthonormal transform of H x W values in -128..128 that is not clipped."""
    return 60.0 * np.sqrt(images.shape[2] * images.shape[3])


def hartley(values):
    """Orthonormal Hartley transform: the real Fourier transform that is its own inverse."""
    spectrum = np.fft.fft2(values, norm="ortho")
    return spectrum.real - spectrum.imag


def spectra(images, rng=None):
    return companded(hartley(images - 127.5), scale_of(images))


def images_of_spectra(images):
    return hartley(expanded(images, scale_of(images))) + 127.5


def phases(images):
    """(H, W) unit complex numbers, those of a real filter."""
    noise = np.fft.fft2(fixed(31).normal(size=images.shape[2:]))
    return noise / np.abs(noise)


def convolved(images, rng=None):
    """Circular convolution with a filter as long as the image, which keeps all magnitudes."""
    return 0.8 * np.fft.ifft2(np.fft.fft2(images - 127.5) * phases(images)).real + 127.5


def deconvolved(images):
    return np.fft.ifft2(np.fft.fft2((images - 127.5) / 0.8) * phases(images).conj()).real + 127.5


def long_tails(sources, weights, rng):
    """A filter that reaches across the image, down and across, and suppresses no frequency completely."""
    down, across = (tails(side).to(sources) for side in sources.shape[-2:])
    return down @ average(sources, weights) @ across.T


def tails(side):
    """(side, side) one-sided exponential filter, circular."""
    decay = 0.75 ** ((torch.arange(side)[:, None] - torch.arange(side)) % side).float()
    return decay / decay.sum(1, keepdim=True)


def without_tails(released, context):
    down, across = (np.linalg.inv(tails(side).double().numpy()) for side in context.size)
    return as_bytes(down @ released.numpy().astype(float) @ across.T)


LINEAR_MAPS = {
    "colour_matrix": Planted(
        on_bytes(lambda images, rng: coloured(COLOURS, images)), "linear map", "colours mixed by a fixed matrix",
        decoder(lambda images: coloured(np.linalg.inv(COLOURS), images)), because="clipping",
    ),
    "block_orthogonal": Planted(
        on_bytes(lambda images, rng: in_blocks(BASIS, images, 0.35)), "linear map",
        "a random orthogonal matrix in blocks of 4 px", decoder(lambda images: in_blocks(BASIS.T, images, 1 / 0.35)),
        because="rounding, threefold",
    ),
    "block_hadamard": Planted(
        on_bytes(lambda images, rng: in_blocks(np.kron(HADAMARD, HADAMARD), images, 0.25)), "linear map",
        "Hadamard coefficients of blocks of 4 px",
        decoder(lambda images: in_blocks(np.kron(HADAMARD, HADAMARD).T, images, 4)), because="rounding, fourfold",
    ),
    "cosine_transform": Planted(
        on_bytes(cosines), "linear map", "square roots of the cosine coefficients; wrongly declared linear",
        decoder(images_of_cosines), limit=0.15, because="rounding of large coefficients", traits=LINEAR,
    ),
    "spectrum": Planted(
        on_bytes(spectra), "linear map", "square roots of the Fourier coefficients", decoder(images_of_spectra),
        limit=0.15, because="rounding of large coefficients",
    ),
    "long_convolution": Planted(
        on_bytes(convolved), "linear map", "a circular filter of random phases; `linear` forgotten",
        decoder(deconvolved), because="clipping",
    ),
    "unprotected_filter": Planted(
        long_tails, "linear map", "rounding does not protect the filter", without_tails, limit=0.3,
        because="rounding, 25-fold", traits=LINEAR, auto=0.1,
    ),
}  # fmt: skip
