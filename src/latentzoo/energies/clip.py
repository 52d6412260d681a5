r"""How far a picture is from a text, by a text-image model.

.. math:: E(x) = 1 - \cos(I(x), T(c))

The text is encoded once, when the energy is made.

References:
    | Learning Transferable Visual Models From Natural Language Supervision (Radford et al., 2021)
    | https://arxiv.org/abs/2103.00020
"""

from typing import Any

from latentzoo.energies.base import Energy
from latentzoo.errors import UnknownName


def build(target: str, *, model: str | None = None, **options: Any) -> Energy:
    """Creates the energy of a text.

    Arguments:
        target: The text.
        model: The text-image model.
        options: Further arguments of the model.
    """
    if model == "avatar-clip":
        from latentzoo.builtin.clip import AvatarClip

        return AvatarClip(target, **options)
    raise UnknownName("text-image model", str(model), ["avatar-clip"])
