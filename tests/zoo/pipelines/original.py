"""One file with all networks of a tiny Stable Diffusion, with the names of its original code."""

import re

from safetensors.torch import save_file

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.attentions.0": "middle_block.1",
}
ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def write(pipe, path):
    """Writes the file of a pipeline whose U-Net has one layer in each block."""
    tensors = {f"model.diffusion_model.{_unet(k)}": x for k, x in pipe.unet.state_dict().items()}
    for name, x in pipe.vae.state_dict().items():
        new = _vae(name, len(pipe.vae.config.block_out_channels))
        flat = ".attn_1." in new and new.endswith("weight") and "norm" not in new
        tensors[f"first_stage_model.{new}"] = x[:, :, None, None] if flat else x
    for name, x in pipe.text_encoder.state_dict().items():
        name = name.removeprefix("text_model.")
        tensors[f"cond_stage_model.transformer.text_model.{name}"] = x
    save_file({k: x.contiguous() for k, x in tensors.items()}, path, {"format": "pt"})


def _unet(name):
    for old, new in UNET.items():
        if name.startswith(f"{old}."):
            return new + name.removeprefix(old)
    part, _, rest = name.partition(".resnets.") if ".resnets." in name else ("", "", "")
    if part:
        at, inner, kind = rest.split(".", 2)
        old = f"{inner}.{kind}".rpartition(".")
        rest = f"{RESNET[old[0]]}.{old[2]}"
        if part == "mid_block":
            return f"middle_block.{2 * int(at)}.{rest}"
        way, block = part.split("_blocks.")
        first = 1 if way == "down" else 0
        return (
            f"{'input' if first else 'output'}_blocks.{first + 2 * int(block) + int(at)}.0.{rest}"
        )
    way, block, kind, at, rest = re.fullmatch(
        r"(down|up)_blocks\.(\d+)\.(attentions|downsamplers|upsamplers)\.(\d+)\.(.*)", name
    ).groups()
    if kind == "attentions":
        first = 1 if way == "down" else 0
        place = first + 2 * int(block) + int(at)
        return f"{'input' if first else 'output'}_blocks.{place}.1.{rest}"
    if kind == "downsamplers":
        return f"input_blocks.{2 + 2 * int(block)}.0.op.{rest.removeprefix('conv.')}"
    return f"output_blocks.{2 * int(block) + 1}.{2 if block == '0' else 1}.{rest}"


def _vae(name, blocks):
    name = name.replace("mid_block.attentions.0.", "mid.attn_1.")
    if "mid.attn_1." in name:
        for old, new in ATTENTION.items():
            name = name.replace(f"attn_1.{old}.", f"attn_1.{new}.")
        return name
    name = re.sub(
        r"mid_block\.resnets\.(\d)", lambda found: f"mid.block_{int(found[1]) + 1}", name
    )
    name = re.sub(r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block.", name)
    name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", name)
    up = lambda found: f"up.{blocks - 1 - int(found[1])}."
    name = re.sub(r"up_blocks\.(\d+)\.", up, name)
    name = re.sub(r"(up\.\d+)\.resnets\.", r"\1.block.", name)
    name = re.sub(r"(up\.\d+)\.upsamplers\.0", r"\1.upsample", name)
    return name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
