"""The memory that a piece of work takes, estimated before it starts.

Most of it is what an adversary rehearses: as many releases of its own images as it sees, and what it restores from
them. Real releases are mapped from files, which the system takes back where it needs room, and so do not count. The
factors are fitted to measured pieces (leaderboards/attack_cost.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.errors import HarnessError
from harness.records import RunSpec
from harness.system.device import device_type, free_memory

_FIXED = 1.2 * 2**30  # bytes of a process with its libraries, and with freed memory that it keeps
_TRAINED = 43  # times the bytes of the adversary's images: what is restored from them and trained on
_REHEARSED = 3  # times the bytes of all releases that are rehearsed


def needed(spec: RunSpec) -> int:
    """Bytes that a piece takes, about."""
    granted = set(spec.inputs.get("attack", {}).get("granted", ()))
    if not {"defense", "public"} <= granted:
        return round(_FIXED)
    data = spec.inputs["dataset"]
    public: int = data["public"] * 3 * data["height"] * data["width"]
    rehearsed = _REHEARSED * (spec.releases or 1) if "releases" in granted else 0
    return round(_FIXED + public * (_TRAINED + rehearsed))


def most(specs: Iterable[RunSpec]) -> int:
    """Bytes that the largest of these pieces takes; 0 without pieces."""
    return max(map(needed, specs), default=0)


def must_fit(specs: Iterable[RunSpec], device: str, root: Path = Path("/")) -> None:
    """HarnessError where a piece takes more memory than this machine, or its container, has left.

    Only on a CPU: a GPU's memory is its own. root: of the file system, for tests
    """
    largest = max(specs, key=needed, default=None)
    if largest is None or device_type(device) != "cpu":
        return
    bytes_, free = needed(largest), free_memory(root)
    if bytes_ <= max(free, _FIXED):  # with less than that some small pieces still run
        return
    data = largest.inputs["dataset"]
    raise HarnessError(
        f"{' x '.join(largest.names)} takes about {bytes_ / 2**30:.1f} GiB of memory and {free / 2**30:.1f} GiB are "
        f"free: {data['public']} public images of {data['height']}x{data['width']} are rehearsed in "
        f"{largest.releases} releases; use a smaller --limit, --public-share, --releases or --size"
    )
