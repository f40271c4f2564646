"""Which weights the metrics need, by their digests: whether they are on this machine, and the checked files.

A finished run asks each time whether they are here, so that is said without importing torch. The folder is torch's, as
its documentation says: TORCH_HOME, else `torch` in XDG_CACHE_HOME, else ~/.cache/torch.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from harness.errors import HarnessError, Skipped
from harness.system.offline import DOWNLOAD, offline
from harness.system.weight_digests import check_weights, expected_digest


@dataclass(frozen=True)
class WeightFile:
    """A file of published weights in torch.hub's folder.

    name    of the file there
    what    the weights in words, with their size
    url     where they are published
    sha256  hex digits that the file's SHA-256 begins with: all 64, or those that torch writes into the name
    """

    name: str
    what: str
    url: str
    sha256: str


_TORCH = "https://download.pytorch.org/models"
_GITHUB = "https://raw.githubusercontent.com"
INCEPTION = WeightFile(
    "inception_v3_google-0cc3c7bd.pth",
    "Inception-v3 weights (104 MB)",
    f"{_TORCH}/inception_v3_google-0cc3c7bd.pth",
    "0cc3c7bd",
)
VGG16 = WeightFile(
    "vgg16-397923af.pth",
    "VGG16 weights (528 MB)",
    f"{_TORCH}/vgg16-397923af.pth",
    "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
)
LPIPS = WeightFile(
    "lpips_vgg-a78928a0.pth",
    "LPIPS weights (7 kB)",
    f"{_GITHUB}/richzhang/PerceptualSimilarity/082bb24f84c091ea94de2867d34c4544f68e0963/lpips/weights/v0.1/vgg.pth",
    "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
)
DISTS = WeightFile(
    "dists-f5e65c96.pt",
    "DISTS weights (12 kB)",
    f"{_GITHUB}/dingkeyan93/DISTS/1267d8cb626c98706db3697422701c56a85ebf2e/DISTS_pytorch/weights.pt",
    "f5e65c96230b7f6ca995691647d482237e4cab8a50c5c4a5784f219ef0748218",
)


def inception() -> None:
    """Raise `Skipped` where torchvision's Inception-v3 weights are not here and may not be downloaded."""
    _ready("fid", INCEPTION)


def lpips() -> None:
    """Raise `Skipped` where VGG16's or LPIPS's weights are not here and may not be downloaded."""
    _ready("lpips", VGG16, LPIPS)


def dists() -> None:
    """Raise `Skipped` where VGG16's or DISTS's weights are not here and may not be downloaded."""
    _ready("dists", VGG16, DISTS)


def _ready(metric: str, *files: WeightFile) -> None:
    may_download = bool(os.environ.get(DOWNLOAD)) and not offline()  # harness.train, which says so too, imports torch
    for file in files:
        try:
            expected_digest(file.name, file.sha256)
        except HarnessError as error:
            raise Skipped(f"{metric}: {error}") from None
        if not may_download and not (checkpoints() / file.name).exists():
            raise Skipped(f"{metric}: no {file.what} in {checkpoints()}; set HARNESS_DOWNLOAD=1 to fetch them")


def checked_file(file: WeightFile) -> Path:
    """The file in torch.hub's folder, downloaded to there where that is allowed, with the expected digest.

    Raises `Skipped`, in words for a record, where it is missing, cannot be fetched or has another digest. A download
    with another digest is not kept; a file that was there stays.
    """
    import torch

    from harness.train.pretrained import fetch, in_home, may_download

    place = Path(torch.hub.get_dir()) / "checkpoints" / file.name
    fix = f"set HARNESS_DOWNLOAD=1 to fetch them, or place {file.url} in {in_home(place.parent)} as {file.name}"
    try:
        expected = expected_digest(file.name, file.sha256)
        if not place.exists():
            if not may_download():
                raise Skipped(f"no {file.what} here; {fix}")
            fetch(file.url, place, expected)
        check_weights(place, expected)
    except HarnessError as error:
        raise Skipped(f"{error}; {file.what} are at {file.url}") from None
    except (OSError, HTTPException, RuntimeError) as error:  # torch raises RuntimeError where the digest differs
        what = "another SHA-256 than expected" if isinstance(error, RuntimeError) else type(error).__name__
        raise Skipped(f"no {file.what} ({what}); {fix}") from error
    return place


def checkpoints() -> Path:
    """Where torch.hub keeps weights."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = Path(os.environ.get("TORCH_HOME", Path(cache) / "torch")).expanduser()
    return home / "hub" / "checkpoints"
