#!/bin/bash
# Code and home not writable (a container's user, Nix): numba has nowhere to keep compiled code. evaluators/kernels/jit.py
# goes on without; harness/kernels.py does not, and `obfuscate`, which needs no cache, dies with a traceback.
source "$(dirname "$0")/lib.sh"; cd "$W"
"$PYTHON" - <<'P'
import sys
from numba.core import caching
for cls in vars(caching).values():          # every place to keep it is refused, as on a read-only disk
    if isinstance(cls, type) and hasattr(cls, "from_function") and cls.__name__.endswith("Locator"):
        cls.from_function = classmethod(lambda cls, *a, **k: None)
from harness.images import cpu as kernels
try: print("loops:", kernels.loops())
except RuntimeError as error: print("TRACEBACK RuntimeError:", str(error)[:90]); sys.exit(1)
P
[ $? = 0 ] && ok "it goes on without" || fail "no folder for numba's cache is a traceback"
