"""Data sets of the Hugging Face hub, through its library `datasets`: `hf:NAME`, or `hf:NAME@SPLIT` or `@CONFIG`.

Without a split, `train` and `test` (or else `validation`) are the roles where both are there. Nothing of a data set's
repository is executed: of version 3 of `datasets`, scripts are not trusted. Files go to the folder of downloads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from harness.data import splits
from harness.data.decode import LazyImage
from harness.data.pixels import LARGEST_FILE
from harness.data.sources.encoded import checked_label, class_names, encoded_image
from harness.data.sources.parquet import IMAGE_COLUMNS, LABEL_COLUMNS, NEEDS
from harness.errors import HarnessError
from harness.system.files import open_regular
from harness.system.offline import offline
from harness.system.schema import shown
from harness.system.text import one_line

_NAME = re.compile(r"hf:((?:[A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]*)(?:@([A-Za-z0-9][\w.-]*))?")


def from_hub(dataset: str, downloads: Path) -> list[LazyImage]:
    """The images of `hf:NAME[@SPLIT or CONFIG]`. Raises HarnessError, also without the library or the hub."""
    found = _NAME.fullmatch(dataset)
    if not found:
        raise HarnessError(f"data set {shown(dataset)} is no name of the hub; use hf:OWNER/NAME or hf:OWNER/NAME@SPLIT")
    parts = _loaded(found[1], found[2], dataset, downloads)
    roles = _roles(parts)
    rows: list[tuple[str, int | str, str | None, Any]] = []
    names = None
    for split, part in sorted(parts.items()):
        if split not in roles:
            continue
        image, label = (_column(dataset, part.features, known) for known in (IMAGE_COLUMNS, LABEL_COLUMNS))
        names = getattr(part.features[label], "names", None)
        for place, value in enumerate(part[label]):
            checked = checked_label(f"{dataset}: split {split}, row {place}", value)
            rows.append((f"{split}/{place:08d}", checked, roles[split], partial(_read, part, place, image)))
    if not rows:
        raise HarnessError(f"{dataset}: it holds no rows; name another split")
    of = class_names(dataset, [row[1] for row in rows], names)
    # What the library keeps may change under the same name: each image is known by its bytes.
    return [
        encoded_image(name, of[label], role, read, f"{dataset} {name}", is_proof=False)
        for name, label, role, read in rows
    ]


def _loaded(name: str, chosen: str | None, dataset: str, downloads: Path) -> Mapping[str, Any]:
    """The splits by name, images not decoded."""
    is_offline = offline()
    try:
        import datasets
        import huggingface_hub.constants
    except ImportError:
        raise HarnessError(f"{dataset}: {NEEDS.format('datasets')}") from None
    switches: tuple[Any, ...] = (datasets.config, huggingface_hub.constants)
    before = [switch.HF_HUB_OFFLINE for switch in switches]
    for switch in switches if is_offline else ():
        switch.HF_HUB_OFFLINE = True
    try:
        configs = datasets.get_dataset_config_names(name) if chosen else []
        config, split = (chosen, None) if chosen in configs else (None, chosen)
        found = datasets.load_dataset(name, config, split=split, cache_dir=str(downloads / "hf"))
        parts = {split or "": found} if not isinstance(found, Mapping) else found
        return {
            each: part.cast_column(column, datasets.Image(decode=False))
            for each, part in parts.items()
            for column in [_column(dataset, part.features, IMAGE_COLUMNS)]
        }
    except HarnessError:
        raise
    except Exception as error:  # the library raises nearly anything where the hub or the data set is missing
        reason = one_line(" ".join(str(error).split())[:300]) or type(error).__name__
        fix = "it was not loaded before and --offline downloads nothing" if is_offline else "check name and network"
        raise HarnessError(f"{dataset} cannot be loaded from the hub ({reason}); {fix}") from None
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.HF_HUB_OFFLINE = value


def _roles(parts: Mapping[str, Any]) -> dict[str, str | None]:
    """The role of each split that is used."""
    held_out = next((split for split in (splits.TEST, "validation") if split in parts), None)
    if splits.TRAIN in parts and held_out:
        return {splits.TRAIN: splits.TRAIN, held_out: splits.TEST}
    return dict.fromkeys(parts, None)


def _column(dataset: str, features: Mapping[str, Any], known: tuple[str, ...]) -> str:
    found = next((name for name in known if name in features), None)
    if found is None:
        raise HarnessError(
            f"{dataset}: it has no column {' or '.join(map(repr, known))} ({shown(', '.join(features))})"
        )
    return found


def _read(part: Any, place: int, image: str) -> bytes:
    value = part[place][image]
    content = value.get("bytes") if isinstance(value, dict) else value
    if content is None and isinstance(value, dict) and value.get("path"):
        with open_regular(Path(value["path"])) as file:
            content = file.read(LARGEST_FILE + 1)  # a longer one is refused when it is decoded
    if not isinstance(content, bytes):
        raise ValueError("the row holds no bytes of an image")
    return content
