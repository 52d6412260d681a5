"""Small files in the layout of the official ones: parity cards, filled by official names, in the family's container."""

import argparse
import json
import pickle
import shutil
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from latentzoo.diffusion.schedule import scaled_linear_betas
from laws import PARITY, is_filter, taps

HUB = PARITY.parent / "hub" / "data"
State = dict[str, Tensor]


def state(arch: str, card: str) -> tuple[State, dict[str, Any]]:
    """The tensors of a card and its configuration; those that cards do not hold are our network's."""
    import check

    record = check.read_json(PARITY / "cards" / arch / f"{card}.json")
    driver = check.driver(arch)
    network = driver.build(record["config"])
    rules, own = driver.rules(network, record["config"]), network.state_dict()

    def value(entry: dict[str, Any]) -> Tensor:
        if entry["fill"]:
            return check.fill(entry, record["salt"])
        if is_filter(entry):
            return taps(entry["key"])
        if entry["key"] == "betas":
            c = record["config"]
            return torch.tensor(
                scaled_linear_betas(c["linear_start"], c["linear_end"], n=c["timesteps"])
            )
        name = next(ours for taken, ours in (r.rename(entry["key"]) for r in rules) if taken)
        return own[name] if name in own else torch.zeros(entry["shape"])

    return {entry["key"]: value(entry) for entry in record["state"]}, record["config"]


def averaged(arch: str, card: str) -> Callable[[Path], Path]:
    """A training file: `g_ema` among other things, the training's arguments if the card has them."""

    def write(folder: Path) -> Path:
        tensors, config = state(arch, card)
        raw = {name: value + 1 for name, value in tensors.items()}
        whole = {"g": raw, "g_ema": tensors, "args": argparse.Namespace(**config), "iter": 3}
        torch.save(whole, folder / "averaged.pt")
        return folder / "averaged.pt"

    return write


def plain(
    arch: str, card: str, *, name: str = "plain.pt", prefix: str = ""
) -> Callable[[Path], Path]:
    """A bare state dict, in the older format of `torch.save`."""

    def write(folder: Path) -> Path:
        tensors, config = state(arch, card)
        named = {f"{prefix}{key}": value for key, value in tensors.items()}
        torch.save(named, folder / name, _use_new_zipfile_serialization=False)
        (folder / name.replace("pytorch_model.bin", "config.json")).with_suffix(
            ".json"
        ).write_text(json.dumps(config))
        return folder / name

    return write


def trained(arch: str, card: str) -> Callable[[Path], Path]:
    """A file with `state_dict`, as Lightning and NVAE's authors write it."""

    def write(folder: Path) -> Path:
        tensors, config = state(arch, card)
        whole = {"epoch": 1, "state_dict": tensors, "args": argparse.Namespace(**config)}
        torch.save(whole, folder / "trained.ckpt")
        return folder / "trained.ckpt"

    return write


def pickled(name: str) -> Callable[[Path], Path]:
    """NVIDIA's pickle, from the files that the official code wrote."""
    return lambda folder: Path(shutil.copy(HUB / name, folder))


def second_stage(arch: str, card: str) -> Callable[[Path], Path]:
    """DiffAE's Lightning file: the network twice, the noise and the statistics of the codes beside it."""

    def write(folder: Path) -> Path:
        tensors, config = state(arch, card)
        side, style = config["img_size"], config["style_ch"]
        whole = {f"model.{name}": value + 1 for name, value in tensors.items()}
        whole |= {f"ema_model.{name}": value for name, value in tensors.items()}
        whole |= {"x_T": torch.zeros(2, 3, side, side)}
        whole |= {"conds_mean": torch.zeros(1, style), "conds_std": torch.ones(1, style)}
        torch.save({"state_dict": whole, "global_step": 1}, folder / "last.ckpt")
        return folder / "last.ckpt"

    return write


class Persistent:
    """A module as NVIDIA's code pickles it; the function that would run its source text does not exist here."""

    def __init__(self, kind: str, state: dict[str, Any]) -> None:
        meta = {
            "type": "class",
            "version": 6,
            "module_src": "",
            "class_name": kind,
            "state": state,
        }
        self.meta = meta

    def __reduce__(self) -> tuple[Any, ...]:
        return _reconstruct_persistent_obj, (self.meta,)


def _reconstruct_persistent_obj(meta: dict[str, Any]) -> None:
    raise AssertionError("a checkpoint was executed")


_reconstruct_persistent_obj.__module__ = "torch_utils.persistence"


