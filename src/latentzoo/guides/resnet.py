r"""The CelebA attribute classifier: a ResNet-50, a hidden layer, one logit.

Its attribute names are those of the official files `ckpts/celeba/<attribute>/best.pth`.

References:
    | Deep Residual Learning for Image Recognition (He et al., 2015), https://arxiv.org/abs/1512.03385
    | Deep Learning Face Attributes in the Wild (Liu et al., 2014), https://arxiv.org/abs/1411.7766
"""

import re
from collections import OrderedDict
from pathlib import Path

from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.errors import CheckpointError, UnknownName
from latentzoo.guides.preprocess import Normalise, Preprocess, Resize
from latentzoo.hub.fit import fit
from latentzoo.hub.read import read

LAYERS = (3, 4, 6, 3)
SIDE = 224
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PREPROCESS = Preprocess(Resize((SIDE, SIDE)), Normalise(*IMAGENET))
"""What the classifiers were trained on: both sides are resized, whatever the picture's shape."""


class AttributeClassifier(nn.Module):
    """Creates the classifier.

    Arguments:
        layers: The number of bottlenecks of the four stages.
        hidden: The width of the hidden layer.
    """

    def __init__(self, layers: tuple[int, ...] = LAYERS, hidden: int = 2048) -> None:
        super().__init__()
        self.resnet = ResNet(layers, hidden)
        self.fc = nn.Linear(hidden, 1)

    def forward(self, pixels: Float[Tensor, "B 3 h w"]) -> Float[Tensor, "B"]:
        """The attribute's logit of pictures normalised by ImageNet's mean and deviation."""
        return self.fc(self.resnet(pixels).relu())[:, 0]


class ResNet(nn.Module):
    """Creates a residual network of bottlenecks, with the stride in their 3x3 convolution."""

    def __init__(self, layers: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = 64
        for i, count in enumerate(layers):
            width, stride = 64 * 2**i, 1 if i == 0 else 2
            blocks = [Bottleneck(inputs, width, stride)]
            inputs = 4 * width
            blocks += [Bottleneck(inputs, width, 1) for _ in range(count - 1)]
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
        self.stages = len(layers)
        self.fc = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.bn1(self.conv1(x)).relu())
        for i in range(self.stages):
            x = self.get_submodule(f"layer{i + 1}")(x)
        return self.fc(x.mean((2, 3)))


class Bottleneck(nn.Module):
    """Creates a residual bottleneck, `inputs` to 4 x `width` channels."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = (
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.conv3, self.bn3 = (
            nn.Conv2d(width, 4 * width, 1, bias=False),
            nn.BatchNorm2d(4 * width),
        )
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != 4 * width:
            conv = nn.Conv2d(inputs, 4 * width, 1, stride, bias=False)
            self.downsample = nn.Sequential(
                OrderedDict([("0", conv), ("1", nn.BatchNorm2d(4 * width))])
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        return (self.downsample(x) + self.bn3(self.conv3(y))).relu()


FILES = "*/best.pth"
"""How a folder of classifiers is laid out, `<attribute>/best.pth`."""
SEVERAL = re.compile(r"classifiers\.(\d+)\.model\.(.+)")


def load(path: str | Path) -> AttributeClassifier:
    """Reads `ckpts/celeba/<attribute>/best.pth`, or a file of the same layout.

    Raises:
        CheckpointError: If the file is another network's, or holds several.
    """
    (network,) = load_all(path, count=1)
    return network


def load_all(path: str | Path, *, count: int) -> list[AttributeClassifier]:
    """Reads the classifiers of one file: one, or several as the authors' ensembles name them.

    Arguments:
        path: The file.
        count: How many are expected.

    Raises:
        CheckpointError: If the file is another network's, or holds another number.
    """
    tensors, groups = read(path).tensors, dict[int, dict[str, Tensor]]()
    for name, tensor in tensors.items():
        if (found := SEVERAL.fullmatch(name)) is not None:
            groups.setdefault(int(found[1]), {})[found[2]] = tensor
    parts = [groups[i] for i in sorted(groups)] or [tensors]
    if len(parts) != count:
        raise CheckpointError(
            f"{path}: holds {len(parts)} classifiers and {count} attributes are asked for; name one for each"
        )
    return [_load(part, source=str(path)) for part in parts]


def in_folder(path: str | Path, name: str) -> AttributeClassifier:
    """Reads the classifier of an attribute from a folder of several.

    Raises:
        UnknownName: If the folder has none of this name.
        CheckpointError: If its file is another network's.
    """
    known = {file.parent.name: file for file in Path(path).glob(FILES)}
    if name not in known:
        raise UnknownName(f"attribute of {path}:", name, known)
    return load(known[name])


def _load(tensors: dict[str, Tensor], *, source: str) -> AttributeClassifier:
    width = tensors["resnet.fc.weight"].shape[0] if "resnet.fc.weight" in tensors else 2048
    network = AttributeClassifier(_layers(tensors), width)
    return fit(network, tensors, source=source)


def _layers(tensors: dict[str, Tensor]) -> tuple[int, ...]:
    blocks = {tuple(k.split(".")[1:3]) for k in tensors if k.startswith("resnet.layer")}
    stages = sorted({stage for stage, _ in blocks})
    return tuple(sum(s == stage for s, _ in blocks) for stage in stages)
