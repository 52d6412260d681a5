"""Blocks that are held still have noise of their own."""

import torch

from latentzoo.generator import Restricted
from latentzoo.record import spec
from latentzoo.record.experiment import Experiment


def test_what_is_held_is_no_chains_start() -> None:
    run = spec.Run(
        generator="avatar-ldm", options={"eta": 1.0}, vary=["start"], chains=1, seed=0, rest_seed=0
    )
    experiment = Experiment(run)
    assert isinstance(experiment.generator, Restricted)
    held = experiment.generator.rest
    assert not torch.equal(held, experiment.rng.normal(len(held))[0])
