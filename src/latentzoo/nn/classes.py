"""The class of a map that has classes: an argument of it, checked where the map is made.

Users: StyleGAN2(-ADA), StyleGAN-XL, latent diffusion, guided diffusion, EDM, consistency models, networks of diffusers.
"""

from latentzoo.errors import SpecError


def require(class_index: int, classes: int) -> None:
    """Checks a class.

    Arguments:
        class_index: The class, from 0 to `classes` - 1; 0 where there are none.
        classes: The number of classes; 0 if there are none.

    Raises:
        SpecError: If there is no such class.
    """
    if not 0 <= class_index < max(classes, 1):
        known = f"give a number from 0 to {classes - 1}" if classes else "it has none, give 0"
        raise SpecError(f"the class {class_index} does not exist in this generator; {known}")
