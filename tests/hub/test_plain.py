"""The readers of OpenVINO, TensorFlow.js and Equinox: what they give, and what they refuse."""

import json
import os
import re
import struct

import numpy as np
import pytest
import torch

import plain_files as write
from latentzoo.errors import CheckpointError
from latentzoo.hub.read import read

RNG = np.random.default_rng(0)
VALUE = RNG.normal(size=(2, 3, 4)).astype(np.float32)


def refused(path, *facts):
    with pytest.raises(CheckpointError) as caught:
        read(path)
    text = str(caught.value)
    assert "\n" not in text and str(path.parent) in text and len(text) < 600
    for fact in facts:
        assert re.search(fact, text), text


class TestOpenVINO:
    def test_constants_by_name_without_the_whole_numbers(self, tmp_path):
        constants = {"a.weight": VALUE, "half": VALUE[0], "scalar": 2.5, "axis": [1, 2]}
        path = write.openvino(
            tmp_path / "Net.xml", constants, types={"axis": "i64", "half": "f16"}
        )
        found = read(path)
        assert found.container == "openvino" and set(found.tensors) == {
            "a.weight",
            "half",
            "scalar",
        }
        assert np.array_equal(found.tensors["a.weight"], VALUE)
        assert np.array_equal(found.tensors["half"], VALUE[0].astype(np.float16))
        assert found.tensors["scalar"].shape == () and found.tensors["scalar"] == 2.5
        assert found.records == {"version": "10", "operations": ["Const"]}

    def test_a_folder_is_all_of_its_graphs(self, tmp_path):
        for name in ("One", "Two"):
            write.openvino(tmp_path / f"{name}.xml", {"w": VALUE})
        assert set(read(tmp_path).tensors) == {"One.w", "Two.w"}

    @pytest.mark.parametrize(
        "head",
        [
            '<!DOCTYPE net [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>',
            '<!DOCTYPE net [<!ENTITY file SYSTEM "file:///etc/passwd">]>',
            '<!DOCTYPE net SYSTEM "net.dtd">',
            '<!DOCTYPE net [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]>',
        ],
        ids=["laughs", "file", "dtd", "parameter"],
    )
    def test_entities(self, head, tmp_path):
        path = write.openvino(tmp_path / "a.xml", {"w": VALUE}, head=write.HEAD + head)
        refused(path, "entities", "do not trust it")

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ('offset="0"', 'offset="1"'),
            ('offset="0"', 'offset="-1"'),
            ('offset="0"', f'offset="{10**14}"'),
            ('offset="0"', f'offset="{"9" * 5000}"'),
            ('offset="0"', 'offset="0x0"'),
            ('offset="0"', ""),
            ('size="96"', 'size="92"'),
            ('size="96"', f'size="{2**40}"'),
            ('shape="2, 3, 4"', 'shape="2, 3, 5"'),
            ('shape="2, 3, 4"', f'shape="{2**30}, {2**30}, {2**30}"'),
            ('shape="2, 3, 4"', 'shape="-2, -3, 4"'),
            ('shape="2, 3, 4"', f'shape="{"1, " * 40}24"'),
            ('element_type="f32"', 'element_type="string"'),
            ('version="10"', 'version="99"'),
            ("</net>", ""),
            ("<layers>", "<layers><layers>"),
        ],
    )
    def test_declarations_beyond_the_file(self, old, new, tmp_path):
        path = write.openvino(tmp_path / "a.xml", {"w": VALUE})
        text = path.read_text().replace('<?xml version="1.0"?>', "")
        assert old in text
        path.write_text(text.replace(old, new))
        refused(path, "not a sound checkpoint")

    def test_without_its_numbers(self, tmp_path):
        path = write.openvino(tmp_path / "a.xml", {"w": VALUE})
        path.with_suffix(".bin").unlink()
        refused(path, r"a\.bin, are not beside it")
        path.with_suffix(".bin").write_bytes(b"")
        refused(path, r"a\.bin is empty")

    def test_truncated(self, tmp_path):
        path = write.openvino(tmp_path / "a.xml", {"w": VALUE})
        path.with_suffix(".bin").write_bytes(VALUE.tobytes()[:-1])
        refused(path, "declared on 95")

    def test_one_name_twice(self, tmp_path):
        path = write.openvino(tmp_path / "a.xml", {"w": VALUE, "v": VALUE})
        path.write_text(path.read_text().replace('name="v"', 'name="w"'))
        refused(path, "two constants of the name 'w'")

    def test_nested_beyond_reason_is_no_graph(self, tmp_path):
        path = write.openvino(tmp_path / "a.xml", {"w": VALUE})
        path.write_text("<net>" * 100_000 + "</net>" * 100_000)
        refused(path)


