"""Where networks run, and with which numbers: devices and number types by name, or an error in one line."""

from typing import TYPE_CHECKING, Any

from latentzoo.errors import SpecError

if TYPE_CHECKING:  # the help of commands has these names, and takes no torch
    import torch

DEVICES = ("auto", "cpu", "cuda", "mps")
"""Where networks run, in words; one of several is "cuda:1"."""
NUMBERS = ("float32", "float16", "bfloat16", "float64")
"""The number types of networks."""


def usable(name: Any) -> "torch.device":
    """The device of a name; "auto" takes an accelerator if there is one.

    Raises:
        SpecError: If it does not exist or cannot be used.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).split("\n")[0]
        raise SpecError(
            f"the device '{name}' cannot be used ({reason}); give cpu, or auto"
        ) from None
    return device


def number_type(name: Any) -> "torch.dtype":
    """The number type of networks, itself or by its name.

    Raises:
        SpecError: If it is not one of float32, float16, bfloat16, float64.
    """
    import torch

    plain = str(name).removeprefix("torch.") if isinstance(name, torch.dtype) else name
    if not isinstance(plain, str) or plain not in NUMBERS:
        raise SpecError(f"the dtype '{plain}' is unknown; give one of {', '.join(NUMBERS)}")
    return getattr(torch, plain)
