"""What a file does not say is said: by load, check, show, convert and run.yaml; options, settings beside it and cards
answer it."""

import copy
import json
import shutil
import warnings
from pathlib import Path

import official
import pytest
import torch
import yaml
from typer.testing import CliRunner

from latentzoo import errors, options, zoo
from latentzoo.cli import app
from latentzoo.diffusion.schedule import cosine_betas, linear_betas, scaled_linear_betas
from latentzoo.hub import compvis
from latentzoo.nn.adm import AttentionBlock
from latentzoo.zoo import _plan

FILES = official.FILES
SILENT = {"nvae", "biggan_deep", "stylegan2-ada", "stylegan2-human", "stylegan_xl"}
SILENT |= {"stylegan3", "stylenerf", "dcgan"}
"""Families whose files say all."""


def run(*words):
    return CliRunner().invoke(app, list(map(str, words)))


QUICK = (
    "ldm",
    "sn_dpm",
    "ddgan",
    "diffae",
    "nvae",
    "stylegan2-ada",
    "stylegan_xl",
    "stylesdf",
    "dcgan",
)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in FILES]
)
def test_what_is_assumed_is_warned_of_and_answered_by_options(name, tmp_path):
    """With the values that were assumed, the map is the same and nothing is said."""
    family, write, given = FILES[name]
    path = write(tmp_path)
    plan = _plan.Plan.of(str(path))
    assert bool(plan.assumed) == (name not in SILENT)
    known = options.parameters(zoo.family(family).build)
    answers = {names: names.split(" or ") for names in plan.assumed}
    assert all(name in known for names in answers.values() for name in names)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert zoo.load(path, **given).assumed.keys() <= plan.assumed.keys()
    said = [str(w.message) for w in told if w.category is errors.Assumption]
    assert len(said) == bool(plan.assumed)
    assert all(names in line and "\n" not in line for line in said for names in plan.assumed)
    value = lambda n: plan.config.get(n, known[n].default)
    chosen = {next((n for n in each if value(n) is not None), "") for each in answers.values()}
    answered = {n: value(n) for n in chosen if n}
    left = [names for names, each in answers.items() if not chosen & set(each)]
    assert list(plan.build(**(answered | given)).assumed) == left


def test_the_command_line_and_the_record_say_it(tmp_path):
    path = FILES["ldm"][1](tmp_path)
    shown = run("show", path)
    assert shown.exit_code == 0, shown.output
    assert "heads or head_width" in shown.output and "published" in shown.output
    checked = run("check", path, "--option", "steps=2", "--option", "resolution=32", "--json")
    told = [json.loads(line) for line in checked.stdout.splitlines() if line.startswith("{")]
    assumed = {row["name"] for row in told if row["name"].startswith("assumed")}
    assert assumed == {"assumed: heads or head_width", "assumed: scale"}
    words = ["sample", path, "--steps", 0, "--chains", 1, "--out", tmp_path / "run"]
    words += ["--option", "steps=2", "--option", "resolution=32", "--quiet"]
    assert run(*words).exit_code == 0
    record = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())["record"]
    assert record["assumed"].keys() == {"heads or head_width", "scale"}
    made = run("convert", path, tmp_path / "safe.safetensors")
    assert "heads or head_width" in made.output
    assert (
        zoo.described(tmp_path / "safe.safetensors")["assumed"].keys() >= record["assumed"].keys()
    )


SETTINGS = {
    "model": {
        "params": {
            "linear_start": 0.0015,
            "linear_end": 0.0195,
            "timesteps": 1000,
            "image_size": 8,
            "unet_config": {"params": {"num_head_channels": 16}},
        }
    }
}


