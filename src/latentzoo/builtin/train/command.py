"""`latentzoo-train NAME`: trains a built-in model by its recipe, and resumes where a killed training stopped."""

import importlib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import typer

from latentzoo.errors import SpecError, UnknownName
from latentzoo.record import plain

RECIPES = {
    "autoencoder": "latentzoo.builtin.train.autoencoder:AutoencoderRecipe",
    "decoder": "latentzoo.builtin.train.decoder:DecoderRecipe",
    "latent-diffusion": "latentzoo.builtin.train.diffusion:LatentDiffusionRecipe",
    "adaptation": "latentzoo.builtin.train.adaptation:AdaptationRecipe",
    "pixel-diffusion": "latentzoo.builtin.train.pixels:PixelDiffusionRecipe",
    "turbo": "latentzoo.builtin.train.turbo:TurboRecipe",
    "contrast": "latentzoo.builtin.train.contrast:ContrastRecipe",
    "gan": "latentzoo.builtin.train.gan:GANRecipe",
    "identity": "latentzoo.builtin.train.identity:IdentityRecipe",
    "vae": "latentzoo.builtin.train.vae:VAERecipe",
    "attributes": "latentzoo.builtin.train.attributes:AttributesRecipe",
    "grammar": "latentzoo.builtin.train.grammar:GrammarRecipe",
    "captioned": "latentzoo.builtin.train.captioned:CaptionedRecipe",
    "folded": "latentzoo.builtin.train.folded:FoldedRecipe",
    "kl": "latentzoo.builtin.train.kl:KLRecipe",
    "volume": "latentzoo.builtin.train.volume:VolumeRecipe",
}
SHELF = resources.files("latentzoo.builtin.train") / "recipes"
app = typer.Typer(add_completion=False)


def names() -> list[str]:
    """The names of the recipes."""
    return sorted(
        f.name.removesuffix(".yaml") for f in SHELF.iterdir() if f.name.endswith(".yaml")
    )


def read(name: str, config: Path | None = None) -> dict[str, Any]:
    """The record of a recipe, from a file or from the package.

    Raises:
        UnknownName: No recipe has this name.
        SpecError: The file is not a record of a recipe.
    """
    if config is None and name not in names():
        raise UnknownName("recipe", name, names())
    path = Path(str(SHELF / f"{name}.yaml")) if config is None else config
    record = plain.read_yaml(path, "write the keys recipe, data, plan and options")
    if not isinstance(record, dict) or set(record) - {"recipe", "data", "plan", "options"}:
        raise SpecError(
            f"recipe '{name}' must be a record with the keys recipe, data, plan and options"
        )
    if record.get("recipe") not in RECIPES:
        raise UnknownName("kind of recipe", str(record.get("recipe")), RECIPES)
    return record


def prepare(record: dict[str, Any], out: Path, data: Path) -> Any:
    """The training of a record, at its last checkpoint."""
    import torch

    from latentzoo.builtin.train.data import Pictures
    from latentzoo.builtin.train.trainer import Plan, Trainer

    plan = Plan(**record["plan"])
    module, name = RECIPES[record["recipe"]].split(":")
    kind = getattr(importlib.import_module(module), name)
    sources = [Pictures(data, **record["data"])] if "data" in record else []
    torch.manual_seed(plan.seed)
    return Trainer(kind(*sources, **record.get("options", {})), plan, out)


@app.command()
def train(
    name: Annotated[str, typer.Argument(help="The model to train.")],
    config: Annotated[Path | None, typer.Option(help="A recipe of your own.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where checkpoints go: train/NAME.")] = None,
    data: Annotated[Path, typer.Option(help="Where drawn pictures are kept.")] = Path(
        "train/data"
    ),
    threads: Annotated[int, typer.Option(help="Processor threads.")] = 2,
) -> None:
    """Trains a built-in model. Run it again after a kill and it goes on.

    Example: latentzoo-train avatar-ldm --threads 1
    """
    import torch

    torch.set_num_threads(threads)
    trainer = prepare(read(name, config), out or Path("train") / name, data)
    for record in trainer.run():
        if record["step"] % 50 == 0:
            typer.echo(" ".join(f"{key}={value:.5g}" for key, value in record.items()))
    typer.echo(f"weights: {trainer.folder / 'weights.safetensors'}")


def main() -> None:
    """The entry point of `latentzoo-train`."""
    app()