def persistent(
    arch: str, card: str, *, name: str = "G_ema", kind: str = "Generator", **attributes: Any
) -> Callable[[Path], Path]:
    """NVIDIA's pickle of a card: nested modules, and the constructor's arguments on the outermost."""

    def module(tensors: State, kind: str, **attributes: Any) -> Persistent:
        own = {name: value for name, value in tensors.items() if "." not in name}
        inner = sorted({name.split(".")[0] for name in tensors if "." in name})
        below = lambda p: {
            n.removeprefix(f"{p}."): v for n, v in tensors.items() if n.startswith(f"{p}.")
        }
        modules = {name: module(below(name), "Module") for name in inner}
        return Persistent(
            kind, {"_parameters": {}, "_buffers": own, "_modules": modules, **attributes}
        )

    def write(folder: Path) -> Path:
        tensors, config = state(arch, card)
        network = module(tensors, kind, _init_kwargs=config, **attributes)
        package, code = ModuleType("torch_utils"), ModuleType("torch_utils.persistence")
        code._reconstruct_persistent_obj = _reconstruct_persistent_obj
        sys.modules |= {"torch_utils": package, "torch_utils.persistence": code}
        try:
            data = pickle.dumps({"G": None, "D": None, name: network}, 3)
        finally:
            del sys.modules["torch_utils"], sys.modules["torch_utils.persistence"]
        (folder / "network.pkl").write_bytes(data)
        return folder / "network.pkl"

    return write


def tutorial(folder: Path) -> Path:
    """What PyTorch's tutorial on DCGAN would save of its generator, small."""
    generator = torch.Generator().manual_seed(0)
    state: State = {}
    for k, (i, o) in enumerate(pairwise([5, 8, 6, 4])):
        state[f"main.{3 * k}.weight"] = torch.randn(i, o, 4, 4, generator=generator) * 0.1
        state[f"main.{3 * k + 1}.bias"] = torch.randn(o, generator=generator) * 0.1
        for name in ("weight", "running_var"):
            state[f"main.{3 * k + 1}.{name}"] = torch.rand(o, generator=generator) + 0.5
        state[f"main.{3 * k + 1}.running_mean"] = torch.zeros(o)
        state[f"main.{3 * k + 1}.num_batches_tracked"] = torch.tensor(3)
    state["main.9.weight"] = torch.randn(4, 3, 4, 4, generator=generator) * 0.1
    torch.save(state, folder / "G.pt")
    return folder / "G.pt"


FILES: dict[str, tuple[str, Callable[[Path], Path], dict[str, Any]]] = {
    "stylegan2": ("stylegan2", averaged("stylegan2", "s32_d64_m4"), {"truncation": 0.7}),
    "stylegan2-ada": ("stylegan2", pickled("stylegan2_ada.pkl"), {"truncation": 0.7}),
    "stylegan2-human": (
        "stylegan2",
        persistent("stylegan2_ada", "human_32x16"),
        {"truncation": -0.7},
    ),
    "stylegan_xl": ("stylegan_xl", pickled("stylegan_xl.pkl"), {"truncation": 0.7}),
    "stylegan3": ("stylegan3", pickled("stylegan3.pkl"), {"truncation": 0.7}),
    "styleswin": (
        "styleswin",
        averaged("styleswin", "s32_d32_m3"),
        {"truncation": 0.7, "samples": 100},
    ),
    "biggan_deep": (
        "biggan_deep",
        plain("biggan_deep", "r32_w16", name="pytorch_model.bin"),
        {"class_index": 3},
    ),
    "ddgan": ("ddgan", plain("ddgan", "v1", prefix="module."), {}),
    "diffae": ("diffae", second_stage("diffae", "v1"), {"steps": 2, "latent_steps": 2}),
    "eg3d": ("eg3d", persistent("eg3d", "ffhq_8xdc", neural_rendering_resolution=8), {}),
    "stylenerf": ("stylenerf", persistent("stylenerf", "ffhq_like"), {}),
    "ldm": ("ldm", trained("ldm", "v1"), {"steps": 2}),
    "nvae": ("nvae", trained("nvae", "v1"), {}),
    "guided_diffusion": (
        "guided_diffusion",
        plain("guided_diffusion", "classes_updown"),
        {"steps": 2, "class_index": 3},
    ),
    "edm": (
        "edm",
        persistent(
            "edm",
            "ddpmpp_edm_classes",
            name="ema",
            kind="EDMPrecond",
            sigma_data=0.5,
            sigma_min=0.0,
            sigma_max=float("inf"),
        ),
        {"steps": 3, "class_index": 3},
    ),
    "consistency": (
        "consistency",
        plain("consistency", "classes_modulated"),
        {"steps": 2, "class_index": 3},
    ),
    "sn_dpm": ("sn_dpm", plain("adpm_unet", "v1"), {"steps": 2}),
    "stylesdf": ("stylesdf", averaged("stylesdf", "ffhq_like"), {}),
    "giraffe_hd": ("giraffe_hd", averaged("giraffe_hd", "ffhq_like"), {}),
    "dcgan": ("dcgan", tutorial, {}),
}
