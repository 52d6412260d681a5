r"""The latents of a run as the noise that pipelines of diffusers begin with.

    latents = lz.noise("runs/cube")          # (B, C, h, w)
    pipe("a red cube", latents=latents, ...)

A run of a pipeline of diffusers, `lz.load("stabilityai/sdxl-turbo", prompt=...)`, walks in the Gaussian draws of the
pipeline's own call. Where that is one draw, it is what the call takes as `latents`, and gives the picture of the chain.
"""

from pathlib import Path

from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from latentzoo.errors import SpecError
from latentzoo.record.saved import SavedRun
from latentzoo.record.saved import open as opened
from latentzoo.run.result import Result
from latentzoo.space import Space

START = "start"
PACK = "b c (h p) (w q) -> b (h w) (c p q)"


def noise(
    run: Result | SavedRun | Path | str, *, chain: int | None = None, packed: bool = False
) -> Tensor:
    """Gives the noise that the pictures of a run begin with.

    Arguments:
        run: A result, or a run folder.
        chain: One chain; None takes all.
        packed: Whether squares of 2 x 2 are folded into channels, (B, hw/4, 4C), as the call of Flux
            and Chroma takes them.

    Returns:
        The noise, (B, C, h, w).

    Raises:
        SpecError: If the run's pictures have no one draw of that shape, or there is no such chain.
        StateError: If the folder does not hold it.
    """
    space, z = _latents(run)
    if list(space.blocks) != [START] or len(space.blocks[START]) != 3:
        raise SpecError(
            f"the pictures of this run come from {space}, and not from one draw 'start' (C, h, w), so no "
            "`latents` give them; `latentzoo decode` does"
        )
    start = space.split(z)[START]
    if chain is not None and not 0 <= chain < len(start):
        raise SpecError(f"there is no chain {chain}; the run has 0 to {len(start) - 1}")
    chosen = start if chain is None else start[chain : chain + 1]
    return _packed(chosen) if packed else chosen


def _latents(run: Result | SavedRun | Path | str) -> tuple[Space, Tensor]:
    if isinstance(run, Result):
        if run.generator is None:
            raise SpecError("this run sampled a potential without a generator, and has no noise")
        return run.generator.space, run.z
    saved = run if isinstance(run, SavedRun) else opened(run)
    return saved.space, saved.z


def _packed(start: Float[Tensor, "B C h w"]) -> Float[Tensor, "B n c"]:
    if start.shape[2] % 2 or start.shape[3] % 2:
        raise SpecError(
            f"noise of {start.shape[2]}x{start.shape[3]} does not fold into squares of 2 x 2; give packed=False"
        )
    return rearrange(start, PACK, p=2, q=2)
