"""A training that was killed and resumed goes the way it would have gone; a recipe is a file that is checked."""

import json

import pytest
import torch
from safetensors.torch import load_file

from latentzoo.builtin.avatars import NAMES, VALUES, draw
from latentzoo.builtin.train.augment import blur, disturb, shift
from latentzoo.builtin.train.code import Code, visible
from latentzoo.builtin.train.command import SHELF, names, prepare, read
from latentzoo.builtin.weights import tensors
from latentzoo.errors import SpecError, UnknownName
from latentzoo.zoo import load


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    pytest.importorskip("python_avatars", reason="the extra 'avatars' is not installed")
    pytest.importorskip("resvg_py", reason="the extra 'avatars' is not installed")
    return tmp_path_factory.mktemp("data")


def toy(name, iterations=3):
    record = read(name)
    record["data"] = {"seed": 9, "count": 32}
    record["plan"] |= {"iterations": iterations, "warmup": 2, "save_every": 1}
    record["options"] = {**record["options"], "batch": 4}
    return record


def test_a_killed_training_resumes_where_it_was(data, tmp_path):
    record = toy("avatar-ldm")
    record["options"]["widths"] = [8, 8, 16]
    whole = prepare(record, tmp_path / "whole", data)
    for _ in whole.run():
        pass
    first = prepare(record, tmp_path / "parts", data)
    for _ in first.run(steps=1):
        pass
    second = prepare(record, tmp_path / "parts", data)
    assert second.step == 1
    for _ in second.run():
        pass
    a, b = (load_file(tmp_path / kind / "checkpoint.safetensors") for kind in ("whole", "parts"))
    assert set(a) == set(b)
    assert all(torch.equal(a[key], b[key]) for key in a)
    log = [
        json.loads(line) for line in (tmp_path / "parts" / "log.jsonl").read_text().splitlines()
    ]
    assert [record["step"] for record in log] == [1, 2, 3]
    assert (tmp_path / "parts" / "preview.png").exists()
    assert all(
        x.dtype == torch.float16
        for x in load_file(tmp_path / "parts" / "weights.safetensors").values()
        if x.is_floating_point()
    )


@pytest.mark.parametrize(
    ("name", "options"),
    [("avatar-ddpm", {"widths": [8, 8, 16]}), ("avatar-vae", {}), ("avatar-gan", {})],
)
def test_what_a_recipe_writes_is_read_by_its_family(name, options, data, tmp_path):
    record = toy(name, iterations=1)
    record["options"] |= options
    for _ in prepare(record, tmp_path, data).run():
        pass
    generator = load(tmp_path / "weights.safetensors")
    assert generator(torch.zeros(1, generator.space.dim)).shape == (1, 3, 64, 64)


def test_a_gan_is_written_as_it_was_trained(data, tmp_path):
    """The file is in NVIDIA's scale, so it reads like one of theirs; half precision is all that is lost."""
    training = prepare(toy("avatar-gan", iterations=1), tmp_path, data)
    for _ in training.run():
        pass
    z = torch.randn(2, 128, generator=torch.Generator().manual_seed(0))
    made, read_back = training.averaged["generator"](z), load(tmp_path / "weights.safetensors")(z)
    assert (made - read_back).abs().max() < 0.02 * made.std()


def test_what_a_latent_of_the_gan_means_has_the_frequencies_of_the_renderer():
    code = Code(128)
    stream = torch.Generator().manual_seed(0)
    drawn = torch.tensor([code.drawn(5, index) for index in range(500)])
    seen = torch.tensor([draw(5, index).indices() for index in range(500)])
    assert torch.equal(visible(drawn), seen)
    z = code.latents(drawn, stream)
    assert torch.equal(code.styles(z), code.style(seen))
    assert abs(float(z.mean())) < 4 / z.numel() ** 0.5
    assert abs(float(z.var()) - 1) < 4 * (2 / z.numel()) ** 0.5


def test_training_lowers_the_loss(data, tmp_path):
    record = toy("avatar-autoencoder", iterations=12)
    record["plan"]["save_every"] = 12
    records = list(prepare(record, tmp_path, data).run())
    pixels = [r["autoencoder.pixels"] for r in records]
    assert sum(pixels[-4:]) < 0.8 * sum(pixels[:4])


def test_an_adaptation_moves_few_tensors_towards_its_world(data, tmp_path):
    record = toy("avatar-ldm-hats", iterations=2)
    record["plan"]["save_every"] = 2
    trainer = prepare(record, tmp_path, data)
    labels = trainer.recipe.labels[:, NAMES.index("hat")]
    assert len(labels) > 3 and {VALUES["hat"][i] for i in labels} <= set(
        record["options"]["world"]["hat"]
    )
    for _ in trainer.run():
        pass
    moved, base = load_file(tmp_path / "weights.safetensors"), tensors("avatar-ldm")
    assert set(moved) < set(base) and sum(x.numel() for x in moved.values()) < 500_000
    assert all(not torch.equal(x.float(), base[name]) for name, x in moved.items() if x.ndim > 1)
    frozen = dict(trainer.recipe.denoiser.named_parameters())
    for name, x in frozen.items():
        assert f"denoiser.{name}" in moved or torch.equal(x, base[f"denoiser.{name}"])


@pytest.mark.parametrize("world", [{"hut": ["none"]}, {"hat": ["nun"]}])
def test_a_world_of_unknown_words_is_named(data, tmp_path, world):
    record = toy("avatar-ldm-hats")
    record["options"]["world"] = world
    with pytest.raises(UnknownName, match="did you mean"):
        prepare(record, tmp_path, data)


def test_the_drawn_pictures_are_kept_and_the_same(data, tmp_path):
    from latentzoo.builtin.train.data import pictures

    one, two = pictures(tmp_path, 9, 6, workers=1), pictures(data, 9, 32, workers=1)
    assert (one == two[:6]).all()


@pytest.mark.parametrize("name", names())
def test_every_recipe_can_be_read(name):
    record = read(name)
    assert record["plan"]["iterations"] > 100
    assert (SHELF / f"{name}.yaml").is_file()


def test_a_wrong_recipe_is_named(tmp_path):
    with pytest.raises(UnknownName, match="did you mean 'avatar-ldm'"):
        read("avatar-lmd")
    path = tmp_path / "own.yaml"
    path.write_text("recipe: autoencoder\nsteps: 3\n")
    with pytest.raises(SpecError, match="recipe, data, plan and options"):
        read("own", path)
    path.write_text("recipe: autoencodr\n")
    with pytest.raises(UnknownName, match="autoencoder"):
        read("own", path)


def test_disturbances_keep_a_flat_picture_flat_and_depend_on_the_stream_alone():
    flat = torch.full((3, 3, 16, 16), 0.25)
    stream = torch.Generator().manual_seed(0)
    torch.testing.assert_close(shift(flat, 2, stream), flat)
    torch.testing.assert_close(blur(flat, 1.0, stream), flat)
    x = torch.rand(3, 3, 16, 16)
    again = [disturb(x, torch.Generator().manual_seed(4)) for _ in range(2)]
    assert torch.equal(*again)
    moved = shift(x, 2, torch.Generator().manual_seed(1))
    assert not torch.equal(moved, x)
    assert set(moved[0, 0].flatten().tolist()) <= set(x[0, 0].flatten().tolist())
