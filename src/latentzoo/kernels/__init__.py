"""Markov kernels for N(z; 0, I) exp(-phi(z)), one file each; the file's name is the kernel's."""

from typing import TYPE_CHECKING, Any

from latentzoo import options
from latentzoo.errors import SpecError
from latentzoo.registry import Entry, added, entries, find

if TYPE_CHECKING:
    from latentzoo.kernels.types import Kernel

DEFAULT = "auto"


def known() -> dict[str, Entry]:
    """The kernels by name, without importing them."""
    return added("kernels") | entries("latentzoo.kernels", base="Kernel")


def load(name: str, **settings: Any) -> "Kernel":
    """Creates a kernel by name.

    Arguments:
        name: The kernel's name, e.g. "mala", or "module:Class".
        settings: The fields of its record, e.g. `step_size=0.05`; a list of plain data is a tuple there.

    Raises:
        UnknownName: If there is no such kernel or setting.
        SpecError: If a setting is of a wrong type or out of range, or the kernel refuses it.
    """
    from latentzoo.kernels.types import Kernel

    kernel = find("kernel", name, known()).maker(Kernel)
    allowed = {k: p for k, p in options.parameters(kernel).items() if k != "budget"}
    shown = f"latentzoo show {name}"
    options.check(settings, allowed, owner=f"the kernel '{name}'", shown=shown)
    try:
        return kernel(**{k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()})
    except (TypeError, ValueError) as error:
        raise SpecError(f"the kernel '{name}' refuses its settings: {error}") from error


def name(kernel: "Kernel") -> str:
    """The name of a kernel: its file's, or its class's where it is no kernel of latentzoo."""
    module, _, file = type(kernel).__module__.rpartition(".")
    return file if module == __name__ else f"{module}.{file}:{type(kernel).__name__}".lstrip(".")


def settings(kernel: "Kernel") -> dict[str, Any]:
    """The fields of a kernel's record, as plain data: the inverse of `load`.

    The budget is left out: it is the run's. A preconditioner is tensors, which
    stay in the state file of the run that learned it; it is said to be "auto".
    """
    from dataclasses import asdict, is_dataclass

    plain = asdict(kernel)  # pyright: ignore[reportArgumentType]
    del plain["budget"]
    return {k: "auto" if is_dataclass(getattr(kernel, k)) else v for k, v in plain.items()}
