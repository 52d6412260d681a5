#!/usr/bin/env bash
# Expected: a grey TIFF whose tag PhotometricInterpretation is 0 (WhiteIsZero) is read the right way round, whatever its
# depth: a stored 0 is white. Pillow does so in 8 bit.
# Seen (Pillow 12.3.0): in 16 bit and in floats the stored numbers are given as they are, so that the picture is its own
# negative, without a word:
#     a stored 0 that means white is read as {'u1': 1.0, 'u2': 0.0, 'f4': 0.0}
# Minded in: src/latentzoo/picture.py (PHOTOMETRIC), where such pictures are turned round.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pillow==12.3.0 numpy==2.4.6 tifffile==2026.3.3
"$folder/venv/bin/python" - "$folder" <<'END'
import sys

import numpy as np
import tifffile
from PIL import Image

seen = {}
for kind, white in (("u1", 255), ("u2", 65535), ("f4", 1)):
    path = f"{sys.argv[1]}/{kind}.tif"
    tifffile.imwrite(path, np.zeros((2, 2), kind), photometric="miniswhite")
    with Image.open(path) as picture:
        seen[kind] = float(np.asarray(picture, dtype=np.float64)[0, 0]) / white
print("a stored 0 that means white is read as", seen)
if seen != {"u1": 1.0, "u2": 0.0, "f4": 0.0}:
    sys.exit("Pillow has changed: the surprise is gone, and picture.py may turn such pictures round twice")
END
