"""The core runs with what the core declares: no package that only an extra brings is asked for."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


def _name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def _closure(names: set[str]) -> set[str]:
    """Distributions and all that these need, extras left out."""
    known: set[str] = set()
    while names:
        known |= names
        new: set[str] = set()
        for name in names:
            try:
                needed = requires(name) or []
            except PackageNotFoundError:
                continue
            new |= {_name(one) for one in needed if "extra ==" not in one}
        names = new - known
    return known


def test_a_run_of_the_core_asks_for_no_package_of_an_extra() -> None:
    core = _closure({_name(one) for one in PROJECT["dependencies"]})
    foreign = [
        module
        for module, owners in packages_distributions().items()
        if not {_name(owner) for owner in owners} & (core | {"latentzoo", "pip", "setuptools"})
    ]
    assert "scipy" in foreign and "torch" not in foreign
    script = (
        f"import sys\nfor name in {foreign!r}: sys.modules[name] = None\n"
        "import latentzoo as lz\n"
        "from latentzoo.kernels.types import Function\n"
        "phi = Function(lambda z: z.square().sum(1))\n"
        "lz.sample(phi, dim=4, chains=16, steps=40, progress=False).diagnosis\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
