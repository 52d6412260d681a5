r"""The networks of face-api: who a face is, how old it looks, what it expresses, where it is.

All see pictures in [0, 1] with one face, resized to their own side, and take a fixed mean from them. They are small: a
separable convolution is one by channel, then one by pixel. Paddings are TensorFlow's "same", which puts an odd pixel
after. Attribute names follow the files, scopes joined with dots.

References:
    | face-api.js (Muehler, 2018), https://github.com/justadudewhohacks/face-api.js
    | https://github.com/vladmandic/face-api
    | Deep Residual Learning for Image Recognition (He et al., 2015), https://arxiv.org/abs/1512.03385
    | Dlib-ml: A Machine Learning Toolkit (King, 2009), whose network `Recognition` is
    | Xception: Deep Learning with Depthwise Separable Convolutions (Chollet, 2016)
    | https://arxiv.org/abs/1610.02357
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from latentzoo.guides.preprocess import Normalise, Preprocess, Resize
from latentzoo.hub.fit import KEEP, fit
from latentzoo.hub.keys import Rule
from latentzoo.hub.read import read
from latentzoo.nn.same import same

MEAN = (122.782, 117.001, 104.298)
FINDER_MEAN = (117.001, 114.697, 97.404)
EXPRESSIONS = ("neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised")
ANCHORS = (
    (1.603231, 2.094468),
    (6.041143, 7.080126),
    (2.882459, 3.518061),
    (4.266906, 5.178857),
    (9.041765, 10.66308),
)
"""Width and height of the boxes that the finder's answers scale, in cells."""

RULES = (
    Rule("{x*}.depthwise_filter", "{x}.depthwise", "h w c 1 -> c 1 h w"),
    Rule("{x*}.pointwise_filter", "{x}.pointwise", "h w i o -> o i h w"),
    Rule("{x*}.filters", "{x}.weight", "h w i o -> o i h w"),
    Rule("{x*}.scale.weights", "{x}.scale"),
    Rule("{x*}.scale.biases", "{x}.shift"),
    Rule("{x*}.weights", "{x}.weight", "i o -> o i"),
    Rule("fc", "fc.weight", "i o -> o i"),
)


class Conv(nn.Conv2d):
    """Creates a convolution with padding "same"."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(same(input, self.kernel_size[0], self.stride[0]))


class Separable(nn.Module):
    """Creates a convolution of 3 x 3 by channel, then by pixel."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = nn.Parameter(torch.empty(inputs, 1, 3, 3))
        self.pointwise = nn.Parameter(torch.empty(outputs, inputs, 1, 1))
        self.bias = nn.Parameter(torch.empty(outputs))
        self.stride = stride

    def forward(self, x: Float[Tensor, "B I H W"]) -> Float[Tensor, "B O h w"]:
        x = F.conv2d(same(x, 3, self.stride), self.depthwise, None, self.stride, groups=x.shape[1])
        return F.conv2d(x, self.pointwise, self.bias)


class Prepared(nn.Module):
    """A network that sees square pictures of its own side, from which a mean was taken.

    Attributes:
        side: The side in pixels.
    """

    side: int

    def __init__(self, mean: Sequence[float] = MEAN) -> None:
        super().__init__()
        normalise = Normalise(tuple(m / 255 for m in mean), (1.0, 1.0, 1.0))
        self.prepare = Preprocess(Resize((self.side, self.side)), normalise)


