"""The experiment files of 2022, read as records.

`ChenWu98/unified-generative-zoo` keeps one `.cfg` file per experiment. `read_cfg` says what such a file means in our
terms, and where our map differs from theirs: their maps draw noise at each call, ours fix it; theirs render the last
picture with other steps than they guided with, ours is one map.

References:
    | Unifying Diffusion Models' Latent Space, with Applications to CycleDiffusion and Guidance
    | (Wu and De la Torre, 2022), https://arxiv.org/abs/2210.05559
"""

import configparser
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latentzoo.errors import SpecError, UnknownName
from latentzoo.record.spec import KernelSettings, Run, Term

Section = Mapping[str, Any]

CLIPS = {
    "ViT-B/32": "openai/clip-vit-base-patch32",
    "ViT-B/16": "openai/clip-vit-base-patch16",
    "ViT-L/14": "openai/clip-vit-large-patch14",
}
COPIES = 50


@dataclass(frozen=True)
class Map:
    """A generator of theirs in our terms.

    Attributes:
        name: Our card.
        options: The arguments of the map.
        vary: The blocks that vary; None for all.
        notes: What differs.
    """

    name: str
    options: dict[str, Any]
    vary: list[str] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Experiment:
    """A file of theirs in our terms: the record, and in words what differs from it or contradicts its name."""

    name: str
    run: Run
    notes: tuple[str, ...]
    contradictions: tuple[str, ...]


def read_cfg(path: Path) -> Experiment:
    """Reads an experiment file.

    Raises:
        SpecError: If the file is missing, is no such file, or has a section that is not known.
    """
    sections = _parse(path)
    for needed in ("gan", "model"):
        if needed not in sections:
            raise SpecError(
                f"{path}: it has no section [{needed}]; is it an experiment of unified-generative-zoo?"
            )
    model = sections["model"]
    if model.get("name") != "langevin_dynamics":
        raise SpecError(
            f"{path}: its model '{model.get('name')}' is not langevin_dynamics, the only one that is read"
        )
    if sections.get("PriorZEnergy", {}).get("weight") != 1:
        raise SpecError(
            f"{path}: its prior has not weight 1; the prior of a map from a Gaussian is N(0, I)"
        )
    generator = _generator(sections["gan"], path)
    terms = [term for name, section in sections.items() for term in _terms(name, section, path)]
    energies = [term.energy for term in terms]
    run = Run(
        generator=generator.name,
        options=generator.options,
        vary=generator.vary,
        energies=terms,
        kernel=KernelSettings(name="ula", settings={"step_size": float(model["step_size"])}),
        chains=32 if "attribute" in energies else 256,
        steps=int(model["n_steps"]),
        best="attribute" if model.get("metric") == "ClassEnergy" else None,
        micro_batch=4,
    )
    return Experiment(path.stem, run, generator.notes, tuple(_contradictions(path.stem, run)))


