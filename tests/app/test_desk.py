"""Runs of a page: one at a time, stopped within a step, gone on with bit for bit, seen by their own visitor alone."""

import shlex
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from latentzoo.app import job as jobs
from latentzoo.app.desk import VIEWS, Desk
from latentzoo.app.form import Fields, command_line
from latentzoo.app.limits import Limits
from latentzoo.errors import LatentzooError, SpecError
from latentzoo.record import execute, experiment
from latentzoo.record.saved import open as opened
from latentzoo.run.strength import Strength

HAT = Fields("avatar-gan", attributes="hat=hijab", chains=2, steps=12)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "runs", Limits(steps=40), shared=False, device="cpu")


def whole(job: jobs.Job) -> jobs.Job:
    assert job.done.wait(120)
    return job


def test_a_run_is_seen_on_its_way_and_left_in_its_folder(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "EVERY", 0.0)
    name, job = desk.begin("ada", HAT)
    whole(job)
    assert not job.error and job.result is not None
    seen = job.seen
    assert seen.step == seen.length == seen.pictures and seen.pixels.shape == (2, 64, 64, 3)
    assert np.array_equal(seen.phi, job.result.trace.phi) and "attribute" in seen.words
    assert (desk.folder / name / "report.html").exists()
    assert desk.folder.stat().st_mode & 0o077 == 0  # nobody else looks in


def test_pictures_are_made_no_faster_than_allowed(desk: Desk) -> None:
    _, job = desk.begin("ada", HAT)
    whole(job)
    assert job.seen.pictures <= 1 + job.seen.seconds / jobs.EVERY


def test_stopped_and_gone_on_with_is_undisturbed(desk: Desk, tmp_path: Path) -> None:
    name, job = desk.begin("ada", HAT)
    while not job.seen.step:
        time.sleep(0.001)
    assert desk.stop("ada") and not desk.stop("bob")
    assert whole(job).stopped and job.seen.step < job.seen.length
    saved = desk.run("ada", name)
    assert not saved.finished and saved.pictures()
    assert not whole(desk.go_on("ada", name)).error
    execute.make(saved.record, tmp_path / "other")
    assert torch.equal(opened(tmp_path / "other").z, opened(desk.folder / name).z)
    assert not whole(desk.go_on("ada", name, 10)).error
    assert opened(desk.folder / name).record.steps == 22
    with pytest.raises(SpecError, match="this page allows 40"):
        desk.go_on("ada", name, 30)


def test_one_run_at_a_time_and_leaving_ends_it(desk: Desk) -> None:
    _, job = desk.begin("ada", HAT._replace(steps=40))
    with pytest.raises(SpecError, match="walking already"):
        desk.begin("bob", HAT)
    desk.leave("ada")
    assert job.done.is_set()
    desk.leave("nobody")
    _, other = desk.begin("bob", HAT._replace(steps=1))
    assert not whole(other).error


def test_a_visitor_sees_no_other_run_and_no_other_place(desk: Desk, tmp_path: Path) -> None:
    name, job = desk.begin("ada", HAT._replace(steps=2))
    whole(job)
    (desk.folder / "linked").symlink_to(desk.folder / name)
    assert desk.names("ada") == [name] and desk.names("bob") == []
    everybody = Desk(desk.folder, desk.limits)
    assert everybody.names("bob") == [name]
    for place in (
        name,
        "../runs/" + name,
        str(desk.folder / name),
        "..",
        "",
        None,
        7,
        "linked",
        "pictures",
    ):
        with pytest.raises(SpecError, match="no such run"):
            desk.run("bob", place)
        if place != name:
            with pytest.raises(SpecError, match="no such run"):
                everybody.run("bob", place)


def test_errors_are_one_line_and_tell_nothing_of_the_machine(desk: Desk, caplog) -> None:
    _, job = desk.begin("ada", HAT._replace(attributes="hat=purplish"))
    assert "purplish" in whole(job).error and "\n" not in job.error
    secret = jobs.Job(lambda job: Path("/nowhere/secret").read_bytes())
    assert whole(secret).error == "the run failed; the log of the server says why"
    assert "/nowhere/secret" in caplog.text and desk.names("ada") == []


def test_more_like_one_begins_there_and_stays_near(desk: Desk) -> None:
    name, job = desk.begin("ada", HAT)
    z = whole(job).result.z[1:2]
    like = []
    for steps in (2, 30):
        new, job = desk.more("ada", name, 1, chains=3, steps=steps, seed=4)
        result = whole(job).result
        assert result is not None, job.error
        assert (result.start == z).all() and len(result.z) == 3
        like.append(torch.cosine_similarity(result.z, z).mean())
        said = shlex.split(command_line(opened(desk.folder / new).record))
        assert said[-2:] == ["--init", f"{desk.folder / name}#1"] and "mala" in said
    assert like[0] > 0.9 > like[1]
    assert not whole(desk.go_on("ada", new, 3)).error
    for chain in (2, -1, None, "1", float("nan")):
        with pytest.raises(SpecError, match="from 0 to 1"):
            desk.more("ada", name, chain, chains=1, steps=1, seed=0)
    with pytest.raises(SpecError, match="no such run"):
        desk.more("bob", name, 0, chains=1, steps=1, seed=0)
    free, job = desk.begin("ada", HAT._replace(attributes=""))
    whole(job)
    with pytest.raises(SpecError, match="asked for nothing"):
        desk.more("ada", free, 0, chains=1, steps=1, seed=0)