class Scaled(nn.Module):
    """Creates a convolution with a scale and a shift for each channel."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, padding: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding)
        self.scale, self.shift = (
            nn.Parameter(torch.empty(outputs)),
            nn.Parameter(torch.empty(outputs)),
        )

    def forward(self, x: Float[Tensor, "B I H W"]) -> Float[Tensor, "B O h w"]:
        return self.conv(x) * self.scale[:, None, None] + self.shift[:, None, None]


class Residual(nn.Module):
    """Creates a residual block; one that goes down halves the side and fills new channels with zeros."""

    def __init__(self, inputs: int, outputs: int, *, down: bool) -> None:
        super().__init__()
        self.conv1 = (
            Scaled(inputs, outputs, stride=2, padding=0) if down else Scaled(inputs, outputs)
        )
        self.conv2 = Scaled(outputs, outputs)
        self.down = down

    def forward(self, x: Float[Tensor, "B I H W"]) -> Float[Tensor, "B O h w"]:
        y = self.conv2(self.conv1(x).relu())
        if self.down:
            x = F.avg_pool2d(x, 2)
            x = F.pad(x, (0, 0, 0, 0, 0, y.shape[1] - x.shape[1]))
            y = F.pad(y, (0, x.shape[3] - y.shape[3], 0, x.shape[2] - y.shape[2]))
        return (x + y).relu()


class Recognition(Prepared):
    """Creates dlib's network of identity: a face to 128 numbers, less than 0.6 apart for one person."""

    side = 150
    WIDTHS = (32, 64, 128, 256)
    BLOCKS = "32_1 32_2 32_3 64_down 64_1 64_2 64_3 128_down 128_1 128_2 256_down 256_1 256_2 256_down_out"

    def __init__(self) -> None:
        super().__init__()
        self.conv32_down = Scaled(3, 32, 7, stride=2, padding=0)
        self.names = [f"conv{name}" for name in self.BLOCKS.split()]
        width = 32
        for name in self.names:
            outputs = int(name.removeprefix("conv").partition("_")[0])
            self.add_module(name, Residual(width, outputs, down="down" in name))
            width = outputs
        self.fc = nn.Linear(width, 128, bias=False)

    def forward(self, face: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 128"]:
        x = F.max_pool2d(self.conv32_down(self.prepare(face)).relu(), 3, 2)
        for name in self.names:
            x = self.get_submodule(name)(x)
        return self.fc(x.mean((2, 3)))


class Reduction(nn.Module):
    """Creates a block that halves the side: two separable convolutions and a maximum, beside one convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.separable_conv0, self.separable_conv1 = (
            Separable(inputs, outputs),
            Separable(outputs, outputs),
        )
        self.expansion_conv = Conv(inputs, outputs, 1, 2)

    def forward(
        self, x: Float[Tensor, "B I H W"], *, activate: bool = True
    ) -> Float[Tensor, "B O h w"]:
        y = self.separable_conv0(x.relu() if activate else x)
        y = self.separable_conv1(y.relu())
        return F.max_pool2d(same(y, 3, 2, -torch.inf), 3, 2) + self.expansion_conv(x)


class Middle(nn.Module):
    """Creates a residual block of three separable convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        for k in range(3):
            self.add_module(f"separable_conv{k}", Separable(width, width))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        y = x
        for conv in self.children():
            y = conv(y.relu())
        return x + y


class AgeGender(Prepared):
    """Creates the network of age, a small Xception: a face to years, and to the logit of "male"."""

    side = 112

    def __init__(self) -> None:
        super().__init__()
        self.entry_flow = nn.ModuleDict(
            {
                "conv_in": Conv(3, 32, 3, 2),
                "reduction_block_0": Reduction(32, 64),
                "reduction_block_1": Reduction(64, 128),
            }
        )
        self.middle_flow = nn.ModuleDict({f"main_block_{k}": Middle(128) for k in range(2)})
        self.exit_flow = nn.ModuleDict(
            {"reduction_block": Reduction(128, 256), "separable_conv": Separable(256, 512)}
        )
        self.fc = nn.ModuleDict({"age": nn.Linear(512, 1), "gender": nn.Linear(512, 2)})

    def forward(
        self, face: Float[Tensor, "B 3 H W"]
    ) -> tuple[Float[Tensor, "B"], Float[Tensor, "B"]]:
        x = self.entry_flow["conv_in"](self.prepare(face)).relu()
        x = self.entry_flow["reduction_block_0"](x, activate=False)
        x = self.entry_flow["reduction_block_1"](x)
        for block in self.middle_flow.values():
            x = block(x)
        x = (
            self.exit_flow["separable_conv"](self.exit_flow["reduction_block"](x))
            .relu()
            .mean((2, 3))
        )
        gender = self.fc["gender"](x)
        return self.fc["age"](x)[:, 0], gender[:, 0] - gender[:, 1]


class Dense(nn.Module):
    """Creates a block whose convolutions each see the sum of all before; the first halves the side."""

    def __init__(self, inputs: int, outputs: int, convs: int) -> None:
        super().__init__()
        first = Conv(3, outputs, 3, 2) if inputs == 3 else Separable(inputs, outputs, 2)
        self.add_module("conv0", first)
        for k in range(1, convs):
            self.add_module(f"conv{k}", Separable(outputs, outputs))

    def forward(self, x: Float[Tensor, "B I H W"]) -> Float[Tensor, "B O h w"]:
        first, *rest = self.children()
        total = first(x).relu()
        seen = total
        for conv in rest:
            total = total + conv(seen)
            seen = total.relu()
        return seen


class DenseNet(Prepared):
    """Creates a network of dense blocks: a face to numbers.

    Arguments:
        widths: The number of channels after each block.
        convs: The number of convolutions of a block.
        outputs: How many numbers it gives.
    """

    side = 112

    def __init__(self, widths: Sequence[int], convs: int, outputs: int) -> None:
        super().__init__()
        for k, (i, o) in enumerate(zip((3, *widths), widths, strict=False)):
            self.add_module(f"dense{k}", Dense(i, o, convs))
        self.fc = nn.Linear(widths[-1], outputs)
        self.blocks = len(widths)

    def forward(self, face: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B K"]:
        x = self.prepare(face)
        for k in range(self.blocks):
            x = self.get_submodule(f"dense{k}")(x)
        return self.fc(x.mean((2, 3)))


class Finder(Prepared):
    """Creates the network that finds faces: a picture to boxes, in shares of its side, and their logits.

    The first convolution pads nothing. Each of 13 x 13 cells answers for five anchors (w_a, h_a) with (x, y, w, h, s):
    the centre (c + sigma(x, y)) / 13, the size (w_a e^w, h_a e^h) / 13, and the logit s.
    """

    side = 416
    WIDTHS = (16, 32, 64, 128, 256, 512)

    def __init__(self) -> None:
        super().__init__(FINDER_MEAN)
        for k, (i, o) in enumerate(zip((3, *self.WIDTHS), self.WIDTHS, strict=False)):
            self.add_module(f"conv{k}", nn.Conv2d(3, o, 3) if k == 0 else Separable(i, o))
        self.conv8 = nn.Conv2d(self.WIDTHS[-1], 5 * len(ANCHORS), 1)

    def answers(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 25 h h"]:
        """What each cell answers, five numbers for each anchor."""
        x = self.prepare(image)
        for k in range(len(self.WIDTHS)):
            x = F.leaky_relu(self.get_submodule(f"conv{k}")(x), 0.1)
            stride = 2 if k < 5 else 1
            x = F.max_pool2d(same(x, 2, stride, -torch.inf), 2, stride)
        return self.conv8(x)

    def forward(
        self, image: Float[Tensor, "B 3 H W"]
    ) -> tuple[Float[Tensor, "B N 4"], Float[Tensor, "B N"]]:
        cells = self.answers(image).permute(0, 2, 3, 1).unflatten(3, (len(ANCHORS), 5))
        side = cells.shape[1]
        at = torch.arange(side, device=cells.device)
        corner = torch.stack(torch.meshgrid(at, at, indexing="xy"), 2)[:, :, None]
        centre = (corner + cells[..., :2].sigmoid()) / side
        size = cells[..., 2:4].exp() * cells.new_tensor(ANCHORS) / side
        boxes = torch.cat([centre - size / 2, centre + size / 2], -1)
        return boxes.flatten(1, 3), cells[..., 4].flatten(1)


FILES = {
    "recognition": ("face_recognition_model", Recognition),
    "age": ("age_gender_model", AgeGender),
    "expression": (
        "face_expression_model",
        lambda: DenseNet((32, 64, 128, 256), 4, len(EXPRESSIONS)),
    ),
    "landmarks": ("face_landmark_68_tiny_model", lambda: DenseNet((32, 64, 128), 3, 136)),
    "finder": ("tiny_face_detector_model", Finder),
}
"""What a network is for: its file, and what makes it."""


def load(purpose: str, folder: str | Path) -> nn.Module:
    """Reads one of the networks from the folder of their manifests.

    Raises:
        CheckpointError: If the file is missing, damaged, or another network's.
    """
    name, make = FILES[purpose]
    path = Path(folder) / f"{name}-weights_manifest.json"
    tensors = {name.replace("/", "."): tensor for name, tensor in read(path).tensors.items()}
    return fit(make(), tensors, (*RULES, KEEP), source=str(path))
