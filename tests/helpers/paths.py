"""Where things are: the repository, and the real data sets where somebody has them."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATASETS = Path(os.environ.get("HARNESS_DATASETS", ROOT.parent / "shared/datasets"))
