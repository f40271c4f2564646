"""Pooled Inception-v3 features (2048 numbers per image), with torchvision's ImageNet weights.

Reference: Szegedy et al. 2016; torchvision `Inception_V3_Weights.IMAGENET1K_V1`. Heusel's FID uses the TensorFlow
weights of 2015: figures are comparable with each other, not with published FIDs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)

from harness.errors import Skipped
from harness.plugins.evaluators import weights
from harness.train.pretrained import in_home

if TYPE_CHECKING:
    from harness.types import Images

BATCH = 64  # images at a time
_networks: dict[torch.device, torch.nn.Module] = {}
_missing: list[str] = []  # why the weights are not available, tried once per process


def features(images: Images) -> torch.Tensor:
    """(N, 2048) pooled features of images (N, 3, H, W) in [0, 1]; `Skipped` where the weights are not available."""
    network = _network(images.device)
    with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
        return torch.cat([_pooled(network, images[row : row + BATCH]) for row in range(0, len(images), BATCH)])


def _pooled(network: torch.nn.Module, images: Images) -> torch.Tensor:
    resized = F.interpolate(images.float(), (299, 299), mode="bilinear", antialias=True, align_corners=False)
    mean = resized.new_tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    deviation = resized.new_tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    pooled: torch.Tensor = network((resized - mean) / deviation)
    return pooled


def _network(device: torch.device) -> torch.nn.Module:
    if _missing:
        raise Skipped(_missing[0])
    if device not in _networks:
        try:
            _networks[device] = _load().to(device)
        except Skipped as reason:
            _missing.append(str(reason))
            raise
    return _networks[device]


def _load() -> torch.nn.Module:
    from torchvision.models import inception_v3

    try:
        file = weights.checked_file(weights.INCEPTION)
    except Skipped as reason:
        raise Skipped(f"fid: {reason}") from None
    try:
        network: torch.nn.Module = inception_v3(weights=None, transform_input=True, init_weights=False)
        network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    except Exception as error:  # a damaged file, for which torch.load raises various exceptions
        fix = f"place {weights.INCEPTION.url} in {in_home(file.parent)}"
        raise Skipped(f"fid: unreadable Inception-v3 weights ({type(error).__name__}); {fix}") from error
    network.fc = torch.nn.Identity()
    return network.eval().requires_grad_(False)
