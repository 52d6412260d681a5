"""A graph of TensorFlow.js as a differentiable network: nodes are data, each operation is one of the functions here.

What a graph asks for and is not here is refused by name when it is made, before any number is computed. Pictures keep
the layout of the file, (B, H, W, C), which is "channels last" to PyTorch: going back and forth moves no number.

References:
    | TensorFlow.js: Machine Learning for the Web and Beyond (Smilkov et al., 2019)
    | https://arxiv.org/abs/1901.05350
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentzoo.errors import CheckpointError
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.nn.same import same

Attributes = Mapping[str, Any]
ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {"Relu": F.relu, "Relu6": F.relu6}
Operation = Callable[[Attributes, Sequence[Tensor]], Tensor]


class Node(msgspec.Struct):
    """One operation: what it does, to the outputs of which nodes."""

    name: str
    op: str
    input: list[str] = []
    attr: dict[str, Any] = {}

    @property
    def sources(self) -> list[str]:
        """The nodes whose output it takes."""
        return [name.partition(":")[0] for name in self.input if name[:1] != "^"]


class Graph(nn.Module):
    """Creates the network of a graph.

    Arguments:
        checkpoint: What `hub.tfjs` read.
        outputs: The nodes whose outputs are wanted; the rest of the graph is left out.

    Raises:
        CheckpointError: If it has no graph, a node is missing or needs itself, or an operation is not known.
    """

    def __init__(self, checkpoint: Checkpoint, outputs: Sequence[str]) -> None:
        super().__init__()
        source = str(checkpoint.path)
        try:
            found = msgspec.convert(checkpoint.records.get("graph", []), list[Node])
        except msgspec.ValidationError as error:
            raise CheckpointError(f"{source}: not a graph of operations ({error})") from error
        self.nodes = ordered({node.name: node for node in found}, outputs, source=source)
        self.outputs = tuple(outputs)
        self.places: dict[str, str] = {}
        for node in self.nodes:
            if node.op == "Const":
                if node.name not in checkpoint.tensors:
                    raise CheckpointError(
                        f"{source}: the constant '{node.name[:80]}' has no numbers; is it complete?"
                    )
                self.places[node.name] = f"constant{len(self.places)}"
                self.register_buffer(self.places[node.name], checkpoint.tensors[node.name])
            elif node.op not in OPERATIONS and node.op != "Placeholder":
                raise CheckpointError(
                    f"{source}: asks for the operation '{node.op[:80]}', which is not known here"
                )

    def forward(self, x: Tensor) -> list[Tensor]:
        """The wanted outputs for pictures (B, H, W, C)."""
        values: dict[str, Tensor] = {}
        for node in self.nodes:
            if node.op == "Placeholder":
                values[node.name] = x
            elif node.op == "Const":
                values[node.name] = self.get_buffer(self.places[node.name])
            else:
                inputs = [values[name] for name in node.sources]
                values[node.name] = OPERATIONS[node.op](node.attr, inputs)
        return [values[name] for name in self.outputs]


def ordered(nodes: Mapping[str, Node], outputs: Sequence[str], *, source: str) -> list[Node]:
    """The nodes that some outputs need, each after those that it takes.

    Raises:
        CheckpointError: If one is missing or needs itself.
    """
    done: dict[str, Node] = {}
    waiting = [(name, False) for name in reversed(outputs)]
    path: set[str] = set()
    while waiting:
        name, ready = waiting.pop()
        if ready:
            path.discard(name)
            done[name] = nodes[name]
        elif name in path:
            raise CheckpointError(f"{source}: the node '{name[:80]}' needs itself")
        elif name not in done:
            if name not in nodes:
                raise CheckpointError(
                    f"{source}: has no node '{name[:80]}'; is it another network's graph?"
                )
            path.add(name)
            waiting.append((name, True))
            waiting += [(other, False) for other in nodes[name].sources]
    return list(done.values())


def words(value: Any) -> str:
    """A string of the graph: base64, or the codes of its bytes."""
    return bytes(value).decode() if isinstance(value, list) else base64.b64decode(value).decode()


def numbers(attr: Attributes, name: str) -> list[int]:
    """A list of whole numbers of the graph."""
    return [int(i) for i in attr.get(name, {}).get("list", {}).get("i", [])]


def known(fact: bool, what: str) -> None:
    """Refuses what is not known.

    Raises:
        CheckpointError: If the fact does not hold.
    """
    if not fact:
        raise CheckpointError(f"the graph asks for {what}, which is not known here")


def padded(
    attr: Attributes, x: Tensor, kernel: Sequence[int], value: float = 0.0
) -> tuple[Tensor, int]:
    """Channels first and padded as the node says; and the stride."""
    stride = numbers(attr, "strides")[1]
    known(numbers(attr, "strides") == [1, stride, stride, 1], "unequal strides")
    known(
        set(numbers(attr, "dilations")) <= {1} and kernel[0] == kernel[1],
        "dilated or oblong kernels",
    )
    padding = words(attr["padding"]["s"])
    known(padding in ("SAME", "VALID"), f"the padding {padding[:20]}")
    x = x.permute(0, 3, 1, 2)
    return (same(x, kernel[0], stride, value) if padding == "SAME" else x), stride


def conv(attr: Attributes, inputs: Sequence[Tensor]) -> Tensor:
    """A convolution with a kernel (h, w, I, O), and what is fused behind it."""
    x, stride = padded(attr, inputs[0], inputs[1].shape)
    y = F.conv2d(x, inputs[1].permute(3, 2, 0, 1), stride=stride)
    return fused(attr, y.permute(0, 2, 3, 1), inputs[2:])


def depthwise(attr: Attributes, inputs: Sequence[Tensor]) -> Tensor:
    """A convolution of each channel with its own kernels, (h, w, C, M)."""
    x, stride = padded(attr, inputs[0], inputs[1].shape)
    kernel = inputs[1].permute(2, 3, 0, 1).flatten(0, 1)[:, None]
    y = F.conv2d(x, kernel, stride=stride, groups=x.shape[1])
    return fused(attr, y.permute(0, 2, 3, 1), inputs[2:])


def matmul(attr: Attributes, inputs: Sequence[Tensor]) -> Tensor:
    """A product of matrices, and what is fused behind it."""
    a, b = (
        x.mT if attr.get(f"transpose_{name}", {}).get("b") else x
        for x, name in zip(inputs[:2], "ab", strict=True)
    )
    return fused(attr, a @ b, inputs[2:])


def fused(attr: Attributes, x: Tensor, inputs: Sequence[Tensor]) -> Tensor:
    """What is done to an output before it leaves its node."""
    left = list(inputs)
    for name in (words(s) for s in attr.get("fused_ops", {}).get("list", {}).get("s", [])):
        known(name == "BiasAdd" or name in ACTIVATIONS, f"the fused operation {name[:20]}")
        x = x + left.pop(0) if name == "BiasAdd" else ACTIVATIONS[name](x)
    return x


def max_pool(attr: Attributes, inputs: Sequence[Tensor]) -> Tensor:
    """The largest number of each window."""
    kernel = numbers(attr, "ksize")[1:3]
    x, stride = padded(attr, inputs[0], kernel, -torch.inf)
    return F.max_pool2d(x, kernel, stride).permute(0, 2, 3, 1)


def mean(attr: Attributes, inputs: Sequence[Tensor]) -> Tensor:
    """The mean over some dimensions."""
    keep = bool(attr.get("keep_dims", {}).get("b"))
    return inputs[0].mean([int(i) for i in inputs[1].flatten()], keepdim=keep)


def pad(attr: Attributes, inputs: Sequence[Tensor]) -> Tensor:
    """Zeros around some dimensions."""
    return F.pad(inputs[0], [int(i) for pair in reversed(inputs[1].tolist()) for i in pair])


def reshape(attr: Attributes, inputs: Sequence[Tensor]) -> Tensor:
    """Another shape for each picture: what the file says of the batch is its author's batch."""
    return inputs[0].reshape(len(inputs[0]), *(int(i) for i in inputs[1][1:]))


def each(function: Callable[..., Tensor]) -> Operation:
    """An operation without attributes."""
    return lambda attr, inputs: function(*inputs)


OPERATIONS: Mapping[str, Operation] = {
    "Conv2D": conv,
    "_FusedConv2D": conv,
    "DepthwiseConv2dNative": depthwise,
    "FusedDepthwiseConv2dNative": depthwise,
    "MatMul": matmul,
    "_FusedMatMul": matmul,
    "MaxPool": max_pool,
    "Mean": mean,
    "Pad": pad,
    "Reshape": reshape,
    "Add": each(torch.add),
    "AddV2": each(torch.add),
    "Sub": each(torch.sub),
    "Mul": each(torch.mul),
    "Minimum": each(torch.minimum),
    "Maximum": each(torch.maximum),
    "Relu": each(F.relu),
    "Sigmoid": each(torch.sigmoid),
    "Softmax": each(lambda x: x.softmax(-1)),
    "Identity": each(lambda x: x),
}
"""The operations that the networks of `guides.human` are made of, by the names of TensorFlow."""