@pytest.mark.parametrize("place", ["config.yaml", "trained.yaml", "configs/2026-project.yaml"])
def test_settings_beside_the_file_are_read(place, tmp_path):
    """Those of CompVis, the logs of Lightning among them."""
    path = FILES["ldm"][1](tmp_path)
    if "configs" in place:
        (tmp_path / "configs").mkdir()
        (tmp_path / "checkpoints").mkdir()
        path = Path(shutil.move(path, tmp_path / "checkpoints"))
    (tmp_path / place).write_text(yaml.safe_dump(SETTINGS))
    G = zoo.load(path, steps=2)
    heads = lambda G: {m.heads for m in G.modules() if isinstance(m, AttentionBlock)}
    assert G.size == (32, 32) and heads(G) == {4} and not G.assumed
    by_hand = copy.deepcopy(SETTINGS)
    by_hand["model"]["params"]["unet_config"]["params"] = {"num_heads": 2, "num_head_channels": -1}
    (tmp_path / place).write_text(yaml.safe_dump(by_hand))
    assert heads(zoo.load(path)) == {2}
    assert heads(zoo.load(path, heads=1)) == {1}


def test_settings_that_cannot_be_meant_are_one_line(tmp_path):
    path = FILES["ldm"][1](tmp_path)
    (tmp_path / "config.yaml").write_text("model: [")
    with pytest.raises(errors.CheckpointError, match=r"config\.yaml: not readable"):
        zoo.load(path)
    for name, value in (("parameterization", "x0"), ("beta_schedule", "cosine")):
        told = copy.deepcopy(SETTINGS)
        told["model"]["params"][name] = value
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(told))
        with pytest.raises(errors.CheckpointError, match=f"{name}: {value}"):
            zoo.load(path)
    for name, value in {
        "use_new_attention_order": True,
        "num_heads_upsample": 2,
        "news": 1,
    }.items():
        told = copy.deepcopy(SETTINGS)
        told["model"]["params"]["unet_config"]["params"][name] = value
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(told))
        with pytest.raises(errors.CheckpointError, match=f"{name}: {value} of the U-Net"):
            zoo.load(path)


TRUE = {
    "model_channels": 32,
    "num_res_blocks": 1,
    "channel_mult": [1, 2],
    "attention_resolutions": [2],
    "in_channels": 3,
    "out_channels": 3,
    "use_spatial_transformer": False,
    "use_scale_shift_norm": False,
    "resblock_updown": False,
}


STAGE = {"z_channels": 3, "ch": 32, "ch_mult": [1, 1, 2], "num_res_blocks": 1}


def beside_ldm(path, stage=None, **values):
    told = copy.deepcopy(SETTINGS)
    told["model"]["params"]["unet_config"]["params"] |= TRUE | values
    first = {"embed_dim": 3, "n_embed": 64, "ddconfig": STAGE} | (stage or {})
    told["model"]["params"]["first_stage_config"] = {"params": first}
    path.with_name("config.yaml").write_text(yaml.safe_dump(told))
    return path


@pytest.mark.parametrize(
    "other",
    [
        *({"model_channels": 96}, {"num_res_blocks": 2}, {"channel_mult": [1, 2, 4]}),
        *({"attention_resolutions": [1]}, {"in_channels": 4}, {"out_channels": 4}),
        *({"use_scale_shift_norm": True}, {"resblock_updown": True}),
        {"use_spatial_transformer": True, "context_dim": 512},
        *({"stage": {"n_embed": 128}}, {"stage": {"embed_dim": 4}}),
        *(
            {"stage": {"ddconfig": STAGE | other}}
            for other in ({"ch": 64}, {"ch_mult": [1, 2, 4]})
        ),
    ],
    ids=str,
)
def test_settings_of_another_network_are_not_passed_over(other, tmp_path):
    path = beside_ldm(FILES["ldm"][1](tmp_path), attention_resolutions=[8, 4, 2])
    zoo.load(path)
    beside_ldm(path, **other)
    with pytest.raises(errors.CheckpointError, match="the settings of another network") as error:
        zoo.load(path)
    assert "\n" not in str(error.value)


