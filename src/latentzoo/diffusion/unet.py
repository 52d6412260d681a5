"""The networks of Hugging Face diffusers, built and filled by latentzoo.

A repository in diffusers format has the network's `config.json` and weights and the scheduler's
`scheduler_config.json`, in folders of their own or beside each other. Network and formulas are
kept apart here: the network is diffusers' own, the schedule and the steps are latentzoo's.

References:
    | Diffusers: State-of-the-art diffusion models (von Platen et al., 2022)
    | https://github.com/huggingface/diffusers
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from latentzoo.errors import MissingExtra, SpecError
from latentzoo.generator import Generator
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import Rule, prefixed
from latentzoo.nn.attention import Attending
from latentzoo.nn.classes import require as require_class
from latentzoo.nn.levels import require as require_levels


class UNet2D(nn.Module):
    """Creates a `UNet2DModel` of diffusers.

    Arguments:
        config: Its `config.json`.
        class_index: The class, if the network knows any.

    Raises:
        MissingExtra: If diffusers is not installed.
        SpecError: If it is a network of another kind, or has no such class.
    """

    label: Tensor | None

    def __init__(self, config: Mapping[str, Any], *, class_index: int = 0) -> None:
        super().__init__()
        try:
            from diffusers.models.unets.unet_2d import UNet2DModel
        except ImportError as error:
            raise MissingExtra(
                "diffusers", "diffusers", "a network in diffusers format"
            ) from error
        name = config.get("_class_name", "UNet2DModel")
        if name != "UNet2DModel":
            raise SpecError(
                f"a network of class {name} knows more than classes; give a UNet2DModel"
            )
        arguments = {k: v for k, v in config.items() if not k.startswith("_")}
        label = read_class(arguments, class_index)
        self.channels = int(arguments.get("in_channels", 3))
        size = arguments.get("sample_size")
        if size is None:
            raise SpecError("the network's config.json has no sample_size; add its pictures' side")
        try:
            self.model = UNet2DModel(**arguments)
        except (TypeError, ValueError) as error:
            raise SpecError(f"diffusers does not build this network ({error})") from error
        embedding = self.model.class_embedding
        if embedding is not None and arguments.get("class_embed_type") == "timestep":
            embedding.register_forward_pre_hook(as_weights)
        self.register_buffer("label", label, persistent=False)
        self.eval()
        sides = (size, size) if isinstance(size, int) else tuple(size)
        self.size = require_levels(sides, len(self.model.config["down_block_types"]))

    def train(self, mode: bool = True) -> "UNet2D":
        """Keeps the network in evaluation mode: its dropout must not change the map."""
        del mode
        return super().train(False)

    def forward(self, x_t: Tensor, time: Tensor) -> Tensor:
        """Maps pictures (B, C, H, W) at times (B,) to the prediction (B, C, H, W)."""
        label = None if self.label is None else self.label.expand(len(x_t))
        with nullcontext() if torch.compiler.is_compiling() else Attending():
            output = self.model(x_t, time, label, return_dict=False)[0]
        return output[:, : self.channels]  # networks that also predict a variance give it last


def as_weights(module: nn.Module, given: tuple[Tensor]) -> tuple[Tensor]:
    """The features of a class in the number type of the layers that read them; diffusers makes single ones."""
    return (given[0].to(next(module.parameters()).dtype),)


def read_class(config: Mapping[str, Any], class_index: int) -> Tensor | None:
    """The class (1,) that a network is told; None if it is told none.

    A table has a row for each class; where a class is embedded as times are, any number is one.

    Raises:
        SpecError: If there is no such class, or the network reads features instead.
    """
    kind, classes = config.get("class_embed_type"), config.get("num_class_embeds")
    if kind == "identity":
        raise SpecError(
            "the network reads the features of a class from outside (class_embed_type 'identity'); "
            "give one with a table of classes"
        )
    if kind is None or class_index < 0:
        require_class(class_index, classes or 0)
    return torch.tensor([class_index]) if kind is not None or classes is not None else None


LEGACY = [
    Rule("{block*}.query.{part}", "network.model.{block}.to_q.{part}"),
    Rule("{block*}.key.{part}", "network.model.{block}.to_k.{part}"),
    Rule("{block*}.value.{part}", "network.model.{block}.to_v.{part}"),
    Rule("{block*}.proj_attn.{part}", "network.model.{block}.to_out.0.{part}"),
]
"""The names of attention before diffusers 0.13, which the repositories of 2022 still have."""

RULES = [*LEGACY, Rule("{name*}", "network.model.{name}")]
"""From the names of a `UNet2DModel` to those of a generator with a `network` of this module."""

COMPONENTS = ("unet", "model", "config")
"""Where a network is: a component of a pipeline (the second name is ScoreSDE's), or on its own."""

KEYS: dict[str, Callable[[Generator], list[Rule]]] = {
    "unet": lambda _: prefixed("unet.", RULES),
    "model": lambda _: prefixed("model.", RULES),
    "config": lambda _: RULES,
}
"""The rules for each place."""


def recognise(
    checkpoint: Checkpoint, *classes: str, given: str | None = None
) -> dict[str, Any] | None:
    """Describes a model of pixels in diffusers format, if its scheduler is of one of the given classes.

    Arguments:
        checkpoint: What was read from the folder.
        classes: The schedulers' classes.
        given: The class that is taken where there is no scheduler; None refuses such a folder.

    Returns:
        The arguments of `build`, the dialect of the names, and what is assumed; None for another kind of file, and
        for a pipeline with further networks, such as a latent diffusion.
    """
    records = checkpoint.records
    place = next((name for name in COMPONENTS if isinstance(records.get(name), Mapping)), None)
    if place is None or records[place].get("_class_name") != "UNet2DModel":
        return None
    scheduler, assumed = dict(records.get("scheduler") or {}), {}
    if not scheduler and given is not None:
        assumed["scheduler"] = f"the defaults of {given}, which fit many networks and not all"
    elif scheduler.get("_class_name", given) not in classes:
        return None
    if place != "config" and not all(k.startswith(f"{place}.") for k in checkpoint.tensors):
        return None
    config = {"unet": dict(records[place]), "scheduler": scheduler}
    return {"config": config, "keys": place, "assumed": assumed}
