"""The population study: numbers against renders whose truth is known, and the page from end to end."""

import json
from pathlib import Path

import pytest
import torch

from latentzoo import picture
from latentzoo.builtin.avatars import NAMES, draw
from latentzoo.builtin.captions import parse
from latentzoo.builtin.drawing import render
from latentzoo.builtin.study.compare import Guidance, Study, compare, read
from latentzoo.builtin.study.findings import find, wilson
from latentzoo.errors import SpecError

TEXT = "a person with sunglasses"


def renders(wanted: bool, count: int = 24) -> torch.Tensor:
    """Fresh renders of which a text is true, or is not."""
    drawn = (draw(9, i) for i in range(100 * count))
    chosen = [avatar for avatar in drawn if avatar.satisfies(parse(TEXT)) == wanted][:count]
    return torch.stack(
        [torch.from_numpy(render(a).copy()).permute(2, 0, 1).float() / 255 for a in chosen]
    )


def test_the_judge_tells_true_from_false() -> None:
    assert find(renders(True), TEXT).success > 0.9
    assert find(renders(False), TEXT).success < 0.1


def test_identical_pictures_have_no_diversity() -> None:
    same = find(renders(True, 1).expand(8, -1, -1, -1), TEXT)
    assert same.diversity == pytest.approx(0, abs=1e-3) and same.combinations == 1


def test_the_true_population_has_less_bias_than_one_picture() -> None:
    many, one = renders(True, 48), renders(True, 1).expand(48, -1, -1, -1)
    assert (find(many, TEXT).bias or 0) < (find(one, TEXT).bias or 0) / 2


@pytest.mark.parametrize(("k", "n", "low", "high"), [(8, 10, 0.490, 0.943), (0, 10, 0.0, 0.278)])
def test_wilson(k: int, n: int, low: float, high: float) -> None:
    assert wilson(k, n) == pytest.approx((low, high), abs=1e-3)


def test_a_comparison_writes_its_page(tmp_path: Path) -> None:
    person = tmp_path / "ada.png"
    picture.write(person, picture.to_uint8(renders(True, 1))[0])
    study = Study(
        generators={"avatar-turbo": {}},
        texts=[TEXT],
        people=[str(person)],
        unguided=4,
        text=Guidance(energy="attribute", weight=5),
        run={"chains": 2, "steps": 3},
    )
    rows = compare(study, tmp_path)
    page = (tmp_path / "compare.html").read_text()
    assert [row.asked for row in rows] == [TEXT, "ada"]
    assert all(words in page for words in ("avatar-turbo", TEXT, "the person ada", "eyebrows"))
    numbers = json.loads((tmp_path / "compare.json").read_text())
    assert numbers["rows"][1]["finding"]["likeness"] == rows[1].finding.likeness is not None
    assert set(numbers["unguided"][0]["variations"]) == set(NAMES)
    assert (tmp_path / "compare.png").exists()
    again = compare(study, tmp_path)
    assert again[0].energy == rows[0].energy


def test_a_study_is_read_with_the_people_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("generators: {avatar-turbo: {}}\npeople: [people/ada.png]\n")
    assert read(path).people == [str(tmp_path / "people/ada.png")]
    path.write_text("generator: avatar-turbo\n")
    with pytest.raises(SpecError, match="not a population study"):
        read(path)
