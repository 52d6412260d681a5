"""The residual networks of CLIP (RN50, RN50x4, ...), by the tensor names of OpenAI's archives.

Three things differ from a usual ResNet: the stem has three convolutions, every stride is a mean over pixels before a
convolution without one, and the pictures are pooled by attention: their mean asks all places.

References:
    | Learning Transferable Visual Models From Natural Language Supervision (Radford et al., 2021), section 2.4
    | https://arxiv.org/abs/2103.00020
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ResidualVision(nn.Module):
    """Creates the network.

    Arguments:
        side: The picture's side in pixels.
        width: The channels of the first stage.
        layers: The number of bottlenecks of the four stages.
        outputs: The width of the common space.
    """

    def __init__(self, side: int, width: int, layers: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        half = width // 2
        self.conv1, self.bn1 = _conv(3, half, 3, 2), nn.BatchNorm2d(half)
        self.conv2, self.bn2 = _conv(half, half, 3), nn.BatchNorm2d(half)
        self.conv3, self.bn3 = _conv(half, width, 3), nn.BatchNorm2d(width)
        inputs = width
        for i, count in enumerate(layers):
            channels, stride = width * 2**i, 1 if i == 0 else 2
            blocks = [Bottleneck(inputs, channels, stride)]
            inputs = 4 * channels
            blocks += [Bottleneck(inputs, channels, 1) for _ in range(count - 1)]
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
        self.stages = len(layers)
        self.attnpool = AttentionPool(side // 32, inputs, outputs)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.bn1(self.conv1(pixels)).relu()
        x = self.bn2(self.conv2(x)).relu()
        x = F.avg_pool2d(self.bn3(self.conv3(x)).relu(), 2)
        for i in range(self.stages):
            x = self.get_submodule(f"layer{i + 1}")(x)
        return self.attnpool(x)


class Bottleneck(nn.Module):
    """Creates a residual bottleneck, `inputs` to 4 x `width` channels."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv1, self.bn1 = _conv(inputs, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv(width, width, 3), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = _conv(width, 4 * width, 1), nn.BatchNorm2d(4 * width)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or inputs != 4 * width:
            self.downsample = nn.Sequential(
                OrderedDict(
                    [
                        ("-1", nn.AvgPool2d(stride)),
                        ("0", _conv(inputs, 4 * width, 1)),
                        ("1", nn.BatchNorm2d(4 * width)),
                    ]
                )
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x)).relu()
        y = F.avg_pool2d(self.bn2(self.conv2(y)).relu(), self.stride)
        return (self.downsample(x) + self.bn3(self.conv3(y))).relu()


class AttentionPool(nn.Module):
    """Creates the pooling of side x side places: the mean asks, the mean and all places answer."""

    def __init__(self, side: int, width: int, outputs: int) -> None:
        super().__init__()
        self.heads = width // 64
        self.positional_embedding = nn.Parameter(torch.empty(side**2 + 1, width))
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.c_proj = nn.Linear(width, width), nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        places = x.flatten(2).mT
        x = torch.cat([places.mean(1, keepdim=True), places], 1) + self.positional_embedding
        heads = lambda t: t.unflatten(2, (self.heads, -1)).transpose(1, 2)
        q, k, v = heads(self.q_proj(x[:, :1])), heads(self.k_proj(x)), heads(self.v_proj(x))
        answer = F.scaled_dot_product_attention(q, k, v)
        return self.c_proj(answer.transpose(1, 2).flatten(1))


def _conv(inputs: int, outputs: int, side: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, side, stride, side // 2, bias=False)
