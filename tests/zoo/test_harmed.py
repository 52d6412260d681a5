"""A file whose tensors are not those of its network ends in one error that names it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from latentzoo.errors import CheckpointError
from latentzoo.zoo import _family, _plan
from laws import official

FILES = {
    "biggan_deep": ("biggan_deep", "r64_w12", "generator.layers.1.conv_3.bias"),
    "nvae": ("nvae", "v1", "dec_tower.0.conv.weight"),
    "sn_dpm": ("adpm_unet", "v1", "down.1.block.0.conv1.weight"),
    "styleswin": ("styleswin", "s32_d32_m3", "layers.0.blocks.0.mlp.fc2.weight"),
}
HARM = {
    "missing": lambda tensors, name: tensors.pop(name),
    "surplus": lambda tensors, name: tensors.update(stranger=tensors[name]),
    "flat": lambda tensors, name: tensors.update({name: tensors[name].reshape(-1, 1, 1)}),
    "single": lambda tensors, name: tensors.update({name: torch.zeros(())}),
    "empty": lambda tensors, name: tensors.update({name: tensors[name][:0]}),
    "nan": lambda tensors, name: tensors.update({name: torch.nan * tensors[name]}),
}


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("family", FILES)
def test_harmed_files_end_in_one_error(family, harm):
    arch, card, name = FILES[family]
    _, file = official(arch, card)
    HARM[harm](file.tensors, name)
    file = replace(file, path=Path("harmed.pt"))
    with pytest.raises(CheckpointError, match=r"^harmed\.pt: "):
        found, seen, network = _family.recognise(file, family)
        _plan.Plan(found, seen["keys"], seen["config"], network, None).build()


@pytest.mark.parametrize("family", FILES)
def test_a_file_is_of_one_family(family):
    _, file = official(*FILES[family][:2])
    assert _family.recognise(file, None)[0] == family
