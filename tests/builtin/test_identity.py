"""The embedding of persons: it knows unseen ones again, and guides from the command line's words."""

import numpy as np
import pytest
import torch

from latentzoo import energies
from latentzoo.builtin.avatars import portrait
from latentzoo.builtin.drawing import render
from latentzoo.builtin.identity import embedding
from latentzoo.builtin.study.evaluate import area
from latentzoo.builtin.study.findings import strangers, who
from latentzoo.energies.identity import Identity
from latentzoo.errors import SpecError
from latentzoo.picture import write
from latentzoo.zoo import companion

UNSEEN, EACH = 12, 4


@pytest.fixture(scope="module")
def portraits() -> np.ndarray:
    """Four pictures in a row of each of twelve persons that no network has seen."""
    pytest.importorskip("python_avatars", reason="the extra 'avatars' is not installed")
    pytest.importorskip("resvg_py", reason="the extra 'avatars' is not installed")
    return np.stack([render(portrait(3, i // EACH, i % EACH)) for i in range(UNSEEN * EACH)])


def pictures(portraits: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(portraits).permute(0, 3, 1, 2).float() / 255


@pytest.mark.parametrize("read", [lambda x: embedding()(x), who], ids=["guide", "judge"])
def test_unseen_persons_are_known_again(read, portraits) -> None:
    with torch.no_grad():
        unit = read(pictures(portraits))
    cosine, person = unit @ unit.T, torch.arange(len(unit)) // EACH
    same, pair = person[:, None] == person, torch.ones_like(cosine).triu(1) > 0
    assert area(cosine[same & pair], cosine[~same & pair]) > 0.99


def test_the_held_out_judge_is_not_fooled_by_strangers(portraits) -> None:
    unit = who(pictures(portraits[::EACH]))
    cosine = (unit @ unit.T)[~torch.eye(len(unit), dtype=torch.bool)]
    assert (cosine > strangers()).float().mean() < 0.1
    own = (who(pictures(portraits)).view(UNSEEN, EACH, -1) @ unit[:, :, None]).squeeze(2)
    assert (own > strangers()).float().mean() > 0.9


def test_the_energy_of_a_person_is_low_for_that_person(portraits, tmp_path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(2)]
    for path, pixels in zip(paths, portraits, strict=False):
        write(path, pixels)
    model = companion("avatar-turbo", "identity")
    energy = energies.load("identity", ",".join(map(str, paths)), model=model)
    with torch.no_grad():
        e = energy(pictures(portraits))
    assert e[:EACH].max() < e[EACH:].min()
    with pytest.raises(SpecError, match="at least one reference"):
        Identity(embedding(), [])
