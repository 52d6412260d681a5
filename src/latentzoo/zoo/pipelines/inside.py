"""What is not heard inside a pipeline's networks: that gradients are to be off, and that 64 bits are to be fewer."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

NARROW = (torch.float32, torch.bfloat16, torch.float16)
WIDE = {torch.float64, torch.int64, torch.int32}
"""What becomes 64 bits where fewer are asked for: so do positions, which meet frequencies of 64."""


class Awake(TorchFunctionMode):
    """Does not hear that gradients are to be off, as a mixture of experts asks where it is not trained.

    Attributes:
        asked: Whether it was asked for.
    """

    asked = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func is torch._C._set_grad_enabled:
            self.asked |= not args[0]
            return None
        kwargs = kwargs or {}
        if func is Tensor.scatter_reduce_ and kwargs.get("reduce") == "sum":
            return args[0].scatter_add_(*args[1:])  # the same sum, of which no part is kept
        return func(*args, **kwargs)


class Exact(TorchFunctionMode):
    """Keeps 64 bits where they are 64: pipelines, and networks inside, ask for fewer at many places, and make
    their masks of whole numbers, which become 32 bits unless said otherwise."""

    def __enter__(self) -> "Exact":
        self.usual = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        torch.set_default_dtype(self.usual)
        super().__exit__(*error)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if args and isinstance(args[0], Tensor) and args[0].dtype in WIDE:
            func = Tensor.double if func is Tensor.float else func
            args, kwargs = tuple(map(_wide, args)), {k: _wide(v) for k, v in kwargs.items()}
        return func(*args, **kwargs)


def _wide(x: Any) -> Any:
    """64 bits for a type of fewer, and anything else as it is. A tensor is not asked whether it equals a type."""
    return torch.float64 if isinstance(x, torch.dtype) and x in NARROW else x
