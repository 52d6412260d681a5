"""The probe: every fault is found before the first step, by name, and nobody sound is accused."""

import re
import warnings

import pytest
import torch

import latentzoo as lz
from broken import BAD, BAD_ENERGIES, FLAT, GOOD, GOOD_ENERGIES, Map, dark
from latentzoo.errors import LatentzooError
from latentzoo.kernels.types import Function, Potential
from latentzoo.run.probe import probe


def said(phi: Potential, chains: int = 4, dim: int = 16) -> str:
    """All that the probe raises, or warns about and returns, in one line."""
    z = lz.Rng(*range(chains)).normal(dim)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            notes = probe(phi, z)
        except LatentzooError as error:
            return str(error)
    assert tuple(str(w.message) for w in caught) == notes
    assert all("\n" not in note for note in notes)
    return " | ".join(notes)


def posterior(generator: lz.Generator, energy: lz.Energy | None = None, **more) -> lz.Posterior:
    return lz.Posterior(generator, {"odd": 2 * (energy or lz.Function(dark))}, **more)


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("chains", [1, 2, 4])
def test_no_sound_generator_is_accused(name: str, chains: int) -> None:
    assert said(posterior(GOOD[name]()), chains) == ""


@pytest.mark.parametrize("name", GOOD_ENERGIES)
@pytest.mark.parametrize("chains", [1, 2, 4])
def test_no_sound_energy_is_accused(name: str, chains: int) -> None:
    assert said(posterior(Map(), GOOD_ENERGIES[name]()), chains) == ""


@pytest.mark.parametrize("name", BAD)
def test_every_fault_of_a_generator_is_named(name: str) -> None:
    make, words, _ = BAD[name]
    assert re.search(words, said(posterior(make())))


@pytest.mark.parametrize("name", BAD_ENERGIES)
def test_every_fault_of_an_energy_is_named(name: str) -> None:
    make, words = BAD_ENERGIES[name]
    assert re.search(words, said(posterior(Map(), make())))


def test_a_gradient_that_is_zero_is_named_and_a_missing_one_is_left_to_the_kernel() -> None:
    assert "the gradient of phi is zero although phi differs" in said(
        posterior(FLAT["rounded"][0]())
    )
    assert said(posterior(FLAT["no gradient"][0]())) == ""
    with pytest.raises(LatentzooError, match="the generator's images do not depend on z"):
        lz.sample(posterior(FLAT["no gradient"][0]()), chains=2, steps=3, kernel="mala")


@pytest.mark.parametrize("name", ["random", "another at every call", "in [-1, 1]"])
def test_a_single_chain_is_enough_for_what_has_nothing_to_do_with_batches(name: str) -> None:
    make, words, _ = BAD[name]
    assert re.search(words, said(posterior(make()), chains=1))


def test_a_single_chain_is_enough_for_a_random_energy_and_for_a_flat_one() -> None:
    for name in ("random", "rounded"):
        make, words = BAD_ENERGIES[name]
        assert re.search(words, said(posterior(Map(), make()), chains=1))


def test_the_last_row_is_looked_at() -> None:
    late = lz.Function(lambda x: dark(x) + (torch.arange(len(x)) == len(x) - 1) * (len(x) > 1))
    assert "'odd' gives a row alone another value" in said(posterior(Map(), late))


def test_chains_that_all_start_at_one_latent_still_differ_in_the_probe() -> None:
    make, words, _ = BAD["mixed by the batch"]
    phi, z = posterior(make()), lz.Rng(0).normal(16).expand(5, -1)
    with pytest.warns(UserWarning, match=words):
        probe(phi, z)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda z: z.square().sum(), r"potential returned shape \(\) for"),
        (lambda z: z.square().sum(1) + torch.rand(len(z)), "potential is random"),
        (lambda z: (z - z.mean(0)).square().sum(1), "potential gives a row alone another"),
        (lambda z: z.round().sum(1) + 0 * z.sum(1), "gradient of phi is zero"),
        (lambda z: z.square().sum(1), "^$"),
    ],
)
def test_a_bare_potential_is_held_to_the_same_laws(function, words: str) -> None:
    assert re.search(words, said(Function(function)))


@pytest.mark.parametrize("micro_batch", [1, 2, None])
def test_no_more_images_at_once_than_the_run_makes(micro_batch: int | None) -> None:
    generator, seen = Map(), []
    generator.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    assert said(posterior(generator, micro_batch=micro_batch), chains=6) == ""
    assert max(seen) == min(micro_batch or 3, 3)
    assert sum(seen) <= 6, "the probe is cheap"


def test_targets_of_their_own_are_probed_with_their_chains() -> None:
    each = [lz.Function(lambda x, k=k: (x - k / 4).square().mean((1, 2, 3))) for k in range(4)]
    assert said(posterior(Map(), lz.PerChain(each))) == ""


def test_nothing_is_changed() -> None:
    for make in (GOOD["batch norm in eval mode"], GOOD["dropout in eval mode"]):
        generator = make()
        before = {k: v.clone() for k, v in generator.state_dict().items()}
        said(posterior(generator))
        assert not generator.training
        assert all(torch.equal(before[k], v) for k, v in generator.state_dict().items())


def test_sampling_ends_before_the_first_step() -> None:
    seen = []
    with pytest.raises(LatentzooError, match=r"returned shape .*expand\(-1, 3"):
        lz.sample(posterior(BAD["one channel"][0]()), chains=4, steps=60, watch=seen.append)
    assert not seen


@pytest.mark.parametrize("wrong", ["size", "space", "sides", "init"])
def test_a_map_that_does_not_say_what_it_is(wrong: str) -> None:
    class Own(Map):
        def __init__(self) -> None:
            if wrong == "init":
                return
            super().__init__()
            if wrong == "sides":
                self.size = 16
            else:
                delattr(self, wrong)

    for use in (lz.sample, posterior):
        with pytest.raises(
            LatentzooError, match=r"Own does not say its latent and its size; set "
        ):
            use(Own())
