"""The recipes of the text-to-image pipeline: what they are told is true, and what they write becomes a pipeline."""

import pytest
import torch

import latentzoo as lz
from latentzoo.builtin.avatars import NAMES, VALUES, marginals
from latentzoo.builtin.train.command import prepare, read

pytest.importorskip("diffusers")
pytest.importorskip("transformers")
pytest.importorskip("python_avatars", reason="the extra 'avatars' is not installed")
pytest.importorskip("resvg_py", reason="the extra 'avatars' is not installed")


def trained(name, folder, **options):
    record = read(name)
    if "data" in record:
        record["data"] = {"seed": 9, "count": 16}
    record["plan"] |= {"iterations": 1, "warmup": 1, "save_every": 1}
    record["options"] = {**record["options"], "batch": 4, **options}
    trainer = prepare(record, folder / name, folder / "data")
    for _ in trainer.run():
        pass
    return trainer


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The four trainings, a step each, in their order, and their folder."""
    folder = tmp_path_factory.mktemp("train")
    path = lambda name: str(folder / name / "weights.safetensors")
    text, teacher = path("avatar-t2i-text"), path("avatar-t2i-teacher")
    return folder, {
        "text": trained("avatar-t2i-text", folder, counted=50),
        "autoencoder": trained("avatar-t2i-autoencoder", folder),
        "teacher": trained("avatar-t2i-teacher", folder, text=text),
        "student": trained("avatar-t2i", folder, text=text, teacher=teacher),
    }


@pytest.mark.slow
def test_their_weights_become_a_pipeline(made, tmp_path):
    from latentzoo.builtin.train.assembly import assemble

    folder, _ = made
    parts = ("avatar-t2i-text", "avatar-t2i-autoencoder", "avatar-t2i")
    assemble(*(folder / part / "weights.safetensors" for part in parts), tmp_path / "pipe")
    call = {"prompt": "a person with a hat", "num_inference_steps": 2, "guidance_scale": 1.0}
    G = lz.load(tmp_path / "pipe", **call)
    assert str(G.space) == "start 4x16x16" and G.size == (64, 64)


@pytest.mark.slow
def test_a_step_of_the_student_ends_where_two_of_the_teacher_do(made):
    recipe = made[1]["student"].recipe
    z, t = torch.randn(3, 4, 16, 16), torch.tensor([999, 499, 249])
    states = recipe.texts(["a person with a hat"] * 3)
    with torch.no_grad():
        v = recipe.asked(z, t, states, 250)
        (alpha, sigma), (alpha_s, sigma_s) = recipe.levels.at(t), recipe.levels.at(t - 250)
        ends = alpha_s * (alpha * z - sigma * v) + sigma_s * (sigma * z + alpha * v)
        half = recipe.stepped(z, t, t - 125, states)
        twice = recipe.stepped(half, t - 125, t - 250, states)
    torch.testing.assert_close(ends, twice, atol=1e-5, rtol=1e-5)


def test_what_a_text_allows_is_a_distribution_of_its_values():
    from latentzoo.builtin.train.grammar import allowed

    shares = allowed("a person with a yellow hat and without glasses")
    at, usual = 0, marginals()
    for name in NAMES:
        mine = dict(zip(VALUES[name], shares[at : at + len(VALUES[name])], strict=True))
        assert sum(mine.values()) == pytest.approx(1)
        at += len(mine)
        if name == "hat_color":
            assert mine["yellow"] == 1
        if name == "glasses":
            assert mine["none"] == 1
        if name == "skin":
            assert mine == pytest.approx(usual["skin"])


def test_the_first_layer_looks_back():
    from latentzoo.builtin.networks import text_to_image as parts
    from latentzoo.builtin.train.grammar import Reader

    reader = Reader(counted=50)
    reader.encoder.set_attn_implementation("eager")
    ids = parts.tokens(reader.tokenizer, ["a person with a yellow hat"])
    seen = reader.encoder(ids, output_attentions=True).attentions[0][0]
    assert seen[0].argmax(-1)[1:7].tolist() == [0, 1, 2, 3, 4, 5]
    assert seen[1].argmax(-1)[2:7].tolist() == [0, 1, 2, 3, 4]


def test_the_autoencoder_begins_as_the_existing_one():
    from latentzoo.builtin.networks import text_to_image as parts
    from latentzoo.builtin.train.kl import begin
    from latentzoo.builtin.train.trained import autoencoder

    network, decoder = parts.autoencoder(), autoencoder().decoder
    begin(network, decoder)
    z = torch.randn(2, 4, 16, 16)
    first = network.decoder.mid_block(network.decoder.conv_in(network.post_quant_conv(z)))
    torch.testing.assert_close(first, decoder.layers[:3](z), atol=1e-3, rtol=1e-3)
