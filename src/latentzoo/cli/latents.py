"""Commands on latents: encode, decode, translate, orbit."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latentzoo.cli.app import command
from latentzoo.cli.shared import (
    Card,
    Debug,
    Family,
    Generator,
    Option,
    Prompt,
    Run,
    Seed,
    count,
    options,
)
from latentzoo.errors import SpecError

if TYPE_CHECKING:
    from latentzoo import generator as maps


@command(example="latentzoo encode face.png avatar-ldm --out z.safetensors")
def encode(
    image: Annotated[Path, typer.Argument(help="The picture.")],
    generator: Generator,
    out: Annotated[Path, typer.Option("--out", "-o", help="The latent's file.")] = Path(
        "z.safetensors"
    ),
    family: Family = None,
    card: Card = None,
    option: Option = None,
    seed: Seed = 0,
    debug: Debug = False,
) -> None:
    """Find the latent of a picture, and say how well it gives the picture back."""
    from safetensors.torch import save_file

    from latentzoo import picture, zoo
    from latentzoo.files import write_atomic
    from latentzoo.rng import Domain, Rng

    network = zoo.load(generator, family=family, card=card, **options(option))
    original = picture.read(image, network.size)
    z = encoder(network, generator).encode(original, Rng(seed, domain=Domain.PICTURE))
    error = (network(z) - original).square().mean().sqrt()
    write_atomic(
        out, lambda path: save_file({"z": z.contiguous()}, path, {"generator": generator})
    )
    typer.echo(
        f"{out}: {z.shape[1]} numbers; the picture comes back within {float(error):.4f} rms"
    )


@command(example="latentzoo decode z.safetensors avatar-ldm --out pictures")
def decode(
    latents: Annotated[Path, typer.Argument(help="A latent's file, or a run folder.")],
    generator: Generator,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder of the pictures.")] = Path(
        "decoded"
    ),
    family: Family = None,
    card: Card = None,
    prompt: Prompt = None,
    option: Option = None,
    debug: Debug = False,
) -> None:
    """Show latents with a generator, which may have other arguments than the one that found them."""
    from latentzoo import picture, zoo
    from latentzoo.posterior import images

    network = zoo.load(generator, family=family, card=card, **options(option, prompt))
    from latentzoo.record import held, layout, plain

    z = layout.read_latents(latents)
    if (record := latents / layout.RECORD).is_file():  # a run may have held blocks still
        z = held.filled(plain.read(record), network.space, z)
    if z.shape[1] != network.space.dim:
        raise SpecError(
            f"{latents}: its latents have {z.shape[1]} numbers, '{generator}' takes {network.space.dim}"
        )
    out.mkdir(parents=True, exist_ok=True)
    for i, pixels in enumerate(picture.to_uint8(images(network, z, 4))):
        picture.write(out / f"{i:05d}.png", pixels)
    typer.echo(f"{count(len(z), 'picture')}: {out}")


@command(
    example="latentzoo translate cat.png --from ddpm-cat-256 --to ddpm-celebahq-256 --out face.png"
)
def translate(
    image: Annotated[Path, typer.Argument(help="The picture.")],
    source: Annotated[str, typer.Option("--from", help="The generator of the picture's world.")],
    target: Annotated[str, typer.Option("--to", help="The generator of the other world.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The translated picture.")] = Path(
        "translated.png"
    ),
    option: Option = None,
    strength: Annotated[
        float | None,
        typer.Option(
            "--sdedit",
            help="Use SDEdit of this strength instead, the baseline.",
            show_default=False,
        ),
    ] = None,
    seed: Seed = 0,
    debug: Debug = False,
) -> None:
    """Encode a picture in one world and decode it in another (CycleDiffusion)."""
    from latentzoo import picture
    from latentzoo.record.worlds import translated

    result = translated(
        image, source, target, options=options(option), seed=seed, strength=strength
    )
    picture.write(out, picture.to_uint8(result)[0])
    typer.echo(str(out))


@command(example="latentzoo orbit runs/face --chain 3 --views 9 --mesh face.ply")
def orbit(
    folder: Run,
    chain: Annotated[int, typer.Option(min=0, help="The chain whose latent is shown.")] = 0,
    views: Annotated[int, typer.Option(min=1, help="How many cameras.")] = 9,
    arc: Annotated[float, typer.Option(help="The width of the fan of cameras in degrees.")] = 60.0,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Where orbit.png and orbit.webp go; default the run."),
    ] = None,
    mesh: Annotated[
        Path | None,
        typer.Option(
            help="Write the surface too, a .ply file (EG3D, StyleSDF, avatar-3d).",
            show_default=False,
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Show a found latent of a generator with a camera from a fan of cameras: a strip, and an animation."""
    from latentzoo.record.saved import SavedRun
    from latentzoo.record.sides import Sides
    from latentzoo.views import mesh as meshes
    from latentzoo.views import orbit as orbits

    sides = Sides(SavedRun(folder), chain)
    if mesh is not None:  # what it lacks is said before anything is written
        meshes.require()
    place = out or folder
    place.mkdir(parents=True, exist_ok=True)
    strip = sides.orbit(views, arc)
    orbits.write_strip(place / "orbit.png", strip)
    orbits.write_animation(place / "orbit.webp", strip)
    typer.echo(f"{count(views, 'view')}: {place / 'orbit.png'}, {place / 'orbit.webp'}")
    if mesh is not None:
        meshes.extract(sides.generator, sides.z).write(mesh)
        typer.echo(f"the surface: {mesh}")


def encoder(generator: "maps.Generator", name: str) -> "maps.Encodable":
    """The generator as an encoder.

    Raises:
        SpecError: If it cannot encode.
    """
    from latentzoo.generator import Encodable

    if not isinstance(generator, Encodable):
        raise SpecError(
            f"the generator '{name}' cannot encode a picture; take a diffusion model or a flow"
        )
    return generator
