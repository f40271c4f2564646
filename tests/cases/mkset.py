"""mkset.py FOLDER key=value...: a class folder of small synthetic pictures (no photographs)."""

import os
import sys

import numpy as np
from PIL import Image

folder = os.fsencode(sys.argv[1])
o = {"classes": "a,b", "each": "10", "size": "24x24", "ext": "png", "seed": "0"}
o.update(dict(p.split("=", 1) for p in sys.argv[2:]))
w, h = map(int, o["size"].split("x"))
for c, name in enumerate(o["classes"].split(",")):
    d = os.path.join(folder, os.fsencode(name))
    os.makedirs(d, exist_ok=True)
    for i in range(int(o["each"])):
        rng = np.random.default_rng([int(o["seed"]), c, i])
        low = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        im = Image.fromarray(low).resize((w, h), Image.BICUBIC)
        im.save(os.path.join(d, os.fsencode(f"{i:03d}.{o['ext']}")))
