"""Tiny random pipelines of FLUX and of what is built like it, to which pictures are given."""

from pictured import AGAIN, HOLE, INTO, SEEN, pictured
from tiny import MADE, D

FLUX = {"max_sequence_length": 32}
SHOWN = {**INTO, "height": 16, "width": 16}


def flux(**more):
    """The parts of FLUX, of a transformer with other channels."""
    parts = MADE["FluxPipeline"].build()
    if more:
        config = parts["transformer"].config
        parts["transformer"] = D.FluxTransformer2DModel.from_config(config, **more)
    return parts


def controlled():
    kept = {**flux()["transformer"].config, "num_layers": 1, "num_single_layers": 1}
    known = D.FluxControlNetModel.__init__.__wrapped__.__annotations__
    net = D.FluxControlNetModel(**{k: v for k, v in kept.items() if k in known})
    return flux() | {"controlnet": net}


@pictured("FluxImg2ImgPipeline", AGAIN, **FLUX, **SHOWN)
def _():
    return flux()


@pictured("FluxInpaintPipeline", None, **FLUX, **HOLE)
def _():
    return flux()


@pictured("FluxFillPipeline", None, **FLUX, **HOLE)
def _():
    return flux(in_channels=48, out_channels=16)


@pictured("FluxControlPipeline", None, control_image=SEEN, **FLUX)
def _():
    return flux(in_channels=32, out_channels=16)


@pictured("FluxControlImg2ImgPipeline", None, control_image=SEEN, **FLUX, **SHOWN)
def _():
    return flux(in_channels=32, out_channels=16)


@pictured("FluxControlInpaintPipeline", None, control_image=SEEN, **FLUX, **HOLE)
def _():
    return flux(in_channels=32, out_channels=16)


@pictured("FluxControlNetPipeline", None, control_image=SEEN, **FLUX)
def _():
    return controlled()


@pictured("FluxControlNetImg2ImgPipeline", None, control_image=SEEN, **FLUX, **SHOWN)
def _():
    return controlled()


@pictured("FluxControlNetInpaintPipeline", None, control_image=SEEN, **FLUX, **HOLE)
def _():
    return controlled()


@pictured("FluxKontextPipeline", None, image=SEEN, max_area=256, _auto_resize=False, **FLUX)
def _():
    return flux()


@pictured("FluxKontextInpaintPipeline", None, _auto_resize=False, **FLUX, **HOLE)
def _():
    return flux()


@pictured(
    "Flux2KleinInpaintPipeline",
    None,
    max_sequence_length=64,
    text_encoder_out_layers=(1, 2),
    **HOLE,
)
def _():
    return MADE["Flux2KleinPipeline"].build()


@pictured("ChromaImg2ImgPipeline", AGAIN, **FLUX, **SHOWN)
def _():
    return MADE["ChromaPipeline"].build()


@pictured("ChromaInpaintPipeline", None, **FLUX, **HOLE)
def _():
    parts = MADE["ChromaPipeline"].build()
    parts["transformer"].register_to_config(guidance_embeds=False)  # which its call asks for
    return parts


def cloze():
    parts = flux(in_channels=48, out_channels=16)
    return parts | {"resolution": 16}


CLOZE = {
    "max_sequence_length": 256,
    "task_prompt": "two rows",
    "content_prompt": "a red cube",
    "image": [[SEEN, SEEN], [SEEN, None]],
    "height": None,
    "width": None,
}


@pictured("VisualClozePipeline", None, upsampling_height=16, upsampling_width=16, **CLOZE)
def _():
    return cloze()
