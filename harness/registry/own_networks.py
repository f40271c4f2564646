"""Networks of one's own: `package.module:function` and a checkpoint, found and checked without torch.

The module is looked for beside the files of --registry, in the current folder, and among installed packages, in this
order. Modules of a folder are parts of a package of their own (`harness.registry.beside`): a file of the current folder
hides no library. `harness.train.own` builds the network.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import HarnessError
from harness.registry.availability import why_unavailable
from harness.registry.beside import is_beside, package_of
from harness.registry.entry import MODELS, Entry
from harness.system.schema import shown

_FORM = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


@dataclass(frozen=True)
class OwnNetwork:
    """A network of one's own: its function, or the weights that a known network begins with, or both.

    model       its name, as `--model` says it
    entry       the function; None: `model` is a network of torchvision, timm or the paper
    folder      that its module was found in; None: among installed packages
    checkpoint  file of the weights that training begins with; None: from scratch
    digest      its SHA-256
    """

    model: str
    entry: Entry | None
    folder: Path | None = None
    checkpoint: Path | None = None
    digest: str | None = None

    noun = "model"

    @property
    def name(self) -> str:
        return self.model

    @property
    def is_foreign(self) -> bool:
        return self.entry is not None

    def made_importable(self) -> Entry:
        """The function's entry, in a process that may not know its folder yet. It must have a function."""
        assert self.entry is not None
        if self.folder is not None:
            package_of(self.folder)
        return self.entry


def is_own(model: str) -> bool:
    """Whether this names a function, and no network of the paper, torchvision or timm."""
    return ":" in model


def find_network(model: str, checkpoint: Path | None, files: Sequence[Path]) -> OwnNetwork | None:
    """The network of one's own that is asked for; None for a known network from scratch.

    files  of --registry, whose folders are looked in first
    HarnessError in one sentence for a function that is not there, and for a checkpoint that cannot be read.
    """
    if not is_own(model) and checkpoint is None:
        return None
    found = _find(model, files) if is_own(model) else OwnNetwork(model, None)
    return found if checkpoint is None else replace(found, checkpoint=checkpoint, digest=sha256(checkpoint))


def _find(model: str, files: Sequence[Path]) -> OwnNetwork:
    if not _FORM.fullmatch(model):
        raise HarnessError(
            f"model {shown(model)} is no name of a function; write package.module:function, or the name of a "
            "torchvision or timm network"
        )
    module, _, function = model.partition(":")
    places = list(dict.fromkeys([*(file.resolve().parent for file in files), Path.cwd()]))
    folder = next((place for place in places if is_beside(place, module, [function])), None)
    package = "" if folder is None else package_of(folder)
    entry = Entry(model, MODELS, model, origin="--model", package=package)
    reason = why_unavailable(entry)
    if reason:
        hint = "; put its module into the current folder or beside a --registry file, or install it"
        raise HarnessError(f"model {model!r} is unavailable: {reason}{hint if folder is None else ''}")
    return OwnNetwork(model, entry, folder)


def sha256(checkpoint: Path) -> str:
    """The SHA-256 of a file in hex. HarnessError where it cannot be read."""
    if not checkpoint.is_file():  # a pipe would wait for ever
        what = "is a folder" if checkpoint.is_dir() else "is no file" if checkpoint.exists() else "does not exist"
        raise HarnessError(f"checkpoint {checkpoint} {what}; name a file of weights")
    try:
        with checkpoint.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise HarnessError(
            f"checkpoint {checkpoint} cannot be read ({error.strerror}); name a file of weights"
        ) from None
