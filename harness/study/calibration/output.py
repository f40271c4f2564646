"""The folder that `harness calibrate` writes: tables, figures, JSON, and the thresholds as a registry file."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import yaml

from harness.errors import HarnessError
from harness.study.calibration.calibrate import Calibration, document, source_of
from harness.study.calibration.figures import draw
from harness.study.calibration.tables import page, title
from harness.system.files import write_text_atomically

PAGE, DATA, THRESHOLDS = "calibration.md", "calibration.json", "thresholds.yaml"


def check_place(folder: Path, read: Sequence[Path]) -> None:
    """HarnessError where the folder cannot be made, or a file that is read would be replaced; before any work."""
    if folder.exists() and not folder.is_dir():
        raise HarnessError(f"calibration folder {folder}: is a file; name a folder with --out")
    if not folder.absolute().parent.is_dir():
        raise HarnessError(f"calibration folder {folder}: there is no folder {folder.parent}; make it first")
    places = {(folder / name).resolve() for name in (PAGE, DATA, THRESHOLDS)}
    for file in read:
        if file.resolve() in places:
            raise HarnessError(f"{file}: would be replaced by what is made from it; name another folder with --out")


def write(calibration: Calibration, folder: Path) -> list[Path]:
    """Every file, each whole or not at all; what an earlier call wrote is replaced. HarnessError."""
    try:
        folder.mkdir(exist_ok=True)
        written = draw(calibration, folder)
        pictures = [file.name for file in written if file.suffix == ".png"]
        texts = {
            PAGE: page(calibration, pictures),
            DATA: json.dumps(document(calibration), indent=1, allow_nan=False) + "\n",
        }
        if calibration.limits:
            texts[THRESHOLDS] = registry_text(calibration)
        else:
            (folder / THRESHOLDS).unlink(missing_ok=True)  # of an earlier call: these judgements give none
        for name, text in texts.items():
            write_text_atomically(folder / name, text)
    except OSError as error:
        raise HarnessError(f"calibration folder {folder}: {error.strerror or error}; name another with --out") from None
    return [*(folder / name for name in texts), *written]


def registry_text(calibration: Calibration) -> str:
    """A file for --registry with one entry of the section `thresholds`."""
    about = calibration.about
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", f"{about.name}_{about.height}x{about.width}").lstrip("-")[-100:]
    entry = {
        "dataset": about.name,
        "height": about.height,
        "width": about.width,
        **calibration.limits,
        "source": source_of(calibration),
    }
    head = f"# {title(calibration)}; made by harness calibrate. For --registry of run, sweep, rank, report and site.\n"
    lines = yaml.safe_dump({"thresholds": {name: entry}}, sort_keys=False, allow_unicode=True, width=120)
    return head.replace("\n", " ").strip() + "\n" + lines
