#!/bin/bash
# A folder of reconstructions zipped on a Mac brings ._NUMBER.png files: the whole submission is refused. The loader and
# `measure` leave such files out.
source "$(dirname "$0")/lib.sh"; cd "$W"; mkdir s
"$PYTHON" - <<'P'
import sys
import numpy as np
from pathlib import Path
from PIL import Image
from harness.errors import HarnessError
from harness.publish.submission import read_reconstructions
files = [f"epoch_000/{i:06d}.png" for i in range(3)]
for i in range(3):
    Image.fromarray(np.full((24, 24, 3), i, np.uint8)).save(f"s/{i:06d}.png"); Path(f"s/._{i:06d}.png").write_bytes(b"\0\5\x16\7")
try: read_reconstructions(Path("s"), files, (24, 24), 2); print("read")
except HarnessError as e: print(e); sys.exit(1)
P
[ $? = 0 ] && ok "read" || fail "refused for the Mac's own files"
