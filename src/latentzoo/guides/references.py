"""Looking at the references of a network that reads them as they are: one face, where the network looks.

Networks that cut a face out find it themselves (`facial.Recognition`). The others take a picture as it comes; where the
finder of faces is on this disk it looks at it, and where nobody does, that is said.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

from latentzoo import picture
from latentzoo.guides import faces, networks
from latentzoo.guides.roles import Faces

FAR = 0.15
"""How far, in shares of the picture, a face may be from where FFHQ has it, and its side from that side."""


def examine(network: Faces, paths: Sequence[str | Path]) -> dict[str, str]:
    """Looks at references, and warns of one whose face is not where the network looks, or is not the only one.

    Returns:
        What nobody looked at, by what it is, with the reason; empty if all was.

    Raises:
        ImageError: If there is no face in one.
    """
    find = finder(network)
    if find is None:
        why = "nobody examined whether it has one face, where the network looks"
        cure = "" if network.finder is None else f" (`latentzoo fetch {network.finder}` would)"
        return {f"the face in {path}": f"{why}{cure}" for path in paths}
    for path in paths:
        found = find(picture.read(path), source=str(path))
        if max(abs(a - b) for a, b in zip(found, faces.FFHQ, strict=True)) > FAR:
            at = ", ".join(f"{n:.2f}" for n in found)
            warnings.warn(
                f"{path}: its face is at {at} (left, top and side in shares of the picture), and the network looks at "
                f"{', '.join(f'{n:.2f}' for n in faces.FFHQ)}; align it as FFHQ is, or give its landmarks",
                stacklevel=2,
            )
    return {}


def finder(network: Faces) -> faces.Finding | None:
    """What finds faces in the references of a network; None if nothing does, or it is not on this disk."""
    card = networks.known().get(network.finder or "")
    if card is None or card.source is None or not card.source.here():
        return None
    return networks.load(card.name, "finder", faces.Finding)
