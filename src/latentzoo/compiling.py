"""Networks translated by `torch.compile`, at the shapes that they first meet; what moves the chains stays as it is.

Translation takes minutes on a processor and pays where many gradients follow (`benchmarks/compiled.py`
prints after how many). What is translated is said by a map or a guide itself, in `repeated()`: the networks
in it that compute the same operations at every call. A loop over levels, a sampler's step, and what is
looked up once stay outside. Numbers agree up to rounding.
"""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from latentzoo.errors import SpecError

SETTINGS: dict[str, Any] = {"dynamic": False}
"""How `torch.compile` is asked."""
CURE = "install one (g++ or clang++), or leave out compile"


@runtime_checkable
class Translatable(Protocol):
    """What says itself which of its networks are translated."""

    def repeated(self) -> Iterator[nn.Module]:
        """The networks that compute the same operations at every call."""
        ...


def repeated(module: nn.Module) -> list[nn.Module]:
    """The networks of a module that are translated: what its own `repeated()` says, else the outermost in it."""
    return list(module.repeated() if isinstance(module, Translatable) else outermost(module))


def outermost(module: nn.Module) -> Iterator[nn.Module]:
    """The outermost networks in a module: what has a `forward` and is no layer of torch itself, fast as it is."""
    for child in module.children():
        if isinstance(child, Translatable) or type(child).forward is nn.Module.forward:
            yield from repeated(child)
        elif isinstance(child, nn.Sequential) or not type(child).__module__.startswith("torch."):
            yield child


def compile(module: nn.Module) -> None:
    """Has the networks of a map or an energy translated, in place, when they are first called.

    Raises:
        SpecError: If there is no compiler here, or a map has nothing that could be translated.
    """
    require_compiler()
    networks = repeated(module)
    if not networks and hasattr(module, "space"):
        raise SpecError(
            f"a {type(module).__name__} cannot be compiled, as it does not compute the same operations at "
            "every call; leave out compile"
        )
    for network in networks:
        if network._compiled_call_impl is None:
            network.compile(**SETTINGS)


def compiled(module: nn.Module) -> bool:
    """Whether networks of a module are translated."""
    return any(part._compiled_call_impl is not None for part in module.modules())


def require_compiler() -> None:
    """Checks that the processor's code can be translated.

    Raises:
        SpecError: If there is no C++ compiler.
    """
    from torch._inductor import cpp_builder, exc

    try:
        cpp_builder.get_cpp_compiler()
    except exc.InvalidCxxCompiler:
        raise SpecError(f"compile needs a C++ compiler, and there is none here; {CURE}") from None


@contextmanager
def said() -> Iterator[None]:
    """Says in one line what a translation within failed of.

    Raises:
        SpecError: If one did.
    """
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        first = next((line for line in str(error).splitlines() if line.strip()), "no reason given")
        raise SpecError(f"a network could not be compiled ({first.strip()}); {CURE}") from error


def plainly() -> AbstractContextManager[object]:
    """Within, translated networks compute as they are written: for calls that come once, at other shapes."""
    if "torch._dynamo" not in sys.modules:  # nothing is translated; the import takes a second
        return nullcontext()
    return torch.compiler.set_stance("force_eager")


def filled(z: Tensor, rows: int) -> Tensor:
    """Latents (B, D) filled up to so many rows by the last one; chains that stop change no shape."""
    return torch.cat([z, z[-1:].expand(rows - len(z), -1)]) if len(z) < rows else z