class TestTensorFlowJS:
    def test_plain_and_quantised_numbers(self, tmp_path):
        weights = {
            "plain": VALUE,
            "u8": VALUE,
            "u16": VALUE,
            "half": VALUE,
            "axis": np.array([1, -2]),
        }
        quantise = {"u8": "uint8", "u16": "uint16", "half": "float16"}
        found = read(write.tfjs(tmp_path / "a.json", weights, quantise=quantise))
        assert found.container == "tfjs" and found.records == {}
        assert found.tensors["axis"].tolist() == [1, -2]
        spread = np.ptp(VALUE)
        for name, error in {
            "plain": 0,
            "u8": spread / 510,
            "u16": spread / 131070,
            "half": 2e-3,
        }.items():
            assert found.tensors[name].dtype == torch.float32
            assert np.abs(found.tensors[name].numpy() - VALUE).max() <= error * 1.001

    def test_a_model_brings_its_graph_as_data(self, tmp_path):
        graph = [{"name": "x", "op": "Placeholder"}]
        found = read(write.tfjs(tmp_path / "a.json", {"w": VALUE}, graph=graph))
        assert found.records["graph"] == graph

    @pytest.mark.parametrize(
        "change",
        [
            {"shape": [2**40]},
            {"shape": [2**20] * 40},
            {"shape": [-2, -3, 4]},
            {"shape": [2, 3]},
            {"shape": "234"},
            {"shape": [2.5]},
            {"dtype": "string"},
            {"name": 7},
            {"quantization": {"dtype": "uint8"}},
            {"quantization": {"dtype": "complex64", "scale": 1, "min": 0}},
            {"quantization": {"dtype": "uint8", "scale": "x"}},
        ],
        ids=str,
    )
    def test_declarations_that_do_not_hold(self, change, tmp_path):
        path = write.tfjs(tmp_path / "a.json", {"w": VALUE})
        manifest = json.loads(path.read_text())
        manifest[0]["weights"][0] |= change
        path.write_text(json.dumps(manifest))
        if change.get("quantization") == {"dtype": "uint8"}:
            path.with_suffix(".bin").write_bytes(bytes(24))
        refused(path, "not a sound checkpoint")

    @pytest.mark.parametrize(
        "name", ["../a.bin", "/etc/passwd", "..", "b/../../a.bin", "b\\a.bin"]
    )
    def test_numbers_elsewhere(self, name, tmp_path):
        path = write.tfjs(tmp_path / "a.json", {"w": VALUE})
        path.write_text(path.read_text().replace("a.bin", name.replace("\\", "\\\\")))
        refused(path, "leads out of the folder")

    def test_without_its_numbers(self, tmp_path):
        path = write.tfjs(tmp_path / "a.json", {"w": VALUE})
        path.with_suffix(".bin").unlink()
        refused(path, "not beside their manifest")

    def test_truncated_or_too_long(self, tmp_path):
        path = write.tfjs(tmp_path / "a.json", {"w": VALUE})
        data = path.with_suffix(".bin").read_bytes()
        path.with_suffix(".bin").write_bytes(data[:-1])
        refused(path, "beyond the end of its file")
        path.with_suffix(".bin").write_bytes(data + b"0")
        refused(path, "96 bytes are declared and 97 are there")

    @pytest.mark.parametrize(
        "text", ["{", "[1]", "{}", "[]", '{"weightsManifest": 3}', "[" * 100_000]
    )
    def test_no_manifest(self, text, tmp_path):
        (tmp_path / "a.json").write_text(text)
        refused(tmp_path / "a.json")


class TestEquinox:
    def test_records_by_their_place(self, tmp_path):
        arrays = [
            VALUE,
            np.asfortranarray(VALUE[0]),
            np.float32(3),
            np.arange(3),
            np.empty((0, 2)),
            VALUE.astype(">f8"),
        ]
        found = read(write.equinox(tmp_path / "a.eqx", arrays))
        assert found.container == "equinox" and list(found.tensors) == list("012345")
        for tensor, array in zip(found.tensors.values(), arrays, strict=True):
            assert np.array_equal(tensor, array) and tensor.shape == np.shape(array)

    def test_objects_are_never_loaded(self, tmp_path):
        class Trap:
            def __reduce__(self):
                return os.mkdir, (str(tmp_path / "canary"),)

        path = write.equinox(tmp_path / "a.eqx", [VALUE, np.array([Trap()], dtype=object)])
        refused(path, "no plain number")
        assert not (tmp_path / "canary").exists()

    @pytest.mark.parametrize(
        "header",
        [
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -24), }",
            "{'descr': '|O', 'fortran_order': False, 'shape': (2,), }",
            "{'descr': '<U4', 'fortran_order': False, 'shape': (2,), }",
            "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': 2, }",
            "__import__('os').mkdir('canary')",
            "{",
            "",
        ],
    )
    def test_headers_that_do_not_hold(self, header, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        text = header.encode() + b"\n"
        record = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(8)
        (tmp_path / "a.eqx").write_bytes(record)
        refused(tmp_path / "a.eqx")
        assert not (tmp_path / "canary").exists()

    def test_a_header_beyond_its_bound_or_of_another_version(self, tmp_path):
        text = b" " * 60_000
        (tmp_path / "a.eqx").write_bytes(
            b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text
        )
        refused(tmp_path / "a.eqx")
        (tmp_path / "a.eqx").write_bytes(b"\x93NUMPY\x09\x00" + bytes(100))
        refused(tmp_path / "a.eqx", "which is not read")

    def test_truncated_and_followed_by_rubbish(self, tmp_path):
        path = write.equinox(tmp_path / "a.eqx", [VALUE])
        data = path.read_bytes()
        path.write_bytes(data[:-1])
        refused(path, "declared on 95 bytes")
        path.write_bytes(data + b"rubbish")
        refused(path)
