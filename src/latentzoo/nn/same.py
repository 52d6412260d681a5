"""TensorFlow's padding "same": as many zeros as an output of ceil(side / stride) takes, the odd one after.

References:
    | TensorFlow: Large-Scale Machine Learning on Heterogeneous Distributed Systems (Abadi et al., 2016)
    | https://arxiv.org/abs/1603.04467
"""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def same(x: Float[Tensor, "B C H W"], kernel: int, stride: int, value: float = 0.0) -> Tensor:
    """Pads as TensorFlow does for an output of ceil(side / stride)."""
    surplus = [max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in x.shape[-2:]]
    (top, left) = (n // 2 for n in surplus)
    return F.pad(x, (left, surplus[1] - left, top, surplus[0] - top), value=value)
