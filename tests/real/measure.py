"""Measures the real networks in the runtime they were published for, once, in an environment of its own.

    python tests/real/measure.py openvino FOLDER OUT.json       openvino 2026.4.1; the folder of the two graphs
    python tests/real/measure.py equinox FOLDER OUT.json        equinox 0.13.8; the unpacked package galaxygrad

What is stored are numbers on a coarse grid, from latents of a stated rule; no weight is. `test_parity.py` compares.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np


def latents(count, dim):
    """Latents that any environment can draw: numpy's PCG64 of seed 0."""
    return np.random.Generator(np.random.PCG64(0)).standard_normal((count, dim), dtype=np.float32)


def hashes(paths):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def openvino(folder):
    """The style, and every 32nd pixel of the picture in [-1, 1]."""
    from openvino import Core, __version__, properties

    core = Core()
    core.set_property(
        "CPU", {properties.inference_num_threads: 1, properties.hint.inference_precision: "f32"}
    )
    paths = [folder / f"{name}.xml" for name in ("MappingNetwork", "SynthesisNetwork")]
    mapping, synthesis = (core.compile_model(str(path), "CPU") for path in paths)
    w, image = [], []
    for z in latents(2, 512):
        w.append(mapping([z[None]])[0])
        image.append(synthesis([w[-1]])[0][:, :, 16::32, 16::32])
    found = {"w": np.concatenate(w), "image": np.concatenate(image)}
    files = [*paths, *(path.with_suffix(".bin") for path in paths)]
    return {"runtime": f"openvino {__version__.split('-')[0]}", "files": hashes(files)}, found


def equinox(folder):
    """The score of noise at three times, every fourth pixel."""
    import equinox as eqx
    import jax

    sys.path.insert(0, str(folder))
    from models_eqx import ScoreNet  # pyright: ignore[reportMissingImports]

    found, paths = {}, []
    for name in ("hsc_ScoreNet64", "hsc_ScoreNet32", "ZTF_ScoreNet64", "ZTF_ScoreNet32"):
        side = int(name[-2:])
        like = ScoreNet((1, side, side), 4, 64, 512, 512, 4, 10.0, key=jax.random.PRNGKey(0))
        paths.append(folder / f"eqx_{name}.eqx")
        network = eqx.tree_deserialise_leaves(str(paths[-1]), like)
        y = latents(1, side * side).reshape(1, side, side)
        scores = [np.asarray(network(y, t))[:, 2::4, 2::4] for t in (0.01, 0.5, 10.0)]
        found[name] = np.stack(scores)
    return {
        "runtime": f"equinox {eqx.__version__}, jax {jax.__version__}",
        "files": hashes(paths),
    }, found


if __name__ == "__main__":
    runtime, folder, out = sys.argv[1:]
    about, found = {"openvino": openvino, "equinox": equinox}[runtime](Path(folder))
    numbers = {
        k: {"shape": v.shape, "values": [float(f"{x:.7g}") for x in v.ravel()]}
        for k, v in found.items()
    }
    Path(out).write_text(json.dumps({**about, "numbers": numbers}) + "\n")
