"""The 616 experiments of the paper: every file is read, one sweep replaces them, and the six that contradict
their names are found."""

import configparser
import csv
import gzip
import inspect
import io
from pathlib import Path

import pytest

from latentzoo import zoo
from latentzoo.errors import SpecError, UnknownName
from latentzoo.record import plain, spec, sweep
from latentzoo.record.paper import Experiment, read_cfg

HERE = Path(__file__).parent
SWEEP = HERE.parents[1] / "experiments" / "paper.yaml"
CONTRARY = {
    "clip_a_baby_ffhq512_eg3d_langevin_100",
    "clip_a_person_with_eyeglasses_ffhq1024_diffusion_stylegan2_langevin_700",
    *(f"recon_id_{i}_ffhq1024_styleganxl_langevin" for i in ("00001", "00002", "00015", "00018")),
}


def write_cfg(row: dict[str, str], folder: Path) -> Path:
    """Writes the file that a row of the table describes."""
    parser = configparser.ConfigParser(interpolation=None)
    for key, value in row.items():
        section, _, option = ("gan", "", key) if key == "gan_type" else key.partition(".")
        if value and option:
            if not parser.has_section(section):
                parser.add_section(section)
            parser.set(section, option, value)
    path = folder / f"{row['name']}.cfg"
    with path.open("w") as file:
        parser.write(file)
    return path


def rows() -> list[dict[str, str]]:
    """What every experiment file of the paper holds."""
    table = io.StringIO(gzip.decompress((HERE / "experiments.csv.gz").read_bytes()).decode())
    return [row for row in csv.DictReader(table) if row["folder"] == "experiments"]


@pytest.fixture(scope="module")
def experiments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Experiment]:
    folder = tmp_path_factory.mktemp("cfg")
    return {row["name"]: read_cfg(write_cfg(row, folder)) for row in rows()}


def test_all_616_are_read(experiments: dict[str, Experiment]) -> None:
    assert len(experiments) == 616


def test_the_six_that_contradict_their_names_are_reported(
    experiments: dict[str, Experiment],
) -> None:
    assert {
        name for name, experiment in experiments.items() if experiment.contradictions
    } == CONTRARY


def test_one_sweep_replaces_them(experiments: dict[str, Experiment]) -> None:
    runs = sweep.read(SWEEP)
    assert set(runs) == set(experiments)
    differing = {name for name, run in runs.items() if run != experiments[name].run}
    assert differing == CONTRARY


def test_every_record_can_be_run(experiments: dict[str, Experiment]) -> None:
    """Its generator has a card, and the family takes its options."""
    for name, experiment in experiments.items():
        run = experiment.run
        card = zoo.card(run.generator)
        signature = inspect.signature(zoo.family(card.family).build)
        signature.bind_partial(**run.options)
        assert plain.parse(spec.msgspec.to_builtins(run)) == run, name


def test_what_randomness_was_fixed_is_said(experiments: dict[str, Experiment]) -> None:
    notes = " ".join(experiments["clip_a_baby_ffhq1024_stylesdf_langevin"].notes)
    assert "noise maps" in notes and "camera" in notes


def test_only_keeps_what_matches() -> None:
    runs = sweep.read(SWEEP)
    assert len(sweep.only(runs, "clip_*_ffhq1024_stylegan2*")) == 40
    with pytest.raises(SpecError, match="no experiment matches"):
        sweep.only(runs, "clap_*")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("groups: 3", "a list of `groups`"),
        ("groups: [{name: a, axes: {}, runn: {}}]", "did you mean 'run'"),
        ("groups: [{name: a, axes: {}}]", "run is missing"),
        ("groups: [{name: 'a{b}', axes: {}, run: {generator: x}}]", "unknown axis"),
        (
            "groups: [{name: a, axes: {b: {c: null, d: null}}, run: {generator: x}}]",
            "two combinations",
        ),
        ("groups: [", "not a YAML file"),
        ("groups: [3]", "Expected 'object', got 'int'"),
        ("groups: [{name: a, axes: null, run: {}}]", "Expected 'object', got 'null' at 'axes'"),
        ("groups: [{name: a, axes: [b], run: {}}]", "Expected 'object', got 'array' at 'axes'"),
        ("groups: [{name: a, axes: {b: {c: d}}, run: {}}]", "got 'str' at 'axes"),
        ("groups: [{name: 5, axes: {}, run: {}}]", "Expected 'str', got 'int' at 'name'"),
        ("groups: [{name: '{}', axes: {}, run: {}}]", "cannot be filled in"),
        ("groups: [{name: '{b.c.d}', axes: {b: {c: null}}, run: {}}]", "cannot be filled in"),
        ("groups: [{name: 'a{', axes: {}, run: {}}]", "cannot be filled in"),
        ("groups: [{name: ../../up, axes: {}, run: {generator: x}}]", "the name of a folder"),
        ("groups: [{name: '{b}', axes: {b: {/etc: null}}, run: {generator: x}}]", "of a folder"),
        ("groups: [{name: '', axes: {}, run: {generator: x}}]", "the name of a folder"),
        ("groups: [{name: a, axes: {}, run: {generator: x, energies: 3}}]", "got 'int'"),
    ],
)
def test_a_bad_sweep_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises((SpecError, UnknownName), match=message):
        sweep.read(tmp_path / "s.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no section"),
        ("x", "not an experiment file"),
        (
            "[gan]\ngan_type=StyleGAN9\n[model]\nname=langevin_dynamics\n[PriorZEnergy]\nweight=1",
            "did you mean 'StyleGAN2'",
        ),
        ("[gan]\ngan_type=StyleGAN2\n[model]\nname=hmc", "is not langevin_dynamics"),
    ],
)
def test_a_bad_file_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.cfg").write_text(text)
    with pytest.raises((SpecError, UnknownName), match=message):
        read_cfg(tmp_path / "x.cfg")
