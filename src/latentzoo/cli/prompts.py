"""What a text-to-image pipeline should show, in words: `--prompt`, for all chains or for each."""

from collections.abc import Sequence
from typing import Any

from latentzoo.errors import SpecError

PROMPT = "What a text-to-image pipeline should show: --option prompt=TEXT, never read as anything but a text."
PER_CHAIN = 'Several --prompt, or one that has them as "A | B", are those of the chains, in turn.'


def added(
    options: dict[str, Any],
    prompts: Sequence[str] | None,
    *,
    per_chain: bool = False,
    chains: int = 1,
) -> dict[str, Any]:
    """The arguments of a map with the prompts that were said.

    Arguments:
        options: The arguments without.
        prompts: The prompts, if any.
        per_chain: Whether each chain has its own.
        chains: The number of chains.

    Raises:
        SpecError: If there are prompts in two places, several for one chain, or chains without one.
    """
    if not prompts:
        if per_chain:
            raise SpecError("--per-chain is about prompts; give them: --prompt A --prompt B")
        return options
    if "prompt" in options:
        raise SpecError("the prompt is given twice; leave out --prompt or --option prompt=...")
    if not per_chain:
        if len(prompts) > 1:
            raise SpecError(
                f"there are {len(prompts)} prompts; add --per-chain to give the chains one each"
            )
        return {**options, "prompt": prompts[0]}
    each = [one.strip() for prompt in prompts for one in prompt.split("|")]
    if chains % len(each):
        raise SpecError(
            f"{chains} chains cannot share {len(each)} prompts evenly; give --chains {len(each)} "
            "or a multiple"
        )
    return {**options, "prompt": each * (chains // len(each))}
