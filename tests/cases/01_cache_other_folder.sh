#!/bin/bash
# Two folders whose files share names, lengths and times (uncompressed pictures, `cp -p`, tar --mtime) are one data set to the cache.
source "$(dirname "$0")/lib.sh"; cd "$W"
mkset A ext=bmp seed=1; mkset B ext=bmp seed=2
find A B -type f -exec touch -d @1000000000 {} +
"$PYTHON" - <<'P'
import sys, numpy as np
from PIL import Image
from harness.data.load import load
load("A"); b = load("B")
on_disk = {np.asarray(Image.open(f"B/{n}")).tobytes() for part in (b.private, b.public, b.test) for n in part.names}
mine = sum(im.transpose(1, 2, 0).tobytes() in on_disk for im in b.private.images)
print(f"{mine} of {len(b.private)} images loaded for B are in B")
sys.exit(mine != len(b.private))
P
[ $? = 0 ] && ok "B is read from B" || fail "pictures of folder A are used for folder B"
