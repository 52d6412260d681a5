"""The checker itself: its fill rule, its comparison, and that a wrong network does not pass."""

import json
import subprocess
import sys
from types import SimpleNamespace

import check
import manifest
import numpy as np
import pytest
import torch
from torch import nn

from latentzoo.hub.keys import Rule

COMMON = {"dtype": "float32", "mean": 0.5, "std": 2.0, "positive": False}
ENTRY = COMMON | {"key": "fc.weight", "shape": [3, 2], "fill": True}
SEED = 1178713831  # crc32 of "saltfc.weight"
CONSTANT = COMMON | {"key": "kernel", "shape": [2], "fill": False}


class Line(nn.Module):
    """y = x W^T k, with a constant k as a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 3, bias=False)
        self.register_buffer("k", torch.tensor([2.0, 2.0]))

    def forward(self, x):
        return self.linear(x) * self.k[0]


LINE = SimpleNamespace(
    build=lambda config: Line(),
    rules=lambda network, config: [Rule("fc.weight", "linear.weight"), Rule("kernel", "k")],
    call=lambda network, name, inputs, options, config: {"y": network(inputs["x"])},
    manifest=lambda config: (Line(), [Rule("fc.weight", "linear.weight"), Rule("kernel", "k")]),
)


@pytest.fixture
def card(tmp_path, monkeypatch):
    """A card of `Line`; gives a function that writes it with changes and checks it."""
    monkeypatch.setattr(check, "driver", lambda arch: LINE)
    monkeypatch.setattr(manifest, "driver", lambda arch: LINE)
    x = np.array([[1.0, -2.0], [0.25, 3.0]], dtype=np.float32)
    y = 2 * x.astype(np.float64) @ check.fill(ENTRY, "salt").numpy().astype(np.float64).T
    call = {"inputs": ["x"], "options": {}, "outputs": ["y"], "rtol": 0, "atol": 1e-5}

    def run(**change):
        arrays = {"x": x, "y": change.pop("y", y)}
        calls = [call | {"name": "f"}, call | {"name": "f_f64", "atol": 1e-12}]
        content = {"arch": "line", "salt": "salt", "config": {}, "calls": calls}
        content |= {"state": [ENTRY, CONSTANT]} | change
        (tmp_path / "tiny.json").write_text(json.dumps(content))
        np.savez(tmp_path / "tiny.npz", **arrays)
        return list(check.check(tmp_path / "tiny.json"))

    run.y = y
    return run


def test_fill_rule():
    value = check.fill(ENTRY, "salt")
    first = np.random.Generator(np.random.PCG64(SEED)).standard_normal(6, dtype=np.float32)
    assert torch.equal(value.flatten(), torch.from_numpy(np.float32(0.5) + np.float32(2) * first))
    scalar = check.fill(ENTRY | {"shape": [], "positive": True, "dtype": "float64"}, "salt")
    assert scalar.shape == () and scalar.dtype == torch.float64 and scalar >= 1e-3


def test_right_network_passes_in_both_precisions(card):
    single, double = card()
    assert single.ok and double.ok
    assert 0 < single.error < 1e-6 and double.error < 1e-14


def test_wrong_values_fail_and_say_where(card):
    y = card.y.copy()
    y[1, 2] += 1e-3
    single, _ = card(y=y)
    assert not single.ok and "y[1, 2]" in single.reason
    assert single.error == pytest.approx(1e-3, rel=1e-2)
    assert not any(v.ok for v in card(y=np.full_like(y, np.nan)))
    assert not any(v.ok for v in card(y=y[:1]))


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ([ENTRY, CONSTANT, ENTRY | {"key": "surplus"}], "no rule for 1 tensors (surplus)"),
        ([CONSTANT], "Missing key"),
        ([ENTRY | {"shape": [3, 3]}, CONSTANT], "size mismatch"),
        ([ENTRY, CONSTANT | {"shape": [4]}], "size mismatch"),
        ([ENTRY], "Missing key"),
    ],
    ids=["surplus", "missing", "shape", "constant-shape", "constant-missing"],
)
def test_loading_is_strict(card, state, reason):
    (verdict,) = card(state=state)
    assert verdict.call == "load" and not verdict.ok and reason in verdict.reason


def test_manifest_names_what_does_not_fit(card, tmp_path):
    def run(*state):
        path = tmp_path / "line-tiny.json"
        path.write_text(json.dumps({"config": {}, "state": state}))
        return manifest.check(path)

    weight, kernel = ["fc.weight", [3, 2], "float32"], ["kernel", [2], "float32"]
    assert run(weight, kernel).reason == "" and run(weight, kernel).loaded == 2
    assert "missing k" in run(weight).reason
    assert "no rule" in run(weight, kernel, ["other", [1], "float32"]).reason
    assert (
        "linear.weight [2, 3], ours [3, 2]" in run(["fc.weight", [2, 3], "float32"], kernel).reason
    )
    assert "wrong types" in run(["fc.weight", [3, 2], "int64"], kernel).reason


@pytest.mark.parametrize("script", ["check", "manifest"])
def test_scripts_run_from_anywhere_and_fail_without_a_driver(script, tmp_path):
    path = tmp_path / "nowhere-x.json"
    path.write_text(json.dumps({"arch": "nowhere", "config": {}, "state": [], "calls": []}))
    command = [sys.executable, str(check.HERE / f"{script}.py"), str(path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "FAIL" in done.stdout and "no driver for the architecture 'nowhere'" in done.stdout
