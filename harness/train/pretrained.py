"""Pretrained weights: from this machine's caches, or fetched where HARNESS_DOWNLOAD=1 allows it, or not at all.

What is fetched has the SHA-256 that is known or stated (harness.system.weight_digests), or is not kept.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock

from harness.errors import HarnessError
from harness.system.offline import offline
from harness.system.weight_digests import check_weights, expected_digest, stated_digests

TIMEOUT = 5.0  # seconds without an answer after which a download stops
_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.[a-z]+$")  # as torch.hub reads it: resnet50-0676ba61.pth


def may_download() -> bool:
    """Whether the user allows downloads of weights: HARNESS_DOWNLOAD is set, and the run is not offline."""
    return bool(os.environ.get("HARNESS_DOWNLOAD")) and not offline()


def in_home(folder: Path) -> str:
    """A path for a record, without names of machine or user."""
    return f"~/{folder.relative_to(Path.home())}" if folder.is_relative_to(Path.home()) else "torch's hub folder"


@contextlib.contextmanager
def with_timeout() -> Iterator[None]:
    """Inside the block connections time out after five seconds, and what libraries print goes to stderr."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        socket.setdefaulttimeout(before)


def fetch(address: str, place: Path, sha256: str) -> None:
    """Download a file of weights to its place, unless another process has just done so.

    sha256  hex digits that the file's SHA-256 begins with

    Raises RuntimeError where it is another file, which is not kept; OSError or HTTPException where none comes.
    """
    import torch

    place.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(place.with_name(f".{place.name}.lock")), with_timeout():
        if not place.exists():
            torch.hub.download_url_to_file(address, str(place), hash_prefix=sha256, progress=False)


def timm_file(name: str) -> Path | None:
    """Weights of a timm model on this machine: placed in torch's hub folder, or in the Hugging Face cache; or None."""
    import torch

    files = [placed_file(name).with_suffix(suffix) for suffix in (".safetensors", ".pth")]
    config = _config(name)
    if config.url:
        files.append(Path(torch.hub.get_dir()) / "checkpoints" / Path(config.url).name)
    for file in files:
        if file.is_file():
            return file
    if config.hf_hub_id:
        from huggingface_hub import try_to_load_from_cache

        repository, _, revision = config.hf_hub_id.partition("@")
        for file_name in ("model.safetensors", "pytorch_model.bin"):
            cached = try_to_load_from_cache(repository, file_name, revision=revision or None)
            if isinstance(cached, str):
                return Path(cached)
    return None


def placed_file(name: str) -> Path:
    """Where a user may place the weights of a timm model."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints" / f"{name}.safetensors"


def timm_digest(name: str) -> str:
    """The SHA-256 that a timm model's weights must have, or its first digits.

    That which HARNESS_WEIGHTS_SHA256 states of the model, or the digits in the name of the published file. HarnessError
    where there is neither: the Hugging Face hub shows the digest on the page of the file.
    """
    address = str(timm_address(name))
    known = _IN_NAME.search(address)
    try:
        return expected_digest(name, known[1] if known else "")
    except HarnessError as error:
        raise HarnessError(f"{error}, as {address.replace('/resolve/', '/blob/')} shows it") from None


def check_timm(name: str, file: Path) -> None:
    """HarnessError where the user states the digest of a timm model's weights and this file has another."""
    if name in stated_digests():
        check_weights(file, timm_digest(name))


def fetch_timm(name: str) -> Path:
    """Download a timm model's weights to where a user would place them, atomically.

    Not through the Hugging Face client, which tries for a minute where there is no network. HarnessError where no
    digest is known, or the file has another; it is not kept.
    """
    address, digest = str(timm_address(name)), timm_digest(name)
    place = placed_file(name).with_suffix(".safetensors" if address.endswith(".safetensors") else ".pth")
    try:
        fetch(address, place, digest)
    except RuntimeError as error:
        raise HarnessError(f"{name}: {address} is another file than expected ({error}); it was not kept") from None
    return place


def timm_address(name: str) -> str | None:
    """Where a timm model's weights are published; None where they are not."""
    config = _config(name)
    if config.hf_hub_id:
        return f"https://huggingface.co/{config.hf_hub_id}/resolve/main/model.safetensors"
    return config.url or None


def _config(name: str) -> Any:
    """timm's own description of a pretrained model."""
    import timm

    try:
        config = timm.get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError as error:
        raise HarnessError(f"{name!r}: {' '.join(str(error).split())}; see timm.list_pretrained()") from None
    return config
