"""What generators with a camera obey, beyond the laws of all."""

import argparse
import json
import pickle
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.fit import fit
from latentzoo.rng import Rng
from latentzoo.views.camera import Camera, Viewable, fan
from latentzoo.views.orbit import orbit
from laws import PARITY, official

CARDS = PARITY.parents[1] / "src" / "latentzoo" / "zoo" / "cards"


def see(generator: Viewable) -> None:
    """Asserts that views agree with the map, differ from one another, and do not mix in a batch."""
    z = Rng(1, 2).normal(generator.space.dim)
    front = generator.view(generator.camera)
    shared = front.space.join(
        **{name: part for name, part in generator.space.split(z).items() if name != "camera"}
    )
    if front.space == generator.space:
        torch.testing.assert_close(front(z), generator(z), rtol=0, atol=0)
    left, middle, right = fan(generator.camera, 3, azimuth=30)
    pictures = orbit(generator, z, [left, middle, right])
    torch.testing.assert_close(pictures[1], front(shared), rtol=0, atol=0)
    assert not torch.allclose(pictures[0], pictures[1], atol=1e-4)
    assert not torch.allclose(pictures[0], pictures[2], atol=1e-4)
    angles = torch.tensor([left.azimuth, right.azimuth])
    both = orbit(generator, z, [replace(generator.camera, azimuth=angles)])[0]
    expected = torch.stack([pictures[0, 0], pictures[2, 1]])
    torch.testing.assert_close(both, expected, rtol=1e-4, atol=1e-4)


def poses(generator: Viewable, n: int = 20_000) -> tuple[Tensor, Tensor]:
    """The azimuths and elevations in degrees of many latent cameras."""
    camera: Camera = generator.aim(Rng(5).normal(n, 2)[0])
    return torch.as_tensor(camera.azimuth), torch.as_tensor(camera.elevation)


def gradient(generator: Viewable, z: Tensor) -> Tensor:
    """The gradient of a fixed function of the images."""
    z = z.clone().requires_grad_()
    image = generator(z)
    probe = Rng(7, dtype=z.dtype).normal(*image.shape[1:])
    return torch.autograd.grad((image * probe).sum(), z)[0]


def load(family, arch: str, card: str, records=lambda config: {}):
    """A generator from a card's tensors as if they were a file, and the card's arrays."""
    config, file = official(arch, card)
    found = family.infer(Checkpoint(file.tensors, records(config)))
    generator = family.build(**found["config"])
    fit(generator, file.tensors, family.KEYS[found["keys"]](generator), source=card)
    generator.eval().requires_grad_(False)
    with np.load(PARITY / "cards" / arch / f"{card}.npz") as arrays:
        return generator, {name: torch.from_numpy(arrays[name]) for name in arrays}


def sizes_agree(family, arch: str, files: dict[str, str]) -> None:
    """Asserts that each card's configuration alone builds the network of its file."""
    import check

    cards = yaml.safe_load((CARDS / f"{arch}.yaml").read_text())
    assert cards.keys() == files.keys()
    for name, file in files.items():
        manifest = check.read_json(PARITY / "manifest" / f"{arch}-{file}.json.gz")
        tensors = {key: torch.empty(shape, device="meta") for key, shape, _ in manifest["state"]}
        with torch.device("meta"):
            generator = family.build(**cards[name]["config"])
        state = check.translate(tensors, family.KEYS[cards[name]["keys"]](generator))
        own = generator.state_dict()
        assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in own.items()}
        assert generator.size[0] == cards[name]["resolution"]
        json.dumps(cards[name])


def official_file(path: Path, arch: str, card: str) -> Path:
    """Writes a card's tensors as the authors wrote theirs: by `torch.save`, or as NVIDIA's pickle."""
    config, file = official(arch, card)
    if arch in ("stylesdf", "giraffe_hd"):
        records = {"args": argparse.Namespace(**config)} if arch == "giraffe_hd" else {}
        torch.save({"g_ema": file.tensors, **records}, path)
        return path
    side = 8 if arch == "eg3d" else None
    network = persistent(
        file.tensors, {"_init_kwargs": config, "neural_rendering_resolution": side}
    )
    persistence = ModuleType("torch_utils.persistence")
    persistence._reconstruct_persistent_obj = _reconstruct_persistent_obj
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "torch_utils", ModuleType("torch_utils"))
        patch.setitem(sys.modules, "torch_utils.persistence", persistence)
        patch.setattr(_reconstruct_persistent_obj, "__module__", "torch_utils.persistence")
        path.write_bytes(pickle.dumps({"G_ema": network}))
    return path


def _reconstruct_persistent_obj(meta):
    raise AssertionError("a name of the file was called")


class Persistent:
    """What NVIDIA's files hold in the place of a module."""

    def __init__(self, state):
        self.state = state

    def __reduce__(self):
        meta = {"type": "class", "version": 6, "module_src": "raise SystemExit", "class_name": "M"}
        return _reconstruct_persistent_obj, ({**meta, "state": self.state},)


def persistent(tensors: dict[str, Tensor], attributes: dict) -> Persistent:
    """Nests named tensors into modules."""
    inner = {}
    for name, tensor in tensors.items():
        head, _, rest = name.partition(".")
        inner.setdefault(head, {})[rest] = tensor
    own = {name: group[""] for name, group in inner.items() if "" in group}
    children = {n: persistent(group, {}) for n, group in inner.items() if "" not in group}
    state = {"_parameters": {}, "_buffers": own, "_modules": children, **attributes}
    return Persistent(state)
