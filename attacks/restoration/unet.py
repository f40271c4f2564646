"""A small U-Net that turns a stack of planes into images.

Reference: Ronneberger, Fischer and Brox 2015. Residual blocks without normalisation as in Lim et al. 2017 (EDSR); the
finest level works on 2x2 pixels folded into channels (Shi et al. 2016), at a quarter of the cost without loss.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

_FOLD = 2  # pixels a side that are one position of the finest level


class UNet(nn.Module):
    """(n, C, H, W) float in [0, 1] -> (n, images * 3, H, W): the first three planes plus what the network adds.

    The planes are blended with a constant image by a share, which begins at 1 and may be learned. Where they hold
    nothing of the originals, it falls to 0: the network then answers the constant, which its convolutions could not
    cancel noise to.

    planes  C, three or more; the first three are the image to restore
    images  k, how many images are restored from one
    width   channels of the finest level; they double at each coarser one
    levels  number of levels, each at half the resolution of the one before
    constant  (3, H, W) the image to blend with; None: black
    """

    constant: Tensor

    def __init__(self, planes: int, images: int, width: int, levels: int = 3, constant: Tensor | None = None):
        super().__init__()
        self.images = images
        self.least = _FOLD * 2 ** (levels - 1)  # sides are padded to a multiple
        widths = [width * 2**level for level in range(levels)]
        self.fold, self.unfold = nn.PixelUnshuffle(_FOLD), nn.PixelShuffle(_FOLD)
        self.enter = nn.Conv2d(planes * _FOLD**2, width, 3, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(widths))
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in pairwise(widths))
        self.before = nn.ModuleList(_Block(w) for w in widths)
        self.after = nn.ModuleList(_Block(w) for w in widths)
        self.leave = nn.Conv2d(width, 3 * images * _FOLD**2, 3, padding=1)
        self.share = nn.Parameter(torch.ones(images))
        self.register_buffer("constant", torch.zeros(3, 1, 1) if constant is None else constant)
        nn.init.normal_(self.leave.weight, std=1e-3)  # starts as the identity for every image, nearly
        if self.leave.bias is not None:
            nn.init.zeros_(self.leave.bias)

    def forward(self, planes: Tensor) -> Tensor:
        height, width = planes.shape[2:]
        padding = (0, -width % self.least, 0, -height % self.least)
        padded = functional.pad(planes, padding, mode="replicate") if any(padding) else planes
        features = self.enter(self.fold(padded * 2 - 1))
        skips = []
        for level, block in enumerate(self.before):
            if level:
                features = self.down[level - 1](features)
            features = block(features)
            skips.append(features)
        for level in reversed(range(len(skips))):
            if level < len(skips) - 1:
                features = self.up[level](features) + skips[level]
            features = self.after[level](features)
        added = self.unfold(self.leave(features))[..., :height, :width]
        share = self.share.view(-1, 1, 1, 1)
        blended = share * planes[:, None, :3] + (1 - share) * self.constant
        restored: Tensor = blended.flatten(1, 2) + added.to(planes.dtype)
        return restored


class _Block(nn.Module):
    """Two convolutions, added to their input."""

    def __init__(self, width: int):
        super().__init__()
        self.first, self.second = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        added: Tensor = self.second(functional.relu(self.first(features)))
        return features + added
