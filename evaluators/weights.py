"""Whether weights that metrics need are on this machine, said without importing torch: a finished run asks it.

The folder is torch's, as its documentation says: TORCH_HOME, else `torch` in XDG_CACHE_HOME, else ~/.cache/torch.
"""

from __future__ import annotations

import os
from pathlib import Path

from harness.errors import Skipped
from harness.system.offline import DOWNLOAD, offline

INCEPTION = "inception_v3_google-0cc3c7bd.pth"


def inception() -> None:
    """Raise `Skipped` where torchvision's Inception-v3 weights are not here and may not be downloaded."""
    may_download = bool(os.environ.get(DOWNLOAD)) and not offline()  # harness.train, which says so too, imports torch
    if not may_download and not (checkpoints() / INCEPTION).exists():
        raise Skipped(f"fid: no Inception-v3 weights in {checkpoints()}; set HARNESS_DOWNLOAD=1 to fetch them")


def checkpoints() -> Path:
    """Where torch.hub keeps weights."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = Path(os.environ.get("TORCH_HOME", Path(cache) / "torch")).expanduser()
    return home / "hub" / "checkpoints"
