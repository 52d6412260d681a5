"""What goes wrong on a machine of many: a full disk, chains that fail, networks loaded or fetched too often."""

import os
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import latentzoo as lz
from latentzoo.cli import app
from latentzoo.cli.app import one_line
from latentzoo.machines.team import Team
from latentzoo.record import execute, plain, spec, workers
from latentzoo.record.workers import Crew
from machines.jobs import Fetching
from machines.test_workers import RECORD, place, read, same  # noqa: F401

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*workers share")]


def marked(**options: Any) -> spec.Run:
    return spec.replace(RECORD, generator="machines.jobs:Marked", options=options)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Callable[[Any], None]]:
    """Puts a disk of 96 KiB into the place of a run's shards, as soon as the run has its folder."""
    parts = tmp_path / "run" / "parts"
    command = ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(parts)]

    def mount(progress: Any) -> None:
        if parts.parent.exists() and not parts.exists():
            parts.mkdir()
            subprocess.run(command, check=True)

    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("this user may not mount a disk")
    yield mount
    if parts.is_mount():
        subprocess.run(["umount", str(parts)], check=True)


def test_a_disk_that_is_full_ends_the_run_and_more_room_ends_it_well(
    nodes: Any, small: Callable[[Any], None]
) -> None:
    run, parts = spec.replace(RECORD, steps=30), Path("run/parts")
    with pytest.raises(Exception, match=r"[Ss]pace") as error:
        workers.make(run, Path("run"), Crew(2), watch=small)
    assert one_line(error.value).startswith("no space left on the disk of "), error.value
    done = {p: p.stat().st_mtime_ns for p in parts.glob("*/grid.png")}
    assert 0 < len(done) < 8, "the disk is of no size that tells"
    subprocess.run(["mount", "-o", "remount,size=64m", str(parts)], check=True)
    kept: list[bool] = []
    keep = lambda progress: kept.append(all(p.stat().st_mtime_ns == t for p, t in done.items()))
    workers.resume(Path("run"), Crew(2), watch=keep)
    assert kept and all(kept), "what was finished was made again"
    same("run")


@pytest.mark.filterwarnings("ignore:the generator's images run from nan")
def test_a_chain_that_fails_fails_alone_and_is_counted(nodes: Any) -> None:
    run = marked(beyond=0.0)
    result = workers.make(run, Path("run"), Crew(2))
    assert 0 < len(result.failures) < run.chains
    same("run")
    assert {f.chain for f in result.failures} == {
        chain for chain in range(run.chains) if chain not in lz.open("run").kept
    }


def test_networks_are_loaded_once_per_worker(nodes: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    workers.make(marked(log=str(log)), Path("run"), Crew(2))
    loads = Counter(log.read_text().split())
    assert plain.read(Path("run/run.yaml")).record["shards"] == 8 and len(loads) <= 2
    assert set(loads.values()) == {1}, loads


class Slow(BaseHTTPRequestHandler):
    """Gives the same bytes to all, slowly, and counts who asks for them."""

    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        time.sleep(1)
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"data")

    def log_message(self, *_: Any) -> None:
        pass


def test_a_file_is_fetched_once_per_node_under_a_lock(nodes: Any, tmp_path: Path) -> None:
    """Two nodes are two caches, and two workers of each ask at the same time."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/G.pt"
        caches, ready = [str(tmp_path / name) for name in ("one", "two")] * 2, tmp_path / "ready"
        ready.mkdir()
        with Team(Fetching(), 4) as team:
            outcomes = list(team.each([(url, cache, str(ready), 4) for cache in caches]))
        server.shutdown()
    assert all(outcome.error is None for outcome in outcomes)
    files, pids = zip(*(outcome.value for outcome in outcomes), strict=True)
    assert Slow.asked == 2 and len(set(files)) == 2 and len(set(pids)) == 4
    assert all(Path(file).read_bytes() == b"data" for file in files)


def test_another_file_under_the_same_name_is_refused(nodes: Any) -> None:
    """What a worker has loaded must have the hash that the record tells."""
    known = execute.make(spec.replace(RECORD, chains=1, steps=2), Path("alone"))
    assert known is not None
    told = plain.read(Path("alone/run.yaml")).record["inputs"]
    told = {name: "0" * 64 if "generator" in name else digest for name, digest in told.items()}
    with pytest.raises(lz.LatentzooError, match="another"):
        workers.make(spec.replace(RECORD, record={"inputs": told}), Path("run"), Crew(1))
    assert not Path("run/parts").exists()


def test_a_comparison_by_workers_is_that_of_one_process(nodes: Any) -> None:
    words = ("compare", "--generators", "avatar-gan", "--text", "a person with a hat")
    words += ("--weight", "5", "--chains", "2", "--steps", "6", "--out")
    for out, more in (("alone", ()), ("together", ("--workers", "2"))):
        done = CliRunner().invoke(app, [*words, out, *more], catch_exceptions=False)
        assert done.exit_code == 0, done.output
    runs = [p.parent.relative_to("alone") for p in Path("alone").rglob("run.yaml")]
    assert runs
    for name in runs:
        a, b = read("alone" / name), read("together" / name)
        assert [key for key in a if a[key] != b[key]] == []
