"""Runs parity cards: our networks, filled by the official names, against official outputs.

    python tests/parity/check.py CARD.json [...]

A card is translated like a checkpoint: its tensors get the fill rule's values under their official
names, go through the key rules of the driver `drivers/<arch>.py`, and load strictly. Each call
prints one line,

    arch card call max_abs_error tolerance ok|FAIL

where an output `x` passes if `|x - y| <= atol + rtol |y|` in every element; the tolerance shown is
the one at the largest error. The exit status is 1 if anything fails.
"""

import copy
import gzip
import importlib.util
import json
import sys
import zlib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
if importlib.util.find_spec("latentzoo") is None:
    sys.path.insert(0, str(HERE.parents[1] / "src"))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from latentzoo.hub.keys import translate  # noqa: E402

torch.set_num_threads(1)  # as the cards were measured: other sums round otherwise, and flip kinks


class Verdict(NamedTuple):
    """What one call of a card gave."""

    arch: str
    card: str
    call: str
    error: float
    tolerance: float
    reason: str = ""

    @property
    def ok(self) -> bool:
        return not self.reason

    def __str__(self) -> str:
        line = f"{self.arch} {self.card} {self.call} {self.error:.3e} {self.tolerance:.3e}"
        return f"{line} ok" if self.ok else f"{line} FAIL  {self.reason}"


def read_json(path: Path) -> dict[str, Any]:
    """Reads a card or a manifest, plain or gzipped."""
    data = path.read_bytes()
    return json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)


@cache
def driver(arch: str) -> ModuleType:
    """Imports the driver of an architecture.

    Raises:
        LookupError: If there is none.
    """
    path = HERE / "drivers" / f"{arch}.py"
    spec = importlib.util.spec_from_file_location(f"parity_driver_{arch}", path)
    if not arch.isidentifier() or not path.is_file() or spec is None or spec.loader is None:
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.py")))
        raise LookupError(f"no driver for the architecture '{arch}'; known: {known}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fill(entry: Mapping[str, Any], salt: str) -> Tensor:
    """The value of one tensor by fill rule v1: seeded by its official name."""
    rng = np.random.Generator(np.random.PCG64(zlib.crc32((salt + entry["key"]).encode())))
    draw = np.asarray(rng.standard_normal(entry["shape"], dtype=np.float32))
    value = np.float32(entry["mean"]) + np.float32(entry["std"]) * draw
    if entry["positive"]:
        value = np.abs(value) + np.float32(1e-3)
    return torch.from_numpy(np.asarray(value, dtype=np.float32)).to(getattr(torch, entry["dtype"]))


def load(card: Mapping[str, Any]) -> nn.Module:
    """Builds the network of a card and loads its filled tensors, strictly.

    A constant (fill = false) has no value in the card: it is either dropped by a rule, or the
    network's own, which must then have the official shape.
    """
    ours = driver(card["arch"])
    network = ours.build(card["config"])
    official = {
        e["key"]: fill(e, card["salt"]) if e["fill"] else torch.empty(e["shape"], device="meta")
        for e in card["state"]
    }
    if official:
        state = translate(official, ours.rules(network, card["config"]))
        for name, value in network.state_dict().items():
            if name in state and state[name].is_meta and state[name].shape == value.shape:
                state[name] = value
        network.load_state_dict(state, strict=True)
    return network.eval().requires_grad_(False)


def compare(
    ours: Mapping[str, Tensor], expected: Mapping[str, np.ndarray], *, rtol: float, atol: float
) -> tuple[float, float, str]:
    """Gives the largest error, the tolerance there, and what is wrong ("" if nothing is)."""
    worst, tolerance, reasons = 0.0, atol, []
    for name, value in expected.items():
        y = value.astype(np.float64)
        if name not in ours:
            reasons.append(f"{name}: missing, the driver gives {', '.join(sorted(ours))}")
            continue
        x = ours[name].detach().cpu().to(torch.float64).numpy()
        if x.shape != y.shape:
            reasons.append(f"{name}: shape {x.shape}, the card has {y.shape}")
            continue
        error, bound = np.abs(x - y), atol + rtol * np.abs(y)
        wrong = ~(error <= bound)
        if wrong.any():
            flat = np.where(wrong, np.nan_to_num(error, nan=np.inf), -1).argmax()
            at = ", ".join(str(k) for k in np.unravel_index(flat, y.shape))
            values = f"{x.flat[flat]:.6g}, the card has {y.flat[flat]:.6g}"
            reasons.append(f"{name}[{at}]: {values}; {wrong.mean():.1%} wrong")
        if error.size and not error.max() <= worst:
            worst, tolerance = float(error.max()), float(bound.flat[error.argmax()])
    return worst, tolerance, "; ".join(reasons)


def in_a_line(error: Exception) -> str:
    """An error as one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def check(path: Path) -> Iterator[Verdict]:
    """Runs every call of the card at a path (its arrays stand beside it as .npz)."""
    card = read_json(path)
    arch, name = card["arch"], path.name.split(".json")[0]
    failed = lambda call, e: Verdict(arch, name, call, float("nan"), float("nan"), in_a_line(e))
    try:
        ours = driver(arch)
        network = load(card)
    except Exception as e:
        yield failed("load", e)
        return
    with np.load(path.with_name(f"{name}.npz"), allow_pickle=False) as arrays:
        for call in card["calls"]:
            double = call["name"].endswith("_f64") or call["options"].get("dtype") == "float64"
            dtype = torch.float64 if double else torch.float32
            actor = copy.deepcopy(network).to(dtype) if double else network
            inputs = {k: torch.from_numpy(arrays[k]).to(dtype) for k in call["inputs"]}
            expected = {k: arrays[k] for k in call["outputs"]}
            try:
                outputs = ours.call(actor, call["name"], inputs, call["options"], card["config"])
                verdict = compare(outputs, expected, rtol=call["rtol"], atol=call["atol"])
            except Exception as e:
                yield failed(call["name"], e)
                continue
            yield Verdict(arch, name, call["name"], *verdict)


def main(paths: list[str]) -> int:
    """Checks cards and prints their verdicts; the exit status."""
    if not paths:
        print(__doc__)
        return 2
    ok = True
    for path in paths:
        for verdict in check(Path(path)):
            print(verdict, flush=True)
            ok &= verdict.ok
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
