"""Ridge regression for all originals together: every release is a known mixture of a few of them.

Minimises  sum_t |W_t X - Y_t|^2 + ridge |X|^2  by conjugate gradients on the sparse normal equations; the right-hand
sides (features, or pixels) share one matrix and are solved together. References: Carlini et al. 2021, section 5;
Hestenes and Stiefel 1952 (conjugate gradients).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from harness.observation import Pairing

_MOST = 60  # iterations
_CLOSE = 1e-4  # of the right-hand side


class Mixing:
    """The weight matrices W_t of all epochs, transposed, and their normal matrix: sparse, k^2 T entries an original.

    pairings   one per epoch; releases with an unknown source (-1) are left out
    originals  K, how many there are
    """

    def __init__(self, pairings: Sequence[Pairing], originals: int, device: str):
        epochs = [_matrix(pairing, originals) for pairing in pairings]
        self._across = [_csr(matrix.T, device) for matrix in epochs]
        self._normal = _csr(sum(matrix.T @ matrix for matrix in epochs), device)

    def gather(self, epoch: int, releases: Tensor) -> Tensor:
        """W_t^T Y_t: (N, d) -> (K, d)"""
        gathered: Tensor = torch.sparse.mm(self._across[epoch], releases)
        return gathered

    def solve(self, right: Tensor, ridge: float) -> Tensor:
        """X (K, d) with (normal + ridge) X = right, by conjugate gradients, every column with its own step."""
        solution = torch.zeros_like(right)
        residual = right.clone()
        direction = residual.clone()
        size = residual.square().sum(0)
        target = size * _CLOSE**2
        for _ in range(_MOST):
            if bool((size <= target).all()):
                break
            image = torch.sparse.mm(self._normal, direction).add_(direction, alpha=ridge)
            step = size / (direction * image).sum(0).clamp(min=1e-30)
            solution += step * direction
            residual -= step * image
            smaller = residual.square().sum(0)
            direction = residual + (smaller / size.clamp(min=1e-30)) * direction
            size = smaller
        return solution


def _matrix(pairing: Pairing, originals: int) -> sparse.csr_matrix:
    """(N, K) shares. Releases with an unknown source are left out: its part would be attributed to the others."""
    known = (pairing.sources >= 0).all(1)
    rows = np.repeat(np.flatnonzero(known), pairing.sources.shape[1])
    places = rows, pairing.sources[known].ravel()
    return sparse.csr_matrix((pairing.shares[known].ravel(), places), shape=(len(pairing), originals), dtype=np.float32)


def _csr(matrix: sparse.spmatrix, device: str) -> Tensor:
    rows = sparse.csr_matrix(matrix)
    starts, columns, values = map(torch.from_numpy, (rows.indptr, rows.indices, rows.data))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that sparse CSR is in beta
        return torch.sparse_csr_tensor(starts, columns, values, size=rows.shape, device=device)