def _parse(path: Path) -> dict[str, dict[str, Any]]:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        if not parser.read(path, encoding="utf-8"):
            raise SpecError(f"{path}: there is no such file; give a .cfg of config/experiments")
    except (configparser.Error, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise SpecError(f"{path}: not an experiment file ({reason})") from None
    return {
        name: {key: _value(text) for key, text in parser[name].items()}
        for name in sorted(parser.sections())
    }


def _value(text: str) -> Any:
    """A value by their rules: a number, true or false, none, JSON, or the text without its quotes."""
    for read in (int, float, json.loads):
        try:
            return read(text)
        except ValueError:
            continue
    words = {"true": True, "false": False, "none": None}
    return words.get(text.lower(), text.strip("\"'"))


def _terms(name: str, section: Section, path: Path) -> list[Term]:
    kind, weight = re.sub(r"[12]$", "", name), float(section.get("weight", 1))
    if kind == "CLIPEnergy":
        pairs = zip(section["clip_models"], section["clip_model_weights"], strict=True)
        options = {"copies": COPIES, "antialias": False}
        return [
            Term(
                target=section["text"],
                weight=weight * w,
                model=_clip(model, path),
                options=options,
            )
            for model, w in pairs
        ]
    if kind == "IDSingleEnergy":
        references = ",".join(section["ref_paths"])
        return [
            Term(
                energy="identity",
                target=references,
                weight=weight,
                model=section["ir_se50_weights"],
            )
        ]
    if kind == "ClassEnergy":
        triples = zip(section["classes"], section["binaries"], section["weights"], strict=True)
        options = {"antialias": False, "exact": False}
        return [
            Term(
                energy="attribute",
                target=f"{label}={sign}",
                weight=weight * w,
                model=f"ckpts/celeba/{label}/best.pth",
                options=options,
            )
            for label, sign, w in triples
        ]
    if kind.endswith("Energy") and kind != "PriorZEnergy":
        raise UnknownName(
            f"energy in {path}",
            kind,
            ["CLIPEnergy", "IDSingleEnergy", "ClassEnergy", "PriorZEnergy"],
        )
    return []


def _clip(name: str, path: Path) -> str:
    if name not in CLIPS:
        raise UnknownName(f"CLIP in {path}", name, CLIPS)
    return CLIPS[name]


def _generator(gan: Section, path: Path) -> Map:
    kind = gan.get("gan_type", "")
    if kind not in GENERATORS:
        raise UnknownName(f"gan_type in {path}", str(kind), GENERATORS)
    return GENERATORS[kind](gan)


FRESH_NOISE = "theirs draws the noise maps at every call; here they are the file's, fixed"
FIXED_CAMERA = "theirs draws the camera at every call; here it is the frontal one, fixed"
OWN_STEPS = "theirs shows the picture with {} steps; here it is the one that was guided, with {}"


def _side(source: str) -> str:
    """The side in pixels at the end of a name like ffhq1024."""
    return re.sub(r"^\D+", "", source) or "1024"


def _latent_diffusion(gan: Section) -> Map:
    steps, shown = gan["custom_steps_train"], gan["custom_steps"]
    return Map("ldm-ffhq-256", {"steps": steps}, notes=(OWN_STEPS.format(shown, steps),))


def _diffusion_autoencoder(gan: Section) -> Map:
    options = {"steps": gan["steps_train"], "latent_steps": gan["latent_steps_train"]}
    notes = (OWN_STEPS.format("100 + 100", f"{gan['latent_steps_train']} + {gan['steps_train']}"),)
    if gan["latent_only"]:
        fresh = "theirs draws x_T at every call; here the block 'start' is fixed by rest_seed"
        return Map(
            f"diffae-ffhq-{_side(gan['source_model_type'])}",
            options,
            ["semantic"],
            (*notes, fresh),
        )
    return Map(f"diffae-ffhq-{_side(gan['source_model_type'])}", options, None, notes)


def _nvae(gan: Section) -> Map:
    fresh = "theirs draws the lower groups at every call; here they are fixed by rest_seed"
    options = {"temperature": gan["temperature"], "free": 1, "bound": 1.25}
    groups = [f"group_{i}" for i in range(gan["control_groups"])]
    return Map(
        "nvae-ffhq-256", options, groups, (fresh, "theirs draws the picture, here it is the mean")
    )


def _sn_dpm(gan: Section) -> Map:
    options = {"steps": gan["sample_steps"], "white_box_steps": gan["white_box_steps"] - 1}
    options["forward_type"] = gan["forward_type"]
    return Map(
        "sn-dpm-celeba-64",
        options,
        notes=("theirs draws the last step's noise at every call; here it is fixed",),
    )


GENERATORS: dict[str, Callable[[Section], Map]] = {
    "StyleGAN2": lambda gan: Map(
        "stylegan2-ffhq-1024", {"truncation": gan["sample_truncation"]}, notes=(FRESH_NOISE,)
    ),
    "DiffusionStyleGAN2": lambda gan: Map(
        "diffusion-stylegan2-ffhq-1024",
        {"truncation": gan["sample_truncation"]},
        notes=(FRESH_NOISE,),
    ),
    "StyleGAN-XL": lambda gan: Map(
        f"stylegan-xl-ffhq-{_side(Path(gan['network_pkl']).stem)}",
        {"truncation": gan["sample_truncation"]},
    ),
    "StyleSwin": lambda gan: Map(
        f"styleswin-ffhq-{_side(gan['source_model_type'])}",
        {"truncation": gan["sample_truncation"]},
    ),
    "StyleNeRF": lambda gan: Map(
        f"stylenerf-ffhq-{_side(gan['source_model_type'])}",
        {"truncation": gan["sample_truncation"]},
        notes=(FRESH_NOISE, FIXED_CAMERA),
    ),
    "StyleSDF": lambda gan: Map(
        "stylesdf-ffhq-1024",
        {"truncation": gan["sample_truncation"]},
        notes=(FRESH_NOISE, FIXED_CAMERA),
    ),
    "EG3D": lambda gan: Map(
        f"eg3d-ffhq-{_side(gan['source_model_type']).removesuffix('-128')}",
        {"truncation": gan["sample_truncation"]},
        notes=(FRESH_NOISE, "theirs jitters the rays' depths at every call; here they are even"),
    ),
    "GIRAFFE-HD": lambda gan: Map(
        "giraffe-hd-ffhq-1024",
        {"temperature": gan["temperature"]},
        notes=(FRESH_NOISE, FIXED_CAMERA),
    ),
    "NVAETrunc": _nvae,
    "LatentDiff": _latent_diffusion,
    "DiffAE": _diffusion_autoencoder,
    "DDGAN": lambda gan: Map("ddgan-celebahq-256", {}),
    "ExtendedAnalyticDPM": _sn_dpm,
}


def _contradictions(name: str, run: Run) -> list[str]:
    """Where a file does something else than its name says."""
    found = []
    said, side = re.search(r"_langevin_(\d+)$", name), re.search(r"_ffhq(\d+)_styleganxl", name)
    weight = (run.energies[0].weight or 0.0) if run.energies else 0.0
    if name.startswith("clip_") and weight != (float(said[1]) if said else 500):
        found.append(f"its name says weight {said[1] if said else 500}, the file {weight:g}")
    if side and not run.generator.endswith(f"-{side[1]}"):
        found.append(
            f"its name says {side[1]} pixels, the file loads the network of {_side(run.generator)}"
        )
    return found
