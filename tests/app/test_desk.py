"""Runs of a page: one at a time, stopped within a step, gone on with bit for bit, seen by their own visitor alone."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch

from latentzoo.app import job as jobs
from latentzoo.app.desk import Desk
from latentzoo.app.form import Fields
from latentzoo.app.limits import Limits
from latentzoo.errors import SpecError
from latentzoo.record import execute
from latentzoo.record.saved import open as opened

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
    secret = jobs.Job(lambda watch: Path("/nowhere/secret").read_bytes())
    assert whole(secret).error == "the run failed; the log of the server says why"
    assert "/nowhere/secret" in caplog.text and desk.names("ada") == []
