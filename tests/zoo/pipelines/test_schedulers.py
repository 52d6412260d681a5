"""Every scheduler of diffusers: the map is the own call where a pipeline takes it, and refused where it does not."""

import pytest
import tiny
import torch
from test_pipelines import latent, own

from latentzoo.errors import LatentzooError
from latentzoo.zoo.pipelines.files import exchange
from latentzoo.zoo.pipelines.habits import REFUSED
from latentzoo.zoo.pipelines.pipeline import TextToImage

pytestmark = pytest.mark.slow
NAMES = sorted(name for name in dir(tiny.D) if name.endswith("Scheduler"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("base", ["StableDiffusionPipeline", "FluxPipeline"])
def test_the_map_is_the_pipelines_own_call_or_refused(base, name):
    about = tiny.MADE[base]
    pipe, call = about(), {**about.call, "num_inference_steps": 4}
    try:
        pipe.scheduler = exchange(pipe.scheduler, name)
    except LatentzooError as error:  # a setting or a package is missing, or it makes no map
        assert "\n" not in str(error) and (name not in REFUSED or REFUSED[name] in str(error))
        return
    try:
        image, drawn = own(pipe, call)
    except Exception:
        with pytest.raises(LatentzooError, match="refuses the call"):
            TextToImage(pipe, tiny.PROMPT, **call)
        return
    generator = TextToImage(pipe, tiny.PROMPT, **call)
    with torch.no_grad():
        assert torch.equal(generator(latent(generator, drawn)).clamp(0, 1), image)
