"""Small files in the layouts of OpenVINO, TensorFlow.js and Equinox, for tests."""

import json

import numpy as np

HEAD = '<?xml version="1.0"?>\n'
FLOATS = {"f32": np.float32, "f16": np.float16, "i64": np.int64}


def openvino(path, constants, *, version="10", head=HEAD, types=None):
    """Writes NAME.xml and NAME.bin with the constants, by name; returns the path."""
    layers, data = [], b""
    for i, (name, value) in enumerate(constants.items()):
        kind = (types or {}).get(name, "f32")
        content = np.asarray(value).astype(FLOATS.get(kind, np.float32)).tobytes()
        shape = ", ".join(map(str, np.shape(value)))
        place = f'element_type="{kind}" shape="{shape}" offset="{len(data)}" size="{len(content)}"'
        layers.append(f'<layer id="{i}" name="{name}" type="Const"><data {place}/></layer>')
        data += content
    body = f'<net name="toy" version="{version}"><layers>{"".join(layers)}</layers></net>'
    path.write_text(head + body)
    path.with_suffix(".bin").write_bytes(data)
    return path


def tfjs(path, weights, *, graph=None, quantise=None):
    """Writes a manifest, or with `graph` a model, and its numbers; returns the path."""
    entries, data = [], b""
    for name, value in weights.items():
        value = np.asarray(value)
        kind = "int32" if value.dtype.kind == "i" else "float32"
        entry = {"name": name, "shape": list(value.shape), "dtype": kind}
        how = (quantise or {}).get(name)
        if how == "float16":
            entry["quantization"] = {"dtype": how}
            stored = value.astype(np.float16)
        elif how is not None:
            low, high = float(value.min()), float(value.max())
            scale = (high - low) / (255 if how == "uint8" else 65535)
            entry["quantization"] = {"dtype": how, "scale": scale, "min": low}
            stored = np.round((value - low) / scale).astype(how)
        else:
            stored = value.astype(kind)
        entries.append(entry)
        data += stored.tobytes()
    manifest = [{"paths": [f"{path.stem}.bin"], "weights": entries}]
    model = {"modelTopology": {"node": graph}, "weightsManifest": manifest}
    path.write_text(json.dumps(manifest if graph is None else model))
    path.with_suffix(".bin").write_bytes(data)
    return path


def equinox(path, arrays):
    """Writes records one after another; returns the path."""
    with path.open("wb") as file:
        for array in arrays:
            np.save(file, array, allow_pickle=True)
    return path
