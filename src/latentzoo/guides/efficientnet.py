r"""EfficientNet-Lite0: a classifier of ImageNet's 1000 labels that is small enough to guide on a CPU.

Blocks widen the channels, convolve each by itself, and narrow them again; activations end at 6, and paddings are
TensorFlow's "same". The names of the labels are those of `timm`.

References:
    | EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks (Tan and Le, 2019)
    | https://arxiv.org/abs/1905.11946
    | MobileNetV2: Inverted Residuals and Linear Bottlenecks (Sandler et al., 2018), https://arxiv.org/abs/1801.04381
"""

from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from latentzoo.guides.classifier import Classifier
from latentzoo.guides.preprocess import centred
from latentzoo.guides.pretrained import package
from latentzoo.hub.fit import fit
from latentzoo.hub.read import read
from latentzoo.nn.same import same

SIDE, SHORT = 224, 256
MEAN, STD = 127 / 255, 128 / 255
LABELS = "imagenet-1k"


class Stage(NamedTuple):
    """Blocks of one width: how many, the kernel, the stride of the first, the widening, and the channels."""

    blocks: int
    kernel: int
    stride: int
    widening: int
    outputs: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
STEM, HEAD = 32, 1280


class EfficientNetLite(nn.Module):
    """Creates the classifier; attribute names are the file's.

    Arguments:
        stages: Its blocks.
        head: The number of features.
        outputs: The number of labels.
    """

    def __init__(
        self, stages: tuple[Stage, ...] = STAGES, head: int = HEAD, outputs: int = 1000
    ) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = nn.Conv2d(3, STEM, 3, 2, bias=False), norm(STEM)
        blocks, inputs = [], STEM
        for stage in stages:
            for k in range(stage.blocks):
                blocks.append(Block(inputs, stage, stage.stride if k == 0 else 1))
                inputs = stage.outputs
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = nn.Conv2d(inputs, head, 1, bias=False), norm(head)
        self._fc = nn.Linear(head, outputs)

    def forward(self, pixels: Float[Tensor, "B 3 h w"]) -> Float[Tensor, "B K"]:
        """The logits of pictures normalised to [-1, 1]."""
        x = F.relu6(self._bn0(self._conv_stem(same(pixels, 3, 2))))
        for block in self._blocks:
            x = block(x)
        return self._fc(F.relu6(self._bn1(self._conv_head(x))).mean((2, 3)))


class Block(nn.Module):
    """Creates a block; its input is added where the shape stays.

    Arguments:
        inputs: The channels before it.
        stage: The stage it belongs to.
        stride: Its stride.
    """

    def __init__(self, inputs: int, stage: Stage, stride: int) -> None:
        super().__init__()
        width, self.kernel, self.stride = inputs * stage.widening, stage.kernel, stride
        if stage.widening > 1:
            self._expand_conv = nn.Conv2d(inputs, width, 1, bias=False)
            self._bn0 = norm(width)
        conv: Any = nn.Conv2d(width, width, self.kernel, stride, groups=width, bias=False)
        self._depthwise_conv, self._bn1 = conv, norm(width)
        self._project_conv = nn.Conv2d(width, stage.outputs, 1, bias=False)
        self._bn2 = norm(stage.outputs)
        self.widens, self.adds = stage.widening > 1, stride == 1 and inputs == stage.outputs

    def forward(self, x: Float[Tensor, "B I H W"]) -> Float[Tensor, "B O h w"]:
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.widens else x
        y = same(y, self.kernel, self.stride)
        y = self._bn2(self._project_conv(F.relu6(self._bn1(self._depthwise_conv(y)))))
        return x + y if self.adds else y


def norm(width: int) -> nn.BatchNorm2d:
    """A batch norm with TensorFlow's constant."""
    return nn.BatchNorm2d(width, eps=1e-3)


def load(path: str) -> Classifier:
    """Reads the classifier of a weight file.

    Raises:
        MissingExtra: If `timm`, which names the labels, is not installed.
        CheckpointError: If the file is another network's.
    """
    library: Any = package("timm", "timm", "the names of ImageNet's labels")
    network = fit(EfficientNetLite(), read(path).tensors, source=path)
    labels = library.data.ImageNetInfo(LABELS).label_descriptions()
    return Classifier(network, centred(SIDE, [MEAN] * 3, [STD] * 3, short=SHORT), labels)
