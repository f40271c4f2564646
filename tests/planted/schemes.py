"""The planted set: broken defenses with their decoders, sound ones, and ones that cheat the rehearsal.

A defense's function gets sources, weights and a random generator. A fault in every image is planted in the function; a
fault of the client's code (partners that never change, an order that is not shuffled) in how the releases are made with
it, while the scheme that an adversary rehearses is a normal one.
"""

from __future__ import annotations

from tests.planted.cheats import CHEATS
from tests.planted.combined import COMBINED
from tests.planted.composed import COMPOSED, PROTOCOL
from tests.planted.fresh import FRESH
from tests.planted.hidden import HIDDEN
from tests.planted.keys import KEYS
from tests.planted.leaks import LEAKS
from tests.planted.linear import LINEAR_MAPS
from tests.planted.masks import MASKS
from tests.planted.moves import MOVES
from tests.planted.pads import PADS
from tests.planted.sound import SOUND
from tests.planted.table import Planted
from tests.planted.tables import TABLES

PLANTED: dict[str, Planted] = {
    **TABLES, **MOVES, **MASKS, **PADS, **LINEAR_MAPS, **FRESH, **HIDDEN, **LEAKS, **COMBINED, **KEYS, **COMPOSED,
    **PROTOCOL,
}  # fmt: skip
FIRST_TEN = tuple(name for name, planted in PLANTED.items() if planted.auto is not None)
"""Those that the ensemble was first built against, with the largest dSSIM allowed after it."""

__all__ = ["CHEATS", "FIRST_TEN", "PLANTED", "SOUND"]