def test_a_strength_is_looked_for_in_sight_and_can_be_stopped(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def climbing(phi, nats, *, watch, steps, **_) -> Strength:
        """The ladder is tested elsewhere, and takes 64 chains; this one only takes its time."""
        for i in range(100):
            watch(i, steps, f"{nats} nats")
            time.sleep(0.01)
        return Strength(nats, 0.1, 0.5)

    monkeypatch.setattr(experiment, "find", climbing)
    name, job = desk.begin("ada", HAT._replace(nats=2))
    said = set()
    while not job.done.wait(0.01):
        said.add(job.seen.words)
    assert any("finding the strength" in words for words in said)
    record = opened(desk.folder / name).record
    assert record.strength == 2 and record.scale == 0.5 and "--scale" in command_line(record)
    again, job = desk.begin("ada", HAT._replace(nats=2, seed=1))
    while "finding" not in job.seen.words:
        time.sleep(0.001)
    desk.leave("ada")
    assert job.stopped and again not in desk.names("ada")


def test_a_chain_is_seen_from_all_sides_where_there_is_a_camera(desk: Desk) -> None:
    name, job = desk.begin("ada", Fields("avatar-3d", chains=1, steps=1))
    whole(job)
    views = desk.sides("ada", name, 0)
    assert views.shape == (VIEWS, 64, 64, 3) and (views[0] != views[-1]).any()
    middle = opened(desk.folder / name).images[0].permute(1, 2, 0).numpy() * 255
    assert abs(views[VIEWS // 2] - middle).max() <= 1.01
    flat, job = desk.begin("ada", HAT._replace(attributes="", chains=1))
    whole(job)
    with pytest.raises(SpecError, match="has no camera"):
        desk.sides("ada", flat, 0)
    with pytest.raises(SpecError, match="no such run"):
        desk.sides("bob", name, 0)


def test_a_picture_goes_to_another_world(desk: Desk, tmp_path: Path) -> None:
    face, worlds = tmp_path / "face.png", ("avatar-ldm-bareheaded", "avatar-ldm-hats")
    Image.new("RGB", (80, 60), "tan").save(face)
    both = desk.translated(str(face), *worlds, noisy=True, seed=0)
    assert both.shape == (2, 64, 64, 3) and (both[0] != both[1]).any()
    (tmp_path / "text.png").write_text("hello")
    for upload, source, said in (
        (None, worlds[0], "drop one"),
        (str(tmp_path / "text.png"), worlds[0], "no readable picture"),
        (str(face), "/etc/passwd", "unknown generator"),
        (str(face), "avatar-gan", "eta|cannot encode"),
    ):
        with pytest.raises(LatentzooError, match=said):
            desk.translated(upload, source, worlds[1], noisy=True, seed=0)


def test_what_leaves_the_machine_does_not_tell_where_the_runs_are(
    desk: Desk, tmp_path: Path
) -> None:
    face = tmp_path / "face.png"
    Image.new("RGB", (64, 64), "tan").save(face)
    fields = HAT._replace(upload=str(face), use="its middle is missing", steps=3)
    name, job = desk.begin("ada", fields)
    assert not whole(job).error
    saved, place = desk.run("ada", name), str(tmp_path).encode()
    assert any(place in path.read_bytes() for path in saved.path.glob("*.yaml"))
    (tmp_path / "zips").mkdir()
    with zipfile.ZipFile(desk.packed(saved, tmp_path / "zips")) as archive:
        names = archive.namelist()
        assert not [name for name in names if place in archive.read(name)]
        archive.extractall(tmp_path / "elsewhere")
    (upload,) = [name for name in names if name.startswith("pictures/") and name[-1] != "/"]
    assert f"={upload}:1" in desk.command(saved)
    other = opened(tmp_path / "elsewhere" / name)
    assert torch.equal(other.images, saved.images) and upload in other.record_text
    assert "face.png" not in str(names)
    assert desk.told(f"{saved.path}: it is\nso") == f"{name}: it is so"
    mine = Desk(desk.folder, desk.limits)
    assert str(desk.folder) in mine.command(saved)
    with zipfile.ZipFile(mine.packed(saved, tmp_path / "zips")) as archive:
        assert place in archive.read(f"{name}/run.yaml")
