"""The published files of BigGAN-deep: the names of their tensors, and what they tell of the settings."""

from collections.abc import Callable
from typing import Any

from latentzoo.generator import Generator
from latentzoo.hub import beside
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import Rule


def official(generator: Generator) -> list[Rule]:
    """The names of pytorch-pretrained-biggan."""
    return [
        Rule("generator.layers.{i}.bn_{n}.{x*}", "network.layers.{i}.norms.{n}.{x}"),
        Rule("generator.layers.{i}.conv_{n}.{x*}", "network.layers.{i}.convs.{n}.{x}"),
        Rule("generator.layers.{i}.snconv1x1_o_conv.{x*}", "network.layers.{i}.out.{x}"),
        Rule("generator.layers.{i}.snconv1x1_{name}.{x*}", "network.layers.{i}.{name}.{x}"),
        Rule("generator.{x*}", "network.{x}"),
        Rule("embeddings.weight", "network.embeddings.weight"),
    ]


KEYS: dict[str, Callable[[Generator], list[Rule]]] = {"official": official}


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Reads the configuration from the tensors, and from the `config.json` beside the file.

    Which blocks double the resolution is not in the tensors: without that file it is every second
    one, as in all published networks.
    """
    shapes = {name: tensor.shape for name, tensor in checkpoint.tensors.items()}
    if not shapes.keys() >= {"generator.gen_z.weight_orig", "generator.bn.running_means"}:
        return None
    n_stats, width = shapes["generator.bn.running_means"]
    z_dim, classes = shapes["embeddings.weight"]
    modules = [f"generator.layers.{i}" for i in range(len(shapes))]
    blocks = [m for m in modules if f"{m}.conv_3.bias" in shapes]
    attention = [i for i, m in enumerate(modules) if f"{m}.gamma" in shapes]
    layers = [
        (
            i % 2 == 1,
            shapes[f"{block}.bn_0.running_means"][1] // width,
            shapes[f"{block}.conv_3.bias"][0] // width,
        )
        for i, block in enumerate(blocks)
    ]
    config = {
        "layers": layers,
        "channel_width": width,
        "attention_layer_position": attention[0] if attention else len(blocks),
        "z_dim": z_dim,
        "num_classes": classes,
        "n_stats": n_stats,
    }
    told = beside.settings(checkpoint.path)
    config |= {key: told[key] for key in ("layers", "eps") if key in told}
    assumed = {
        "layers": "every second one doubles the sides, as in published networks",
        "eps": "1e-4, as in published networks",
    }
    assumed = {name: said for name, said in assumed.items() if name not in told}
    return {"config": config, "keys": "official", "assumed": assumed}
