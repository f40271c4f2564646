#!/bin/bash
# A 32-bit integer TIFF of values 0 to 255 is read as black (>> 8), where a float TIFF is refused for having no fixed white.
source "$(dirname "$0")/lib.sh"; cd "$W"
"$PYTHON" - <<'P'
import sys
from pathlib import Path
import numpy as np
from PIL import Image
from harness.data.decode import read_image
grey = np.random.default_rng(0).integers(0, 256, (24, 24)).astype(np.int32)
Image.fromarray(grey).save("i.tif")
try: got = read_image(Path("i.tif"))
except ValueError as e: print("refused:", e); sys.exit(0)
print("values 0 to 255 in the file, read as", got.min(), "to", got.max())
sys.exit(int(got.max() == 0))
P
[ $? = 0 ] && ok "read or refused" || fail "silently black"
