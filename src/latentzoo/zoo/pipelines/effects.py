r"""Which options of a call change nothing, found by leaving each of them out.

A pipeline's call is Python around its networks. Two calls whose networks are given the same, in the same order, get
the same from them, so a call is followed without a network: what the networks said in the first run is said again,
with noise that is a function of what they are given (so that guidance sees two things where a network is asked
twice), and what they are given is compared,

.. math:: a_1 = b_1, \dots, a_n = b_n \;\Rightarrow\; P(\varepsilon \mid a) = P(\varepsilon \mid b)

The first difference ends the call: the option has an effect. A network that is given something else in the same
shapes is run with both, as it may not read what differs (the weight of a LoRA that is not there).
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from latentzoo.zoo.pipelines import schedules
from latentzoo.zoo.pipelines.changes import others
from latentzoo.zoo.pipelines.digest import digest
from latentzoo.zoo.pipelines.follow import Ear, Heard, Trace
from latentzoo.zoo.pipelines.probe import Probe
from latentzoo.zoo.pipelines.texts import Texts

ELSEWHERE = {
    *("height", "width", "use_resolution_binning"),
    *("clean_caption", "max_sequence_length", "min_sequence_length"),
}
"""What is looked at elsewhere: sizes of the picture by its size, what reads long texts by the words that are lost; and
what cleans a text, which may be clean."""
TIMES = {*schedules.TIMES, "num_inference_steps"}
"""Ways to say the steps; where several are given, they say the same (see `schedules`)."""
LEFT_OUT = object()
"""What an option is changed to that is left out."""

NEEDS: Mapping[str, str] = {
    r"negative_prompt(_\d)?": "it needs guidance, by a guidance_scale or true_cfg_scale above 1",
    r"true_cfg_scale": "it needs a negative_prompt",
    r"guidance_rescale": "it needs a guidance_scale above 1",
    r"skip_layer_guidance_\w+": "it needs skip_guidance_layers and a guidance_scale above 1",
    r"skip_guidance_layers": "it needs a guidance_scale above 1",
    r"(\w+_)?attention_kwargs": "it needs a LoRA, whose scale it is",
    r"masked_image_latents": "it needs a U-Net that reads a masked picture",
    r"(negative_)?aesthetic_score": "it needs a refiner",
    r"negative_(original|target)_size": (
        "it needs negative_original_size, negative_target_size and a guidance_scale above 1"
    ),
    r"guidance_scale": "it needs a network that reads it",
    r"strength": "where it begins is said by denoising_start",
    r"num_inference_steps": "of all numbers the same steps are left",
}
"""What an option needs to have an effect, by its name, where that can be said."""


Run = Callable[[Trace, Ear, Mapping[str, Any]], Tensor]
"""The picture of a first run with some options changed."""


def unheard(
    run: Run, probe: Probe, memory: Texts, given: Mapping[str, Any], usual: Mapping[str, Any]
) -> list[str]:
    """The options that change nothing, whatever they are; none where that cannot be found out, as the pipeline fails.

    Arguments:
        run: Runs the call with some options changed.
        probe: What the networks said in the first run.
        memory: What the text encoders said in it.
        given: What the user gives.
        usual: What the call takes where nothing is given.
    """
    try:
        return _unheard(run, probe, memory, given, usual)
    except Exception:  # whatever foreign code and objects do: the map itself is made already
        return []


def _unheard(
    run: Run, probe: Probe, memory: Texts, given: Mapping[str, Any], usual: Mapping[str, Any]
) -> list[str]:
    asked = [n for n in given if n in usual and judged(n, given)]
    asked = [n for n in asked if digest(given[n]) != digest(usual[n])]
    if not asked:
        return []
    ear, like = Ear(memory), Trace(probe)
    picture = digest(run(like, ear, {}))
    ear.first.clear()

    def same(name: str, value: Any) -> bool | None:
        """Whether another value makes the same; None if the pipeline refuses it."""
        trace = Trace(probe, like)
        try:
            other = digest(run(trace, ear, {name: value}))
        except Heard:
            return False
        except Exception:  # whatever foreign code does
            return None
        return other == picture and len(trace.calls) == len(like.calls)

    def without_effect(name: str) -> bool:
        if not same(name, LEFT_OUT):
            return False
        found = [same(name, value) for value in others(given[name])]
        return False not in found and (not found or True in found)

    return [name for name in asked if without_effect(name)]


def judged(name: str, given: Mapping[str, Any]) -> bool:
    """Whether an option is looked at: one that asks for nothing does nothing, as it should."""
    value = given[name]
    times = name in TIMES and len(TIMES & {*given}) > 1
    large = isinstance(value, Tensor | np.ndarray | Image.Image)
    return name not in ELSEWHERE and not times and (large or bool(value))


def told(kind: str, name: str, value: Any) -> str:
    """What is said of an option that changes nothing."""
    needs = next((why for words, why in NEEDS.items() if re.fullmatch(words, name)), "")
    short = isinstance(value, str | bool | int | float | dict | list | tuple)
    shown = f"{name}={value!r}" if short and len(repr(value)) < 80 else name
    why = f": {needs}" if needs else ""
    return f"{kind} makes the same picture without {shown}{why}; leave it out"