def test_a_list_of_equal_values_is_that_value(tmp_path):
    """As CompVis reads both: a number of blocks for each level, a size of the context for each block."""
    zoo.load(beside_ldm(FILES["ldm"][1](tmp_path), num_res_blocks=[1, 1]))
    params = {"use_spatial_transformer": True, "context_dim": [8, 8], "channel_mult": [2, 2]}
    told = {"model": {"params": {"unet_config": {"params": params}}}}
    seen = {"mult": [2, 2], "transformer": 1, "context": 8, "attention": []}
    compvis.compare(told, seen, {}, source="a.yaml")
    for other in ({"context": 4}, {"mult": [4]}):
        with pytest.raises(errors.CheckpointError, match=r"^a\.yaml says .* another network"):
            compvis.compare(told, {**seen, **other}, {}, source="a.yaml")


@pytest.mark.parametrize("place", ["config.yaml", "trained.yaml"])
@pytest.mark.parametrize(
    ("name", "value"), [("timesteps", 500), ("beta_schedule", "cosine"), ("unet_config", None)]
)
def test_an_error_names_the_settings_that_were_read(place, name, value, tmp_path):
    tensors, _ = official.state("ldm", "v1")
    tensors["betas"] = torch.tensor(scaled_linear_betas(0.0015, 0.0195, n=1000))
    torch.save({"state_dict": tensors}, tmp_path / "trained.ckpt")
    told = copy.deepcopy(SETTINGS)
    told["model"]["params"] |= {name: value or {"params": {"model_channels": 7}}}
    (tmp_path / place).write_text(yaml.safe_dump(told))
    with pytest.raises(errors.CheckpointError) as error:
        zoo.load(tmp_path / "trained.ckpt")
    assert f"{tmp_path / place} says" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "other", [{"linear_start": 0.001}, {"linear_end": 0.012}, {"timesteps": 500}]
)
def test_settings_that_the_table_of_betas_contradicts(other, tmp_path):
    tensors, _ = official.state("ldm", "v1")
    tensors["betas"] = torch.tensor(scaled_linear_betas(0.0015, 0.0195, n=1000))
    torch.save({"state_dict": tensors}, tmp_path / "a.ckpt")
    true = {"linear_start": 0.0015, "linear_end": 0.0195, "timesteps": 1000}
    for told, fits in ((true, True), (true | other, False)):
        params = SETTINGS["model"]["params"] | told
        (tmp_path / "config.yaml").write_text(yaml.safe_dump({"model": {"params": params}}))
        if fits:
            zoo.load(tmp_path / "a.ckpt")
            continue
        with pytest.raises(errors.CheckpointError, match="table of betas has"):
            zoo.load(tmp_path / "a.ckpt")


@pytest.mark.parametrize("curve", ["linear", "cosine"])
def test_a_table_of_betas_of_another_curve_is_not_passed_over(curve, tmp_path):
    tensors, _ = official.state("ldm", "v1")
    tables = {"linear": linear_betas(0.0015, 0.0195, n=1000), "cosine": cosine_betas(n=1000)}
    tensors["betas"] = torch.tensor(tables[curve])
    torch.save({"state_dict": tensors}, tmp_path / "a.ckpt")
    with pytest.raises(
        errors.CheckpointError, match=r"table of 1000 betas, .* not linear in their"
    ):
        zoo.load(tmp_path / "a.ckpt")


