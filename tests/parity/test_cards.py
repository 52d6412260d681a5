"""Every card and every manifest here, through the driver of its architecture."""

import check
import manifest
import pytest

CARDS = sorted((check.HERE / "cards").glob("*/*.json"))
name = lambda path: path.name.split(".json")[0]
ARCHS = {p.stem for p in (check.HERE / "drivers").glob("*.py")}
MANIFESTS = sorted((check.HERE / "manifest").glob("*.json.gz"))
MANIFESTS = [p for p in MANIFESTS if name(p).split("-")[0] in ARCHS]


@pytest.mark.filterwarnings("ignore:.*squeezed to a square")  # as the official code does
@pytest.mark.parametrize("path", CARDS, ids=lambda p: f"{p.parent.name}-{name(p)}")
def test_card(path):
    verdicts = list(check.check(path))
    assert len(verdicts) == len(check.read_json(path)["calls"])
    assert all(v.ok for v in verdicts), "\n".join(map(str, verdicts))


@pytest.mark.parametrize("path", MANIFESTS, ids=name)
def test_manifest(path):
    verdict = manifest.check(path)
    assert not verdict.reason, str(verdict)
    assert verdict.loaded > 0


def test_every_architecture_has_cards_and_a_driver():
    cards = {p.parent.name for p in CARDS}
    assert cards == ARCHS


TWINS = [
    p for p in CARDS if p.parent.name in ("celeba_classifier", "clip_hf", "clip_openai", "ir_se50")
]


@pytest.mark.parametrize("path", TWINS, ids=lambda p: f"{p.parent.name}-{name(p)}")
def test_an_energy_in_double_precision_is_the_official_one_to_rounding(path):
    doubles = [v for v in check.check(path) if v.call.endswith("_f64")]
    assert doubles
    for verdict in doubles:  # nothing on the way is in single precision
        assert verdict.ok and verdict.error < 1e-13, str(verdict)
