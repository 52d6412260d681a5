"""Another package adds generators, energies, kernels and guides by entry points, or is named as `module:Class`."""

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

PACKAGE = '''
    """Stripes of one colour, and what goes with them."""

    from dataclasses import dataclass

    import torch

    import latentzoo as lz
    from latentzoo.guides.text_image import TextImage
    from latentzoo.guides.preprocess import Preprocess
    from latentzoo.kernels.types import Info, Kernel


    class Stripes(lz.Generator):
        def __init__(self, side: int = 8) -> None:
            super().__init__()
            self.space, self.size = lz.Space(style=(3,)), (side, side)

        def forward(self, z):
            return z.sigmoid()[:, :, None, None].expand(-1, -1, *self.size)


    class Bright(lz.Energy):
        def __init__(self, target: str, level: float = 1.0) -> None:
            super().__init__()
            self.target = float(target) * level

        def forward(self, image):
            return (image.mean((1, 2, 3)) - self.target).square()


    @dataclass(frozen=True)
    class Drift(Kernel):
        step_size: float = 0.1

        def init(self, phi, z, rng):
            return phi.evaluate(z)

        def step(self, phi, state, rng):
            z = state.z - self.step_size * (state.z + state.grad)
            return phi.evaluate(z), Info.unadjusted(state.phi, step_size=self.step_size)


    class Means(TextImage):
        """Words are their length; pictures their colour."""

        usual = 3.0

        def __init__(self) -> None:
            super().__init__(Preprocess())

        def encode_text(self, texts):
            return torch.tensor([[len(t), 1.0, 2.0] for t in texts])

        def encode_image(self, pixels):
            return pixels.mean((2, 3))


    def loud(*, command: str = "") -> None:
        raise AssertionError("nothing that is only named may run")
'''
POINTS = """
    [latentzoo.generators]
    stripes = other_zoo:Stripes
    [latentzoo.energies]
    bright = other_zoo:Bright
    [latentzoo.kernels]
    drift = other_zoo:Drift
    [latentzoo.guides]
    means = other_zoo:Means
"""
USE = """
    import warnings; warnings.simplefilter("error")
    import latentzoo as lz
    from latentzoo import energies, kernels, zoo
    from latentzoo.errors import LatentzooError
    G = lz.load({generator!r}, side=4)
    bright = energies.load({energy!r}, "0.5", level=0.9)
    clip = energies.load("clip", "a hat", model={guide!r})
    assert clip.usual == 3.0
    target = lz.Posterior(G, {{"bright": 40 * bright, "clip": 2 * clip}})
    result = lz.sample(target, chains=2, steps=20, kernel=kernels.load({kernel!r}, step_size=0.2))
    assert abs(result.images.mean() - 0.45) < 0.2 and result.images.shape == (2, 3, 4, 4)
    for wrong in (
        lambda: lz.load({generator!r}, sides=4),
        lambda: lz.load({energy!r} if ":" in {energy!r} else "other_zoo:loud"),
        lambda: lz.load("other_zoo:loud"),
        lambda: energies.load("other_zoo:loud", "x"),
        lambda: energies.load("clip", "x", model="other_zoo:loud"),
        lambda: kernels.load("other_zoo:Stripes"),
        lambda: energies.load("clip", "x", model="other_zoo:Nothing"),
    ):
        try:
            wrong()
        except LatentzooError as error:
            assert "\\n" not in str(error)
        else:
            raise SystemExit("not refused")
    print("stripes" in zoo.added(), "bright" in energies.known(), "drift" in kernels.known())
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an installed package, as an installer leaves it."""
    site = tmp_path_factory.mktemp("site")
    (site / "other_zoo.py").write_text(dedent(PACKAGE).lstrip())
    told = site / "other_zoo-1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: other-zoo\nVersion: 1.0\n")
    (told / "entry_points.txt").write_text(dedent(POINTS))
    return site


def run(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    begin = f"import sys; sys.path.append({str(site)!r}); "
    code = (
        [begin + words[0]]
        if len(words) == 1
        else [f"{begin}from latentzoo.cli import main; main()"]
    )
    return subprocess.run(
        [sys.executable, "-c", *code, *words[1:]], capture_output=True, text=True, check=False
    )


BY_NAME = {"generator": "stripes", "energy": "bright", "guide": "means", "kernel": "drift"}
WRITTEN = {
    "generator": "other_zoo:Stripes",
    "energy": "other_zoo:Bright",
    "guide": "other_zoo:Means",
    "kernel": "other_zoo:Drift",
}


@pytest.mark.parametrize("names", [BY_NAME, WRITTEN], ids=["entry points", "module:Class"])
def test_all_four_roles_from_python(site: Path, names: dict[str, str]) -> None:
    done = run(site, dedent(USE.format(**names)))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True"] * 3


@pytest.mark.parametrize("names", [BY_NAME, WRITTEN], ids=["entry points", "module:Class"])
def test_all_four_roles_from_the_command_line(
    site: Path, tmp_path: Path, names: dict[str, str]
) -> None:
    out = str(tmp_path / "run")
    words = ["sample", names["generator"], "--chains", "2", "--steps", "3", "--out", out]
    words += ["--energy", f"clip(model={names['guide']})=a hat", "--kernel", names["kernel"]]
    if ":" not in names["energy"]:
        words += ["--energy", f"{names['energy']}=0.5:40"]
    done = run(site, "", *words)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "grid.png").exists()


def test_two_packages_with_one_name_are_told(site: Path, tmp_path: Path) -> None:
    twin = tmp_path / "twin-1.0.dist-info"
    twin.mkdir()
    (twin / "METADATA").write_text("Metadata-Version: 2.1\nName: twin\nVersion: 1.0\n")
    (twin / "entry_points.txt").write_text("[latentzoo.energies]\nbright = twin:Bright\n")
    code = f"sys.path.append({str(tmp_path)!r}); from latentzoo import energies; energies.known()"
    done = run(site, code)
    assert "SpecError" in done.stderr and "'bright'" in done.stderr
