#!/bin/bash
# Passes today: CMYK and two-picture JPEGs, 16-bit grey, a palette, a rotated and a malformed EXIF, first frames: the same picture.
source "$(dirname "$0")/lib.sh"; cd "$W"
"$PYTHON" - <<'P'
import struct, sys
from pathlib import Path
import numpy as np
from PIL import Image
from harness.data.decode import read_image
low = np.random.default_rng(1).integers(0, 256, (4, 4, 3), dtype=np.uint8)
im = Image.fromarray(low).resize((48, 32), Image.BICUBIC); other = Image.fromarray(255 - np.asarray(im))
grey = np.asarray(im.convert("L")); exif = Image.Exif(); exif[0x0112] = 6; turned = im.transpose(Image.Transpose.ROTATE_90)
best = {"quality": 100, "subsampling": 0}
im.convert("CMYK").save("cmyk.jpg", **best); im.copy().save("mpo.jpg", format="MPO", save_all=True, append_images=[other.copy()], quality=100)
im.copy().save("anim.webp", save_all=True, append_images=[other.copy()], lossless=True); im.copy().save("pages.tif", save_all=True, append_images=[other.copy()])
turned.save("turned.jpg", exif=exif, **best); turned.save("turned.png", exif=exif); im.save("plain.jpg", **best)
raw = Path("plain.jpg").read_bytes()
ifd = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + struct.pack("<HHIHH", 0x0112, 3, 1, 1, 0) + struct.pack("<HHII", 0x011A, 5, 1, 38) + struct.pack("<III", 0, 1, 0)
Path("badexif.jpg").write_bytes(raw[:2] + b"\xff\xe1" + struct.pack(">H", len(ifd) + 2) + ifd + raw[2:])
Image.fromarray(grey.astype(np.uint16) * 257).save("g16.png"); Image.fromarray(grey.astype(np.uint16) * 257).save("g16.tif")
bad = 0
for name in ("cmyk.jpg", "mpo.jpg", "anim.webp", "pages.tif", "turned.jpg", "turned.png", "badexif.jpg", "g16.png", "g16.tif"):
    want = np.repeat(grey[:, :, None], 3, 2) if name[0] == "g" else np.asarray(im)
    got = read_image(Path(name)); far = np.abs(got.astype(int) - want).mean() if got.shape == want.shape else 999
    print(f"{name:12} {far:.2f}"); bad += far > 3
sys.exit(int(bad > 0))
P
[ $? = 0 ] && ok "all are the picture" || fail "a file is read as something else"
