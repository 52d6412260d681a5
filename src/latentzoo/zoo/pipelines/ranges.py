"""What the numbers in a pipeline's call may be, by their names, told before the call.

A number that is out of range is seldom refused by a pipeline: a negative guidance scale, a fraction above 1, a size of
0 are read as something else, or as nothing.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from latentzoo.errors import SpecError
from latentzoo.zoo.pipelines.pictures import each


class Range(NamedTuple):
    """What an argument may be.

    Attributes:
        names: Which arguments, by their whole name.
        low: The least value.
        high: The largest one, None for any.
        open: Whether the least value itself is none.
        below: Whether the largest value itself is none.
    """

    names: re.Pattern[str]
    low: float
    high: float | None = None
    open: bool = False
    below: bool = False

    def __str__(self) -> str:
        if self.high is None:
            return f"at least {self.low:g}"
        if self.open:
            most = "less than" if self.below else "at most"
            return f"more than {self.low:g} and {most} {self.high:g}"
        return f"from {self.low:g} to {self.high:g}"

    def holds(self, value: float) -> bool:
        """Whether a value is in it."""
        least = value > self.low if self.open else value >= self.low
        if self.high is None:
            return least
        return least and (value < self.high if self.below else value <= self.high)


RANGES = (
    Range(re.compile(r"(\w+_)?(guidance|cfg)_scale|pag_scale|pag_adaptive_scale"), 0),
    Range(re.compile(r"\w+_num_inference_steps|parallel|(max|min)_sequence_length"), 1),
    Range(re.compile(r"height|width|original_inference_steps|layers|num_layers"), 1),
    Range(re.compile(r"(\w+_)?strength|denoising_end"), 0, 1, open=True),
    Range(re.compile(r"eta|guidance_rescale|sag_scale"), 0, 1),
    Range(re.compile(r"denoising_start"), 0, 1, open=True, below=True),
    Range(re.compile(r"control_guidance_(start|end)|skip_layer_guidance_(start|stop)"), 0, 1),
    Range(re.compile(r"adapter_conditioning_factor|gligen_scheduled_sampling_beta"), 0, 1),
    Range(re.compile(r"gligen_boxes|cfg_truncation|cfg_trunc_ratio|cfg_range"), 0, 1),
    Range(re.compile(r"(negative_)?(original|target)_size"), 1),
    Range(re.compile(r"(negative_)?crops_coords_top_left|noise_level|clip_skip"), 0),
    Range(re.compile(r"(negative_)?aesthetic_score"), 0, 10),
)
ORDERED = (
    ("control_guidance_start", "control_guidance_end"),
    ("skip_layer_guidance_start", "skip_layer_guidance_stop"),
    ("denoising_start", "denoising_end"),
)
"""Where something begins and where it ends, which is later."""


def judge(kind: str, given: Mapping[str, Any], usual: Mapping[str, Any]) -> None:
    """Looks at the numbers of a call.

    Arguments:
        kind: The class of the pipeline.
        given: What the user gives.
        usual: What the call takes where nothing is given.

    Raises:
        SpecError: If one is out of range, or something ends before it begins.
    """
    for name, value in given.items():
        for one in _numbers(value):
            _hold(kind, name, value, one)
    for first, last in ORDERED:
        if {first, last} & {*given}:
            begin, end = (given.get(name, usual.get(name)) for name in (first, last))
            pairs = zip(_numbers(begin), _numbers(end), strict=False)
            if any(b >= e for b, e in pairs):
                raise SpecError(
                    f"{first}={begin} of {kind} is not before {last}={end}; give a smaller {first}"
                )


def _hold(kind: str, name: str, value: Any, one: float) -> None:
    for range_ in RANGES:
        if range_.names.fullmatch(name) and not range_.holds(one):
            what = "a number" if one is value else "numbers"
            raise SpecError(f"{name}={value} is out of range for {kind}; give {what} {range_}")


def layers(pipe: Any, given: Mapping[str, Any]) -> None:
    """Looks at the arguments that count layers of the pipeline's networks.

    Raises:
        SpecError: If there are not as many.
    """
    skip, seen = given.get("clip_skip"), getattr(pipe, "text_encoder", None)
    depth = getattr(getattr(seen, "config", None), "num_hidden_layers", None)
    if skip is not None and depth is not None and skip >= depth:
        raise SpecError(
            f"clip_skip={skip}, and the text encoder has {depth} layers; give 0 to {depth - 1}"
        )
    config = getattr(getattr(pipe, "transformer", None), "config", None)
    depth = getattr(config, "num_layers", None)
    for one in _numbers(given.get("skip_guidance_layers")):
        if depth is not None and not 0 <= one < depth:
            raise SpecError(
                f"skip_guidance_layers has {one}, and the transformer has {depth} layers; give numbers from 0 to "
                f"{depth - 1}"
            )


def _numbers(value: Any) -> Iterator[float]:
    """The numbers of a value, in lists too."""
    return (x for x in each(value) if isinstance(x, int | float) and not isinstance(x, bool))
