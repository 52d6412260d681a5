"""A block for modular pipelines of diffusers: it puts the noise of a latentzoo run into the pipeline's state.

    blocks = StableDiffusionXLAutoBlocks()
    blocks.sub_blocks.insert("latentzoo", NoiseOfRun(), 0)
    pipe = blocks.init_pipeline(REPOSITORY)
    pipe(prompt="a red cube", run="runs/cube", output="images")

References:
    | Diffusers, modular pipelines: https://github.com/huggingface/diffusers
"""

from typing import Any

import torch

from latentzoo.bridges.noise import noise
from latentzoo.errors import MissingExtra

try:
    from diffusers.modular_pipelines.modular_pipeline import ModularPipelineBlocks
    from diffusers.modular_pipelines.modular_pipeline_utils import InputParam, OutputParam
except ImportError:
    raise MissingExtra("diffusers", "diffusers", "a block of modular pipelines") from None


class NoiseOfRun(ModularPipelineBlocks):
    """Creates the block: `run`, and perhaps `chain`, become `latents`."""

    @property
    def description(self) -> str:
        """What the block does, as diffusers prints it."""
        return "Takes the noise that the pictures of a latentzoo run begin with as latents."

    @property
    def inputs(self) -> list[Any]:
        """What the call is given."""
        return [
            InputParam(
                "run", description="A run folder of latentzoo, or a result.", required=True
            ),
            InputParam("chain", type_hint=int, description="One chain; None takes all."),
            InputParam("packed", type_hint=bool, default=False, description="As Flux takes them."),
        ]

    @property
    def intermediate_outputs(self) -> list[Any]:
        """What the next blocks find in the state."""
        return [OutputParam("latents", type_hint=torch.Tensor, description="The noise.")]

    def __call__(self, components: Any, state: Any) -> tuple[Any, Any]:
        """Reads the run and writes `latents` into the state."""
        block: Any = self.get_block_state(state)  # declared as a dictionary there, which it is not
        block.latents = noise(block.run, chain=block.chain, packed=block.packed)
        self.set_block_state(state, block)
        return components, state
