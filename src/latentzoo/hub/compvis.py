"""Models of CompVis: the settings `config.yaml`, which the tensors do not tell, and files that are of text to image."""

from collections.abc import Iterable, Mapping
from typing import Any

from latentzoo.errors import CheckpointError

EXPECTED = {"parameterization": "eps", "beta_schedule": "linear"}
"""What a latent diffusion of this package takes for granted."""
PLAIN = {
    **{"num_heads_upsample": -1, "use_new_attention_order": False, "dims": 2, "n_embed": None},
    **dict.fromkeys(("disable_self_attentions", "num_attention_blocks", "adm_in_channels"), None),
}
"""What a U-Net of this package takes for granted, and no tensor tells."""
TOLD = {
    *("image_size", "in_channels", "out_channels", "model_channels", "attention_resolutions"),
    *("num_res_blocks", "channel_mult", "num_heads", "num_head_channels", "conv_resample"),
    *("use_spatial_transformer", "transformer_depth", "context_dim", "num_classes", "legacy"),
    *("resblock_updown", "use_scale_shift_norm", "use_linear_in_transformer"),
    *("use_checkpoint", "use_fp16", "use_bf16", "dropout", "ckpt_path", "ignore_keys"),
}
"""The other settings of a U-Net: read here, told by its tensors as well, or of its training."""
CLAIMS = {
    "model_channels": "width",
    "num_res_blocks": "depth",
    "channel_mult": "mult",
    "attention_resolutions": "attention",
    "use_scale_shift_norm": "modulate",
    "resblock_updown": "resample",
    "in_channels": "inputs",
    "out_channels": "outputs",
}
"""The settings of a U-Net that its tensors tell as well, and our names of them."""
STAGE_CLAIMS = {
    "n_embed": "codebook",
    "embed_dim": "channels",
    "z_channels": "latent",
    "ch": "width",
    "ch_mult": "mult",
    "num_res_blocks": "depth",
}
"""Those of an autoencoder."""
UNET, STAGE = "model.diffusion_model.", "first_stage_model."
"""How the names of tensors begin of the raw U-Net, and of the autoencoder."""
TEXTUAL = {
    "cond_stage_model.transformer.text_model.": "CLIP's text encoder, as Stable Diffusion 1",
    "cond_stage_model.model.transformer.resblocks.": "OpenCLIP's text encoder, as Stable Diffusion 2",
    "cond_stage_model.transformer.token_emb.": "a BERT, as the first latent diffusion of texts",
    "conditioner.embedders.": "text encoders, as Stable Diffusion XL",
    "text_encoders.": "text encoders",
    "model.diffusion_model.joint_blocks.": "the transformer of Stable Diffusion 3",
    "model.diffusion_model.double_blocks.": "the transformer of Flux",
    "double_blocks.": "the transformer of Flux",
}
"""How the names of tensors begin that only text-to-image models have, and what stands there."""


def read(settings: Mapping[str, Any], *, source: str) -> dict[str, Any]:
    """The arguments of `zoo.ldm.build` that settings tell; empty where they are of another program.

    Arguments:
        settings: The settings.
        source: What to call them in errors.

    Raises:
        CheckpointError: If the model is trained in a way that is not known here.
    """
    params = _below(settings, "model", "params")
    unet = _below(params, "unet_config", "params")
    if not unet:
        return {}
    for name, value in EXPECTED.items():
        if params.get(name, value) != value:
            raise CheckpointError(
                f"{source} says {name}: {params[name]}, and only {value} is known here"
            )
    for name, value in unet.items():
        if name not in TOLD and (name not in PLAIN or value not in (PLAIN[name], None)):
            raise CheckpointError(
                f"{source} says {name}: {value} of the U-Net, which is not followed here; leave it out if it "
                "changes no picture"
            )
    told: dict[str, Any] = {}
    width, heads = unet.get("num_head_channels", -1), unet.get("num_heads", -1)
    told |= {"head_width": width} if width != -1 else {"heads": heads} if heads != -1 else {}
    if isinstance(params.get("image_size"), int):
        told["size"] = params["image_size"]
    names = {"linear_start": "beta_start", "linear_end": "beta_end", "timesteps": "times"}
    told |= {ours: params[theirs] for theirs, ours in names.items() if theirs in params}
    if not params.get("scale_by_std"):
        told["scale"] = float(params.get("scale_factor", 1.0))
    return told


