"""`check`: every broken law is found by name, whatever the generator does, and it is left as it was."""

import copy

import pytest
import torch
from torch import Tensor, nn

import latentzoo as lz
from broken import BAD, FLAT, GOOD, Map, Spaceless
from latentzoo.diagnosis.check import check
from latentzoo.errors import SpecError


@pytest.mark.parametrize("name", GOOD)
def test_a_sound_generator_keeps_every_law(name: str) -> None:
    report = check(GOOD[name]())
    assert report.holds and not report.breaches, report
    assert len(report.laws) == 11


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_measured_in_its_own_rounding(dtype: torch.dtype) -> None:
    report = check(Map().to(dtype))
    assert report.holds, report


@pytest.mark.parametrize("name", BAD | FLAT)
def test_every_fault_is_found_by_the_name_of_its_law(name: str) -> None:
    make, *_, law = (BAD | FLAT)[name]
    report = check(make())
    assert not report.holds
    assert any(law in breach.name for breach in report.breaches), report


@pytest.mark.parametrize("name", ["in [-1, 1]", "0 to 255", "unbounded", "one channel"])
def test_only_the_law_that_is_broken_is_named(name: str) -> None:
    assert len(check(BAD[name][0]()).breaches) == 1


@pytest.mark.parametrize("name", BAD | FLAT | {"batch norm": (GOOD["batch norm in eval mode"],)})
def test_the_generator_is_left_as_it_was(name: str) -> None:
    generator = {**BAD, **FLAT, "batch norm": (GOOD["batch norm in eval mode"],)}[name][0]()
    before, training = copy.deepcopy(generator.state_dict()), generator.training
    calls = getattr(generator.hidden, "calls", 0)
    check(generator)
    after = generator.state_dict()
    assert (
        all(torch.equal(before[key], after[key]) for key in before)
        and after.keys() == before.keys()
    )
    assert generator.training == training and getattr(generator.hidden, "calls", 0) == calls
    assert all(weight.grad is None for weight in generator.parameters())


class Falling(Map):
    """It falls over a batch of one."""

    def forward(self, z: Tensor) -> Tensor:
        if len(z) == 1:
            raise RuntimeError("expected\nmore than one")
        return super().forward(z)


class Uncopied(Map):
    """It cannot be copied."""

    def __deepcopy__(self, memo: dict) -> "Uncopied":
        raise RuntimeError("no copies")


@pytest.mark.parametrize(
    ("generator", "law", "why"),
    [
        (Falling(), "independent of the batch", "RuntimeError: expected"),
        (Map(nn.BatchNorm1d(32)).train(), "independent of the batch", "ValueError: Expected more"),
        (Spaceless(), "says its space and size", "'Spaceless' object has no attribute 'space'"),
        (Uncopied(), "can be copied", "no copies"),
        (Map(nn.Linear(5, 32)), "shape", "RuntimeError: mat1 and mat2"),
        (FLAT["no gradient"][0](), "gradient", "no gradient passes from the image to z"),
        (FLAT["detached"][0](), "gradient", "no gradient passes from the image to z"),
        (Map(end=lambda x: {"image": x}), "shape", "returned a dict; return the images alone"),
    ],
)
def test_whatever_a_generator_raises_is_reported(
    generator: lz.Generator, law: str, why: str
) -> None:
    found = [breach for breach in check(generator).breaches if law in breach.name]
    assert found and why in found[0].why and "\n" not in found[0].why


def test_not_finite_is_found() -> None:
    broken = check(Map(end=lambda x: x.sigmoid() / (x > 0))).breaches
    assert "finite" in {law.name for law in broken}


def test_a_report_is_readable() -> None:
    lines = str(check(BAD["in [-1, 1]"][0]())).splitlines()
    assert any(line.startswith("ok      repeatable") for line in lines)
    at = next(k for k, line in enumerate(lines) if line.startswith("BREACH  range"))
    assert "return (image + 1) / 2" in lines[at + 1]


def test_one_row_is_no_batch() -> None:
    with pytest.raises(SpecError, match="chains is 1; a row is compared with a batch"):
        check(Map(), chains=1)
