"""A team does every item, whoever dies; a mistake is told, and nothing is tried without end."""

import http.server
import os
import socket
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

import latentzoo as lz
from latentzoo import errors, kernels
from latentzoo.errors import MissingExtra, SpecError
from latentzoo.machines import cluster, team, worker
from latentzoo.machines.team import Team, WorkerError
from machines.jobs import Do, Job


def gone(pid: int, within: float = 20.0) -> bool:
    """Whether a process ends soon."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.1)
    return False


def test_all_is_done_whoever_dies_and_a_mistake_is_an_outcome(nodes: Any, tmp_path: Path) -> None:
    place = str(tmp_path)
    items = [Do("a"), Do("b"), Do("c", place, "die", 2), Do("d", place, "fail"), Do("e"), Do("f")]
    seen: list[Any] = []
    with Team(Job(), 2) as crew:
        outcomes = {o.item.name: o for o in crew.each(items, seen.append)}
        assert crew.lost == 2
    assert outcomes.keys() == set("abcdef")
    done = {name for name, o in outcomes.items() if o.error is None}
    assert done == set("abcef") and all(outcomes[name].value[0] == name for name in done)
    assert type(outcomes["d"].error) is RuntimeError and str(outcomes["d"].error) == "Custom: a3"
    assert len(list(tmp_path.glob("d.*"))) == 1, "a mistake is not tried again"
    assert max(len(said) for said in seen) == 2
    assert any(words[:2] == (2, 3) for said in seen for _, words in said)
    assert all(gone(o.value[1]) for o in outcomes.values() if o.error is None)


def test_an_item_that_kills_its_workers_is_tried_three_times(nodes: Any, tmp_path: Path) -> None:
    with (
        pytest.raises(WorkerError, match="3 workers died over the same piece") as error,
        Team(Job(), 1) as crew,
    ):
        list(crew.each([Do("c", str(tmp_path), "die", 9)]))
    assert "\n" not in str(error.value) and len(list(tmp_path.glob("c.*"))) == 3


def test_a_frozen_worker_is_replaced(nodes: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(team, "FROZEN", 3.0)
    with Team(Job(), 1) as crew:
        assert crew.one(Do("c", str(tmp_path), "freeze", 1))[0] == "c"
        assert crew.lost == 1
    assert gone(int((tmp_path / "c.0").read_text()))


def test_ctrl_c_stops_workers_between_two_steps_and_leaves_none(nodes: Any) -> None:
    pids: set[int] = set()

    def stop(said: Any) -> None:
        pids.update(words[2] for _, words in said if len(words) > 2)
        if len(pids) == 2:
            raise KeyboardInterrupt

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt), Team(Job(steps=1000), 2) as crew:
        list(crew.each([Do("a"), Do("b")], stop))
    assert time.monotonic() - begun < 100 and all(gone(pid) for pid in pids)


def test_what_a_worker_cannot_import_is_said(nodes: Any) -> None:
    class Here(Job):
        def __reduce__(self) -> Any:
            return __import__, ("nowhere_at_all",)

    with (
        pytest.raises(
            WorkerError, match=r"died as they started \(.*nowhere_at_all.*\); what the job"
        ),
        Team(Here(), 1) as crew,
    ):
        list(crew.each([1]))


def test_a_worker_of_other_versions_is_refused_by_name(nodes: Any, monkeypatch: Any) -> None:
    other = worker.versions() | {"torch": "1.0"}
    monkeypatch.setattr(team, "versions", lambda: other)
    with (
        pytest.raises(SpecError, match=r"the worker on .* has torch .* and this process 1\.0"),
        Team(Job(), 1) as crew,
    ):
        list(crew.each([Do("a")]))


def test_more_gpus_than_there_are_are_refused(nodes: Any) -> None:
    with (
        pytest.raises(SpecError, match=r"2 workers of 0\.5 GPUs each ask for 1, and there are 0"),
        Team(Job(), 2, gpus=0.5),
    ):
        pass


def test_a_node_that_is_lost_is_worked_without(nodes: Any, tmp_path: Path) -> None:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    node = nodes.add_node(num_cpus=1)
    nodes.wait_for_nodes()
    crew = Team(Job(steps=30), 2)
    with crew:
        # one of the two works on the node that will be lost
        there = NodeAffinitySchedulingStrategy(node.node_id, soft=False)
        first, kind = crew._members[0], ray.remote(worker.Worker)
        ray.kill(first.actor)
        moved = kind.options(num_cpus=1, scheduling_strategy=there, max_concurrency=2)
        crew._members[0] = team.Member(moved.remote(Job(steps=30)))
        lost: list[Any] = []

        def lose(said: Any) -> None:
            if not lost and len([words for _, words in said if words]) == 2:
                lost.append(nodes.remove_node(node, allow_graceful=False))

        done = {o.item.name for o in crew.each([Do(name) for name in "abc"], lose)}
        assert lost and done == set("abc") and crew.lost == 1


# without Ray


def test_ray_that_is_not_installed_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        MissingExtra, match=r"needs the package 'ray', .* pip install 'latentzoo\[ray\]'"
    ):
        lz.sample(lambda z: z.square().sum(1), dim=2, kernel="ula", workers=2, progress=False)


@pytest.mark.parametrize("address", ["here", "ray://localhost:1", "localhost:x", ""])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(
        SpecError, match="is not the address of a cluster; give auto, or HOST:PORT"
    ):
        cluster._join(None, address)


def test_an_address_that_does_not_answer_is_refused() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(
        SpecError, match=f"no Ray cluster answers at '127.0.0.1:{port}' within 10 sec"
    ):
        cluster._join(None, f"127.0.0.1:{port}")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["silent", "web", "auto"])
def test_who_listens_and_is_no_cluster_is_refused(kind: str, monkeypatch: Any) -> None:
    """A port that accepts and says nothing; a web server; a $RAY_ADDRESS that is such a port."""
    pytest.importorskip("ray", reason="needs the extra latentzoo[ray]")
    # Ray takes a loopback address it finds in the environment for this machine's own
    host = cluster.module().util.get_node_ip_address() if kind == "auto" else "127.0.0.1"
    with http.server.HTTPServer((host, 0), http.server.SimpleHTTPRequestHandler) as server:
        if kind == "web":
            threading.Thread(target=server.serve_forever, daemon=True).start()
        where = f"{host}:{server.server_port}"
        if kind == "auto":
            monkeypatch.setenv("RAY_ADDRESS", where)
        begun = time.monotonic()
        with pytest.raises(SpecError, match="says nothing that Ray understands") as error:
            cluster._join(cluster.module(), "auto" if kind == "auto" else where)
        assert time.monotonic() - begun > cluster.PATIENCE / 2, "nobody waited"
        assert "\n" not in str(error.value) and f":{server.server_port}'" in str(error.value)
        if kind == "web":
            server.shutdown()


@pytest.mark.slow
def test_a_cluster_that_answers_is_known(nodes: Any) -> None:
    cluster._answers(nodes.address)


def test_a_ray_that_does_not_start_is_said_in_one_line() -> None:
    class Ray:
        @staticmethod
        def init(**_: Any) -> None:
            raise Exception("The current node timed out\nduring startup.")

    before = os.environ.get("PYTHONPATH")
    with pytest.raises(WorkerError, match=r"\(The current node timed out during startup\.\); try"):
        cluster._start(Ray, 1, None)
    assert os.environ.get("PYTHONPATH") == before


@pytest.mark.parametrize("workers", [0, -1, None])
def test_no_workers_are_refused(workers: Any) -> None:
    with pytest.raises(SpecError, match=f"workers is {workers}; give at least 1"):
        Team(Job(), workers)


def test_gpus_below_none_are_refused() -> None:
    with pytest.raises(SpecError, match="gpus per worker is -1; give 0 or more"):
        Team(Job(), 1, gpus=-1)


def test_more_workers_than_cores_are_allowed_with_a_word(monkeypatch: Any) -> None:
    monkeypatch.setattr(Team, "_hire", lambda self: None)
    monkeypatch.setattr(
        cluster, "module", lambda: type("Ray", (), {"is_initialized": lambda: True})
    )
    many = (os.cpu_count() or 1) + 1
    with (
        pytest.warns(UserWarning, match=f"{many} workers share .* so they take turns"),
        Team(Job(), many),
    ):
        pass
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Team(Job(), 1):
            pass


@pytest.mark.parametrize(
    "kind", [errors.UnknownName("kernel", "ulla", ["ula"]), errors.MissingExtra("a", "b", "c")]
)
def test_our_errors_cross_between_processes(kind: errors.LatentzooError) -> None:
    import pickle

    again = pickle.loads(pickle.dumps(kind))
    assert type(again) is type(kind) and str(again) == str(kind) and again.exit_status == 2


def test_every_error_of_ours_crosses() -> None:
    import pickle

    def below(kind: type) -> list[type]:
        return [kind, *(k for sub in kind.__subclasses__() for k in below(sub))]

    for kind in below(errors.LatentzooError):
        error = kind.__new__(kind, "said")
        error.args = ("said",)
        assert str(pickle.loads(pickle.dumps(error))) == "said"


def test_chains_that_are_drawn_from_each_other_are_not_split() -> None:
    assert kernels.load("smc").coupled
    with pytest.raises(SpecError, match="the chains of 'smc' are drawn from each other"):
        lz.sample(lambda z: z.square().sum(1), dim=2, chains=64, kernel="smc", workers=2)


def test_frames_are_not_watched_from_afar() -> None:
    with pytest.raises(SpecError, match="leave them out, or workers"):
        lz.sample(lambda z: z.square().sum(1), dim=2, watch=print, workers=2)