def test_a_run_is_not_resumed_with_other_settings(tmp_path):
    """The weights are the same, and the pictures would be others."""
    path = FILES["ldm"][1](tmp_path)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(SETTINGS))
    words = ["sample", path, "--steps", 0, "--chains", 1, "--option", "steps=2", "--quiet"]
    assert run(*words, "--out", tmp_path / "run").exit_code == 0
    again = ["run", tmp_path / "run" / "run.yaml", "--quiet", "--out"]
    assert run(*again, tmp_path / "same").exit_code == 0
    SETTINGS_1 = copy.deepcopy(SETTINGS)
    SETTINGS_1["model"]["params"]["unet_config"]["params"] = {"num_heads": 1}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(SETTINGS_1))
    other = run(*again, tmp_path / "other")
    assert other.exit_code == 2 and "settings of the generator is another" in other.output


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"heads": 5}, "64 channels do not divide into 5 heads"),
        ({"resolution": 30}, "no multiple of 4"),
        ({"resolution": 64, "size": 8}, "give one of them"),
        ({"unet": {"headz": 1}}, "'headz'"),
        ({"unet": {"width": "wide"}}, "width=wide"),
    ],
    ids=str,
)
def test_answers_that_cannot_be_meant_are_one_line(options, match, tmp_path):
    with pytest.raises(errors.LatentzooError, match=match) as error:
        zoo.load(FILES["ldm"][1](tmp_path), **options)
    assert "\n" not in str(error.value)


def eg3d(folder):
    return FILES["eg3d"][1](folder)


def test_a_card_joins_its_settings_with_a_file(tmp_path, monkeypatch):
    from latentzoo.zoo import shelf

    card = copy.copy(zoo.card("eg3d-shapenet-cars-128"))
    monkeypatch.setitem(card.config, "enlarger", "8XDC")  # the network of this small file
    for name in ("enlarger_widths", "enlarger_start"):
        monkeypatch.delitem(card.config, name)
    path = eg3d(tmp_path)
    alone, joined = zoo.load(path), zoo.load(path, card=card.name)
    assert "fov" in alone.assumed and not joined.assumed
    assert joined.camera.fov == 51.982 and alone.camera.fov == 13.378
    assert shelf.card(card.name).config["fov"] == 51.982
    words = ["sample", path, "--card", card.name, "--option", "resolution=8", "--steps", 0]
    made = run(*words, "--chains", 1, "--out", tmp_path / "run")
    assert made.exit_code == 0 and "taken for granted" not in made.output, made.output
    record = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())
    assert record["card"] == card.name and "assumed" not in record["record"]


def test_cards_and_files_that_do_not_fit_are_one_line(tmp_path):
    path = FILES["ldm"][1](tmp_path)
    with pytest.raises(errors.CheckpointError, match="not of the family 'eg3d'"):
        zoo.load(path, card="eg3d-ffhq-512")
    with pytest.raises(errors.UnknownName, match="eg3d-ffhq-512"):
        zoo.load(path, card="eg3d-ffhq")
    with pytest.raises(errors.SpecError, match="with a file of your own"):
        zoo.load("avatar-vae", card="eg3d-ffhq-512")


@pytest.mark.parametrize(
    "name", [n for n in zoo.names() if zoo.card(n).url is None and zoo.card(n).source is None]
)
def test_a_card_without_an_address_says_what_to_give(name):
    """The name of the file, and the words that join it with the card."""
    with pytest.raises(errors.CheckpointError) as error:
        zoo.load(name)
    said = str(error.value)
    assert any(end in said for end in (".pt", ".pkl", ".pth", ".ckpt")) and "\n" not in said
    assert f"--card {name}" in said and f"card='{name}'" in said


def test_the_first_lines_of_python_in_the_readme_name_what_exists(capsys):
    """A card with an address, and one to join with a file; the lines themselves run."""
    text = (Path(__file__).parents[2] / "README.md").read_text()
    block = text.split("```python\n")[1].split("```")[0]
    names = [word for word in block.replace('"', " ").split() if word in zoo.names()]
    assert "avatar-turbo" in names
    direct = block.split("# or ")[1].split('"')[1]
    assert zoo.card(direct).url is not None
    code = block.replace("steps=200", "steps=2").replace("chains=16", "chains=2")
    exec(code, {})
    assert "posterior" in capsys.readouterr().out
