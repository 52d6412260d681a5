"""The benchmark of compositions: a cell is known by its settings, too."""

import importlib.util
import json
from pathlib import Path

import pytest

PATH = Path(__file__).parents[1] / "benchmarks" / "compositions.py"
STUDY = {
    **{"generator": "avatar-t2i", "options": {}, "guide": "avatar-attributes", "chains": 4},
    **{"seed": 0, "gradients": [50, 25], "prompts": {1: ["a hat"], 2: ["a hat and a beard"]}},
    "methods": {"unguided": None, "smc": {"kernel": "smc", "weight": 100}},
}


def test_cells_of_other_settings_are_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("compositions", PATH)
    assert spec is not None and spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    monkeypatch.setattr(benchmark, "cell", lambda *_: {"success": [1]})
    kept = [json.loads(json.dumps(cell)) for cell in benchmark.cells(STUDY, [])]
    assert len(kept) == 2 * (1 + 2)  # the unguided has one budget
    assert list(benchmark.cells(STUDY, kept)) == [] and benchmark.own(STUDY, kept) == kept

    heavier = STUDY | {"methods": {"unguided": None, "smc": {"kernel": "smc", "weight": 200}}}
    again = list(benchmark.cells(heavier, kept))
    assert {cell["method"] for cell in again} == {"smc"} and len(again) == 4
    assert benchmark.own(heavier, [*kept, *again]) == [*_unguided(kept), *again]
    assert benchmark.own(STUDY, [*kept, *again]) == kept

    for changed in ({"chains": 8}, {"seed": 1}, {"guide": "other"}, {"options": {"eta": 1}}):
        assert len(list(benchmark.cells(STUDY | changed, kept))) == 6
    bare = [{k: v for k, v in cell.items() if k != "made_by"} for cell in kept]
    assert benchmark.own(STUDY, bare) == []  # of which it is not known


def _unguided(cells: list[dict]) -> list[dict]:
    return [cell for cell in cells if cell["method"] == "unguided"]
