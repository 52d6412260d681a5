#!/usr/bin/env bash
# Expected: a row of 64 pixels that is resized to 224 with NEAREST, 3.5 times as wide, repeats itself: two pixels become
# seven, always in the same way. Pixel i looks at the place (i + 1/2) * 64/224; each seventh place is exactly on the border
# of two pixels, and all of these go the same way, to the right by rounding down.
# Seen (Pillow 12.3.0): 25 of the 32 go to the left and 7, in the midst of the row, to the right, since the step is added up
# in floating point. The same for 256, 512 and 1024 pixels to 224, what networks of pictures ask for:
#     of 32 places on a border, 25 went left and 7 right (pixels 31, 38, 45, 52, 59, 66, 73)
# Minded in: src/latentzoo/guides/preprocess.py (_places), which adds up as Pillow does. transformers with torchvision
# multiplies, and takes other pixels.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pillow==12.3.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'END'
import sys

import numpy as np
from PIL import Image

old, new = 64, 224
row = Image.fromarray(np.arange(old, dtype=np.int32)[None])
seen = np.array(row.resize((new, 1), Image.Resampling.NEAREST))[0]
twice = [(2 * i + 1) * old for i in range(new)]  # the place of pixel i, times 2 * new
border = [i for i in range(new) if twice[i] % (2 * new) == 0]
left = [i for i in border if seen[i] == twice[i] // (2 * new) - 1]
right = [i for i in border if seen[i] == twice[i] // (2 * new)]
print(
    f"of {len(border)} places on a border, {len(left)} went left and {len(right)} right "
    f"(pixels {', '.join(map(str, right))})"
)
if (len(border), len(left), right) != (32, 25, [31, 38, 45, 52, 59, 66, 73]):
    sys.exit("Pillow has changed: the surprise is gone, and preprocess.py may take other pixels than it")
END
