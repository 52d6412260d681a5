"""A graph of TensorFlow.js as a network: against the same network in PyTorch, and what is refused."""

import base64

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import plain_files as write
from latentzoo.errors import CheckpointError
from latentzoo.guides.graph import Graph
from latentzoo.hub.read import read

RNG = np.random.default_rng(0)
normal = lambda *shape: RNG.normal(size=shape).astype(np.float32)
text = lambda word: {"s": base64.b64encode(word.encode()).decode()}
ints = lambda *values: {"list": {"i": [str(v) for v in values]}}
window = lambda stride, padding="SAME": {
    "strides": ints(1, stride, stride, 1),
    "padding": text(padding),
}
node = lambda name, op, *inputs, **attr: {
    "name": name,
    "op": op,
    "input": list(inputs),
    "attr": attr,
}
then = lambda *words: {"fused_ops": {"list": {"s": [text(word)["s"] for word in words]}}}
const = lambda name: node(name, "Const")

WEIGHTS = {
    "k": normal(3, 3, 3, 4),
    "b": normal(4),
    "d": normal(3, 3, 4, 1),
    "six": np.float32(6).reshape(()),
    "axes": np.array([1, 2], dtype=np.int32),
    "m": normal(4, 5),
}
NODES = [
    node("end", "_FusedMatMul", "mean", "m", transpose_a={"b": False}, transpose_b={"b": False}),
    node("x", "Placeholder"),
    *(const(name) for name in WEIGHTS),
    node(
        "conv",
        "_FusedConv2D",
        "x",
        "k",
        "b",
        fused_ops={"list": {"s": [text("BiasAdd")["s"], text("Relu")["s"]]}},
        **window(2),
    ),
    node("dw", "DepthwiseConv2dNative", "conv", "d", **window(1)),
    node("low", "Minimum", "dw", "six"),
    node("pool", "MaxPool", "low", ksize=ints(1, 3, 3, 1), **window(2)),
    node("mean", "Mean", "pool", "axes", keep_dims={"b": False}),
]


def made(folder, nodes=NODES, weights=WEIGHTS, outputs=("end",)):
    return Graph(read(write.tfjs(folder / "a.json", weights, graph=nodes)), outputs)


def test_a_graph_is_the_network_it_says(tmp_path):
    graph = made(tmp_path)
    x = torch.randn(3, 8, 8, 3)
    w = {name: torch.from_numpy(np.asarray(value)) for name, value in WEIGHTS.items()}
    y = F.pad(x.permute(0, 3, 1, 2), (0, 1, 0, 1))  # TensorFlow puts the odd pixel after
    y = F.conv2d(y, w["k"].permute(3, 2, 0, 1), w["b"], stride=2).relu()
    y = F.conv2d(y, w["d"].permute(2, 3, 0, 1), padding=1, groups=4).clamp(max=6)
    y = F.max_pool2d(F.pad(y, (0, 1, 0, 1), value=-torch.inf), 3, 2).mean((2, 3)) @ w["m"]
    torch.testing.assert_close(graph(x)[0], y)
    torch.testing.assert_close(graph(x[1:2])[0], y[1:2])
    x.requires_grad_()
    (slope,) = torch.autograd.grad(graph(x)[0].sum(), x)
    assert slope.isfinite().all() and slope.abs().sum() > 0


def refused(folder, fact, **options):
    with pytest.raises(CheckpointError, match=fact):
        made(folder, **options)(torch.zeros(1, 8, 8, 3))


def test_what_is_not_known_is_refused_by_name_before_it_runs(tmp_path):
    refused(
        tmp_path,
        "the operation 'PyFunc'",
        nodes=[*NODES, node("f", "PyFunc", "end")],
        outputs=["f"],
    )
    assert made(tmp_path, nodes=[*NODES, node("f", "PyFunc", "end")]), (
        "what is not needed does not matter"
    )


def test_nodes_that_are_missing_or_need_themselves(tmp_path):
    refused(tmp_path, "has no node 'nowhere'", outputs=["nowhere"])
    loop = [node("a", "Relu", "b"), node("b", "Relu", "a")]
    refused(tmp_path, "needs itself", nodes=[*NODES, *loop], outputs=["a"])
    lacking = {k: v for k, v in WEIGHTS.items() if k != "m"}
    refused(tmp_path, "'m' has no numbers", weights=lacking)


@pytest.mark.parametrize(
    ("attr", "fact"),
    [
        ({"strides": ints(1, 2, 1, 1), "padding": text("SAME")}, "unequal strides"),
        ({**window(1), "dilations": ints(1, 2, 2, 1)}, "dilated"),
        ({"strides": ints(1, 1, 1, 1), "padding": text("EXPLICIT")}, "padding EXPLICIT"),
        ({**window(1), **then("Elu")}, "fused operation Elu"),
    ],
)
def test_attributes_that_are_not_known(attr, fact, tmp_path):
    nodes = [*NODES, node("c", "Conv2D", "x", "k", **attr)]
    refused(tmp_path, fact, nodes=nodes, outputs=["c"])


def test_a_file_that_holds_no_graph(tmp_path):
    with pytest.raises(CheckpointError, match="has no node"):
        Graph(read(write.tfjs(tmp_path / "a.json", WEIGHTS)), ["end"])
    with pytest.raises(CheckpointError, match="not a graph"):
        Graph(read(write.tfjs(tmp_path / "b.json", WEIGHTS, graph=[{"name": 3}])), ["end"])
