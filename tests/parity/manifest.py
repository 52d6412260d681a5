"""Checks names and shapes of official full-size files against our networks, without weights.

    python tests/parity/manifest.py MANIFEST.json[.gz] [...]

The driver `drivers/<arch>.py` builds the network on the meta device and gives the key rules for
the file's names. Every tensor of the file must have a rule, and the renamed ones must be the
network's state, name by name and shape by shape. One line each,

    arch manifest tensors loaded dropped ok|FAIL

The exit status is 1 if anything fails.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))

from check import driver, in_a_line, read_json

from latentzoo.hub.keys import translate


class Verdict(NamedTuple):
    """What one manifest gave."""

    arch: str
    manifest: str
    tensors: int
    loaded: int
    reason: str = ""

    def __str__(self) -> str:
        counts = f"{self.tensors} {self.loaded} {self.tensors - self.loaded}"
        end = f"FAIL  {self.reason}" if self.reason else "ok"
        return f"{self.arch} {self.manifest} {counts} {end}"


def mismatches(expected: dict[str, torch.Tensor], given: dict[str, torch.Tensor]) -> str:
    """Says in what the given tensors differ from the network's state ("" if in nothing)."""
    shown = lambda names: f"{', '.join(sorted(names)[:4])} ({len(names)} in all)"
    is_float = torch.Tensor.is_floating_point
    parts = []
    if missing := expected.keys() - given.keys():
        parts.append(f"missing {shown(missing)}")
    if surplus := given.keys() - expected.keys():
        parts.append(f"surplus {shown(surplus)}")
    common = sorted(expected.keys() & given.keys())
    if wrong := [k for k in common if expected[k].shape != given[k].shape]:
        shapes = f"{list(given[wrong[0]].shape)}, ours {list(expected[wrong[0]].shape)}"
        parts.append(f"{len(wrong)} wrong shapes, e.g. {wrong[0]} {shapes}")
    if wrong := [k for k in common if is_float(expected[k]) != is_float(given[k])]:
        parts.append(f"{len(wrong)} wrong types, e.g. {wrong[0]} {given[wrong[0]].dtype}")
    return "; ".join(parts)


def check(path: Path) -> Verdict:
    """Checks the manifest at a path."""
    manifest = read_json(path)
    name = path.name.split(".json")[0]
    arch = manifest.get("arch") or name.split("-")[0]
    state = {
        key: torch.empty(shape, dtype=getattr(torch, dtype), device="meta")
        for key, shape, dtype in manifest["state"]
    }
    try:
        with torch.device("meta"):
            network, rules = driver(arch).manifest(manifest["config"])
        loaded = translate(state, rules, source=name)
        reason = mismatches(network.state_dict(), loaded)
        if not reason:
            network.load_state_dict(loaded, strict=True, assign=True)
    except Exception as e:
        return Verdict(arch, name, len(state), 0, in_a_line(e))
    return Verdict(arch, name, len(state), len(loaded), reason)


def main(paths: list[str]) -> int:
    """Checks manifests and prints their verdicts; the exit status."""
    if not paths:
        print(__doc__)
        return 2
    ok = True
    for path in paths:
        verdict = check(Path(path))
        print(verdict, flush=True)
        ok &= not verdict.reason
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
