"""What the libraries say against a folder or a call, in one line."""

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from json import JSONDecodeError
from pathlib import Path

from latentzoo.errors import CheckpointError, LatentzooError, SpecError

STEPLESS = (
    "{name} is left without a step; give more num_inference_steps, or a strength, denoising_start or denoising_end "
    "that leaves some"
)
"""What is said of a call that asks its scheduler for no step, and so makes a picture of noise or of nothing."""
REASONS: Mapping[str, str] = {
    r"`?height`? and `?width`? .*divisible by (\d+),? but (?:are|got) .*?(\d+) .*?(\d+)": (
        "{name} makes sizes that are multiples of {0}, and height={1}, width={2} are not both; give multiples of {0}"
    ),
    r"(?i)(height|width) must be divisible by (\d+) \(got (\d+)\)": (
        "{name} makes sizes that are multiples of {1}, and {0}={2} is not; give a multiple of {1}"
    ),
    r"max_sequence_length`? (?:cannot be greater|must be less) than (\d+)": (
        "{name} reads at most {0} tokens, and max_sequence_length is above; give at most {0}"
    ),
    r"reshape tensor of 0 elements|steps? is 0 which is < 1|After adjusting the num_inference_steps": (
        STEPLESS
    ),
    r"num_inference_steps`: (\d+) cannot be larger than `original_inference_steps`: (\d+)": (
        "num_inference_steps={0} is out of range for {name}, whose original_inference_steps is {1}; give at most {1}"
    ),
    r"cannot be larger than `self.config.train_timesteps`: (\d+)": (
        "num_inference_steps is out of range for {name}; give at most {0}"
    ),
    r"Input is in incorrect format|`image` input cannot be undefined|image.* but is <class 'NoneType'>": (
        "{name} needs a picture that is not given; give it by its path, as image or mask_image"
    ),
    r"weight of size .* to have (\d+) channels, but got (\d+) channels": (
        "{name} is given a picture of {1} channels, or has networks that do not go together, where {0} are read; give "
        "pictures of three colours"
    ),
    r"For single controlnet: `controlnet_conditioning_scale` must be": (
        "controlnet_conditioning_scale is a list, and {name} has one ControlNet; give one number"
    ),
}
"""What diffusers says, and what it means."""
SHAPES: Mapping[str, str] = {
    r"because (\S+) expected shape torch\.Size\((.*?)\), but got torch\.Size\((.*?)\)": (
        "its settings ask for '{0}' of the shape {1}, its file has {2}"
    ),
    r"ignore_mismatched_sizes": "its settings ask for tensors of other shapes than its file has",
}
"""What the libraries say of settings that are not those of a network's tensors, and what it means."""
UNFIT = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, NotImplementedError)
"""What the libraries raise over settings; over files that are cut or damaged, other errors, or those of `CUT`."""
CUT = (JSONDecodeError, UnicodeError)


@contextmanager
def unsound(path: Path) -> Iterator[None]:
    """What is wrong with a folder or a file.

    Raises:
        CheckpointError: If it cannot be read.
        SpecError: If a package is missing.
    """
    try:
        yield
    except LatentzooError:
        raise
    except ImportError as error:
        raise SpecError(
            f"{path}: needs a package that is not installed ({_short(error)})"
        ) from error
    except Exception as error:  # whatever a file makes its readers do
        if (meant := _meant(SHAPES, "", str(error))) is not None:
            raise CheckpointError(
                f"{path}: {meant}; correct its config.json, or take the one that belongs to the file"
            ) from error
        unfit = isinstance(error, UNFIT) and not isinstance(error, CUT)
        cure = "do the settings of its components fit it?" if unfit else "is it complete?"
        raise CheckpointError(
            f"{path}: cannot be loaded ({type(error).__name__}: {_short(error)}); {cure}"
        ) from error


@contextmanager
def refused(
    name: str, what: str = "the call", cure: str = "check its options and its scheduler"
) -> Iterator[None]:
    """What a class of the libraries says against what it is given.

    Arguments:
        name: The class.
        what: What it is given.
        cure: What helps.

    Raises:
        SpecError: If it refuses, or a package is missing.
    """
    try:
        yield
    except LatentzooError:
        raise
    except NameError as error:  # of a package that its module would have imported
        raise SpecError(
            f"{name} needs the package {_package(error)}, which is not installed; install it by pip"
        ) from error
    except ImportError as error:
        raise SpecError(
            f"{name} needs a package that is not installed ({_short(error)})"
        ) from error
    except Exception as error:  # whatever foreign code does
        if (meant := reason(name, str(error))) is not None:
            raise SpecError(meant) from error
        raise SpecError(
            f"{name} refuses {what} ({type(error).__name__}: {_short(error)}); {cure}"
        ) from error


def reason(name: str, said: str) -> str | None:
    """What a class means by what it says, in one line; None where that is not known."""
    return _meant(REASONS, name, said)


def _meant(reasons: Mapping[str, str], name: str, said: str) -> str | None:
    found = ((re.search(words, " ".join(said.split())), meant) for words, meant in reasons.items())
    hits = (meant.format(*match.groups(), name=name) for match, meant in found if match)
    return next(hits, None)


def _package(error: NameError) -> str:
    """The package that a module would have imported a missing name from, as its source says."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    try:
        source = "" if trace is None else inspect.getsource(inspect.getmodule(trace) or inspect)
    except OSError:
        source = ""
    asked = (one for one in ast.walk(ast.parse(source)) if isinstance(one, ast.ImportFrom))
    for one in asked:
        if (
            not one.level
            and one.module
            and any((a.asname or a.name) == error.name for a in one.names)
        ):
            return one.module.partition(".")[0]
    return str(error.name)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
