"""How far a run is, from its folder alone: while it runs, after it was stopped, and in shards."""

import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

import recorded
from latentzoo import zoo
from latentzoo.cli import app
from latentzoo.errors import SpecError
from latentzoo.record import execute, parts, shard, spec, status
from latentzoo.record.folder import RunFolder
from latentzoo.record.saved import SavedRun
from latentzoo.report import page
from latentzoo.run.walk import Walk


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(zoo, "load", recorded.load)
    monkeypatch.setattr("latentzoo.record.folder.EVERY_SECONDS", 0.0)
    Image.new("RGB", (4, 4), (230, 230, 230)).save("light.png")
    return tmp_path


LIGHT = spec.Term(energy="measure", target="light.png", weight=1.0)
MALA = spec.KernelSettings(name="mala", settings={"step_size": 0.1})
RUN = spec.Run(
    generator="toy", energies=[LIGHT], chains=6, steps=40, device="cpu", kernel=MALA, micro_batch=1
)


def made(index: int, stop: int | None = None, watch: Any = None) -> Path:
    """Makes a shard of three, until a step."""
    chosen = shard.Shard(index, 3)

    def look(frame: Any, walk: Walk) -> None:
        if watch is not None:
            watch(frame.step)
        if frame.step == stop:
            raise KeyboardInterrupt

    where = parts.place(Path("run"), chosen)
    try:
        execute.make(RUN, where, shard=chosen, watch=look)
    except KeyboardInterrupt:
        assert stop is not None
    return where


def test_chains_are_counted_while_they_run_and_when_they_stopped() -> None:
    seen: dict[int, status.Status] = {}
    made(0)
    stopped = made(1, stop=10)

    def look(step: int) -> None:
        if step in (1, 20, 40):
            time.sleep(0.01)
            seen[step] = status.read(Path("run"))

    made(2, watch=look)
    half = seen[20]
    counts = (half.chains, half.done, half.running, half.failed, half.waiting, half.stopped)
    assert counts == (6, 2, 2, 0, 0, 2)
    assert half.stopped_at == (str(stopped),)
    assert half.seconds_left is not None and half.seconds_left >= 0
    assert "2 of 6 chains done, 2 running, 2 stopped, about" in str(half)
    assert status.read(Path("run")).done == 4
    execute.resume(stopped)
    assert str(status.read(Path("run"))) == "6 of 6 chains done"
    parts.merge([Path("run")], Path("run"))
    whole = status.read(Path("run"))
    assert str(whole) == "6 of 6 chains done" and whole.seconds_left == 0.0


def test_shards_that_were_not_begun_are_waiting() -> None:
    made(1)
    assert str(status.read(Path("run"))) == "2 of 6 chains done, 4 waiting"


def test_a_run_that_is_not_split_has_a_status_too() -> None:
    seen = []
    execute.make(
        RUN,
        Path("one"),
        watch=lambda frame, walk: seen.append(frame.step == 25 and status.read(Path("one"))),
    )
    assert seen[24].running == 6 and 0 <= seen[24].seconds_left < 60
    assert str(status.read(Path("one"))) == "6 of 6 chains done"


def test_the_seconds_left_are_those_of_the_chains_that_are_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two of six took 8 seconds, two are half way after 4: 3 chains are left, at 4 seconds a chain, two at once."""
    pieces = [
        status._Piece(Path("a"), 2, 0, 1.0, 8.0, True, False),
        status._Piece(Path("b"), 2, 1, 0.5, 4.0, False, True),
    ]
    assert status._left(pieces, 6, 1) == 12.0
    assert status._left(pieces, 6, 2) == 6.0
    assert status._left([pieces[1]._replace(made=0.0, seconds=0.0)], 6, 1) is None


def test_what_there_is_of_a_run_in_shards_is_reported() -> None:
    made(0)
    made(2, stop=10)
    saved = SavedRun(Path("run"))
    assert saved.table.values.shape[:2] == (41, 4) and saved.numbers == [0, 1, 4, 5]
    text = page.write([Path("run")], Path("run/report.html")).read_text()
    assert all(f'alt="chain {number} of toy' in text for number in (0, 1, 4, 5))


def test_the_command_line_tells_it_and_refuses_an_empty_folder() -> None:
    made(0)
    stopped = made(1, stop=10)
    call = lambda *words: CliRunner().invoke(app, [*words])
    told = call("status", "run").output
    assert "run: 2 of 6 chains done, 2 waiting, 2 stopped\n" in told
    assert f"stopped: {stopped}; go on with: latentzoo resume {stopped}" in told
    assert '"done": 2' in call("status", "run", "--json").output
    with pytest.raises(SpecError, match="there is no run here, and none that was begun"):
        status.read(Path("nowhere"))
    wrong = call("status", "nowhere")
    assert wrong.exit_code == 2 and wrong.output.count("\n") == 1


def test_a_folder_that_is_read_alone_tells_whether_it_is_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Somebody else's run: its lock cannot be taken, and is looked at."""
    run = execute.make(RUN, Path("run")) and Path("run")

    def denied(*_: object) -> None:
        raise PermissionError

    with RunFolder(run, resume=True), monkeypatch.context() as patch:
        patch.setattr(status.FileLock, "acquire", denied)
        assert status.is_held(run)
    monkeypatch.setattr(status.FileLock, "acquire", denied)
    assert not status.is_held(run)
    (run / ".lock").unlink()
    assert not status.is_held(run)