def compare(
    settings: Mapping[str, Any],
    unet: Mapping[str, Any],
    stage: Mapping[str, Any],
    *,
    source: str,
) -> None:
    """Compares the settings of both networks with what their tensors tell, by our names.

    Arguments:
        settings: The settings.
        unet: What the tensors of the U-Net tell.
        stage: What those of the first stage tell.
        source: What to call the settings in errors.

    Raises:
        CheckpointError: If they are of other networks.
    """
    said = dict(_below(settings, "model", "params", "unet_config", "params"))
    claims = dict(CLAIMS)
    if "use_spatial_transformer" in said:
        claims |= {"transformer_depth": "transformer", "context_dim": "context"}
        depth = said.get("transformer_depth", 1) if said["use_spatial_transformer"] else 0
        said["transformer_depth"] = depth
    if "attention_resolutions" in said:  # factors beyond the lowest level have no effect
        there = 2 ** len(unet["mult"])
        said["attention_resolutions"] = sorted(
            n for n in said["attention_resolutions"] if n < there
        )
    _agree(said, claims, {**unet, "attention": sorted(unet["attention"])}, "the U-Net", source)
    first = _below(settings, "model", "params", "first_stage_config", "params")
    said = {**first, **_below(first, "ddconfig")}
    _agree(said, STAGE_CLAIMS, {"codebook": None, **stage}, "the first stage", source)


def _agree(
    said: Mapping[str, Any],
    claims: Mapping[str, str],
    seen: Mapping[str, Any],
    what: str,
    source: str,
) -> None:
    for name in claims.keys() & said.keys():
        own = seen.get(claims[name])
        if said[name] not in (own, None) and _one(said[name]) != own:
            raise CheckpointError(
                f"{source} says {name}: {said[name]} of {what}, and the tensors {own}; are these the "
                "settings of another network? give the right ones, or move them away"
            )


def _one(value: Any) -> Any:
    """A list of equal values, one for each level or block, as that value."""
    alike = isinstance(value, list) and value and all(x == value[0] for x in value)
    return value[0] if alike else value


def refuse_texts(names: Iterable[str], *, source: str) -> None:
    """Says of a file of text to image how it is loaded: it has no tokenizer, and its settings are elsewhere.

    Raises:
        CheckpointError: If the names are those of such a file.
    """
    for name in names:
        for beginning, said in TEXTUAL.items():
            if name.startswith(beginning):
                raise CheckpointError(
                    f"{source}: the file holds {said} ({name}), so it makes pictures of texts and has no tokenizer; "
                    "give the folder of the pipeline in diffusers' layout, or this file with a folder of its settings, "
                    "config=FOLDER, and a prompt"
                )


def refuse_parts(names: Iterable[str], *, source: str) -> None:
    """Says of a file that it holds one half of a latent diffusion.

    Raises:
        CheckpointError: If the names are those of such a file.
    """
    names = list(names)
    unet, stage = (any(n.startswith(beginning) for n in names) for beginning in (UNET, STAGE))
    if unet and not stage:
        raise CheckpointError(
            f"{source}: the file holds a U-Net of CompVis ('{UNET}') and no autoencoder ('{STAGE}'), without which "
            "codes are no pictures; give the whole checkpoint, or family=guided_diffusion if it was trained on pixels"
        )
    if (stage and not unet) or {"post_quant_conv.weight", "decoder.conv_in.weight"} <= set(names):
        raise CheckpointError(
            f"{source}: the file holds the autoencoder of a latent diffusion alone, of whose codes it does not say how "
            "they are drawn; give the whole checkpoint"
        )


def _below(table: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    for name in names:
        inner = table.get(name)
        table = inner if isinstance(inner, Mapping) else {}
    return table
