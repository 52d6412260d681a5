r"""Networks of the collection "human": judges of faces that are other people's than face-api's.

| FaceRes      age by the mean of a distribution over 100 years, a logit of "male", 1024 features
| MobileFace   256 features of an identity
| Emotion      seven expressions

All see pictures in [0, 1] with one face, resized to their own side. They come as graphs, and are run as such: they
judge a few pictures, so their speed matters less than that nothing of them is retold wrongly. The network of the
collection that predicts race is left out.

References:
    | Facial expression and attributes recognition based on multi-task learning of lightweight neural networks
    | (Savchenko, 2021), https://arxiv.org/abs/2103.17107
    | MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on Mobile Devices (Chen et al., 2018)
    | https://arxiv.org/abs/1804.07573
    | Real-time Convolutional Neural Networks for Emotion and Gender Classification (Arriaga et al., 2017)
    | https://arxiv.org/abs/1710.07557
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.guides.graph import Graph
from latentzoo.guides.preprocess import Preprocess, Resize
from latentzoo.hub.read import read

CAFFE = (103.939, 116.779, 123.68)
GREY = (0.2989, 0.587, 0.114)
EMOTIONS = ("angry", "disgusted", "fearful", "happy", "sad", "surprised", "neutral")


class Judge(nn.Module):
    """Creates a judge from its file.

    Attributes:
        name: The name of its file.
        side: The side in pixels of what it sees.
        outputs: The nodes that are read.
    """

    name: str
    side: int
    outputs: Sequence[str]

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.graph = Graph(read(Path(folder) / f"{self.name}.json"), self.outputs)
        self.resize = Preprocess(Resize((self.side, self.side)))

    def look(self, face: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B h w 3"]:
        """The face at the judge's side, channels last."""
        return self.resize(face).permute(0, 2, 3, 1)


class FaceRes(Judge):
    """Creates the judge of age: years, a probability of "male", and features."""

    name, side = "faceres", 224
    outputs = ("age_pred/Softmax", "gender_pred/Sigmoid", "global_pooling/Mean")

    def forward(
        self, face: Float[Tensor, "B 3 H W"]
    ) -> tuple[Float[Tensor, "B"], Float[Tensor, "B"], Float[Tensor, "B 1024"]]:
        x = self.look(face)
        years, male, features = self.graph(255 * x.flip(-1) - x.new_tensor(CAFFE))
        return years @ torch.arange(100, device=x.device, dtype=x.dtype), male[:, 0], features


class MobileFace(Judge):
    """Creates the judge of identity: 256 features, compared by their cosine."""

    name, side = "mobileface", 112
    outputs = ("batchnorm0/add_1",)

    def forward(self, face: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 256"]:
        return self.graph(255 * self.look(face))[0]


class Emotion(Judge):
    """Creates the judge of expressions: the probabilities of `EMOTIONS`."""

    name, side = "emotion", 64
    outputs = ("Identity",)

    def forward(self, face: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 7"]:
        x = self.look(face)
        grey = (x * x.new_tensor(GREY)).sum(-1, keepdim=True)
        return self.graph(2 * grey - 1)[0]
