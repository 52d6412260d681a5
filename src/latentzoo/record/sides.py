"""Other sides of a chain of a run, where its generator has a camera."""

from jaxtyping import Float
from torch import Tensor

from latentzoo.errors import SpecError
from latentzoo.record import held, inputs, origin
from latentzoo.record.experiment import Experiment
from latentzoo.record.saved import SavedRun
from latentzoo.views import orbit as orbits
from latentzoo.views.camera import Viewable, fan


class Sides:
    """Creates the view of a chain of a run from all sides.

    Arguments:
        run: The run.
        chain: The chain's number.

    Attributes:
        generator: The run's generator.
        z: The chain's latent, (1, D).

    Raises:
        SpecError: If the generator has no camera, or the run no such chain, or its weights were exchanged since.
    """

    def __init__(self, run: SavedRun, chain: int) -> None:
        experiment = Experiment(run.record)
        generator = experiment.bare
        if not isinstance(generator, Viewable):
            raise SpecError(
                f"{run.path}: its generator has no camera; orbit shows EG3D, StyleSDF, StyleNeRF, GIRAFFE-HD, avatar-3d"
            )
        known = run.record.record.get("inputs", {})
        inputs.compare_generator(known, experiment, source=str(run.path))
        self.generator: Viewable = generator
        self.z = held.filled(run.record, generator.space, origin.chain(run.path, chain))

    def orbit(self, views: int = 9, arc: float = 60.0) -> Float[Tensor, "V 1 3 H W"]:
        """Pictures from a fan of cameras over `arc` degrees, from the right to the left."""
        return orbits.orbit(self.generator, self.z, fan(self.generator.camera, views, azimuth=arc))
