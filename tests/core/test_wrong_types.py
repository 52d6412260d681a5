"""What Python is given of a wrong type or size is refused in one line, before anything is drawn.

In a process of its own: in those of the tests, all annotations are checked before the library's own checks.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import latentzoo as lz
from latentzoo.errors import SpecError

WRONG = {
    **{"chains": "0 1.5 '2' True None", "steps": "-1 1.5 '8' None", "seed": "-1 1.5 'a'"},
    **{"stream": "-1 0.5", "tries": "0 1.5 100", "keep": "0 1.5", "best": "'b' 3"},
    **{"strength": "-1 float('nan') '12nats'", "kernel": "'nope' 3 torch.nn.Module"},
    **{"device": "'tpu' 7", "dtype": "torch.int32 'x' 3", "workers": "-1 'x'"},
    **{"dim": "3 0 'x'", "start": "'x' np.zeros((2,6)) torch.zeros(3) torch.zeros(2,5)"},
}
CALLS = [f"sample({name}={value})" for name, some in WRONG.items() for value in some.split()]
CALLS += [f"bare(lambda z: {value})" for value in ("1.0", "None", "np.zeros(2)", "z.sum()")]
CALLS += [f"lz.Space(z=(6,)).split({z})" for z in ("'x'", "np.zeros((2,6))", "torch.arange(6)")]
CALLS += ["lz.Posterior(Affine(), {'light': Bright()}, micro_batch=1.5)"]
CODE = """
import json, sys
import numpy as np, torch
import latentzoo as lz
from toys import Affine, Bright

some = {"chains": 2, "steps": 8, "kernel": "mala", "progress": False}
sample = lambda **given: lz.sample(lz.Posterior(Affine(), {"light": Bright()}), **{**some, **given})
bare = lambda phi: lz.sample(phi, dim=3, **some)
said = {}
for call in json.load(sys.stdin):
    try:
        said[call] = repr(eval(call))
    except lz.LatentzooError as error:
        said[call] = f"error: {error}"
    except Exception as error:
        said[call] = repr(error)
whole = sample(chains=np.int64(2), steps=np.int64(8), dtype="float64")
assert whole.z.dtype == torch.float64
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said() -> dict[str, str]:
    """What each call came to."""
    path = f"import sys; sys.path[:0] = {[*sys.path, str(Path(__file__).parents[1])]!r}"
    words = [sys.executable, "-c", path + CODE]
    done = subprocess.run(
        words, input=json.dumps(CALLS), capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("call", CALLS)
def test_it_is_refused_in_one_line_with_its_name(call: str, said: dict[str, str]) -> None:
    name = call.split("(")[1].split("=")[0]
    names = {"bare": "the potential returned", "lz.Space": "latent", "lz.Posterior": "micro_batch"}
    assert said[call].startswith("error: ") and "\n" not in said[call], said[call]
    assert names.get(call.split("(")[0].removesuffix(".split"), name) in said[call]


def test_a_family_that_is_not_the_cards_is_not_passed_over() -> None:
    with pytest.raises(SpecError, match="is of the family 'stylegan2' by its card; leave out"):
        lz.load("avatar-gan", family="dcgan")
    assert lz.load("avatar-gan", family="stylegan2").size == (64, 64)
