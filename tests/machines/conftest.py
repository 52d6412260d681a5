"""A real Ray of two nodes on this machine, for the tests that ask for it; without Ray they are skipped by name.

They take minutes, so they are slow: `pip install 'latentzoo[ray]'`, then `pytest -m slow tests/machines`.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import recorded

TESTS = str(Path(recorded.__file__).parent)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts a Ray is slow."""
    for item in items:
        if {"nodes", "place"} & set(
            getattr(item, "fixturenames", ())
        ) and "machines" in item.path.parts:
            item.add_marker("slow")


@pytest.fixture(scope="session")
def nodes() -> Iterator[Any]:
    """Ray's own cluster utility, with this process as its driver: two nodes of four logical processors each."""
    pytest.importorskip("ray", reason="needs the extra latentzoo[ray]")
    saved = os.environ.copy()
    os.environ |= {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",
        "RAY_raylet_start_wait_time_s": "300",
        "RAY_health_check_failure_threshold": "5",
        "RAY_health_check_period_ms": "1000",
        "RAY_health_check_timeout_ms": "3000",
        "RAY_health_check_initial_delay_ms": "0",
        "LATENTZOO_STATE_SECONDS": "0",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(
            [TESTS, str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        ),
    }
    from latentzoo.machines import cluster

    ray = cluster.module()
    from ray.cluster_utils import Cluster

    plain = {"num_cpus": 4, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=plain)
    made.add_node(num_cpus=4)
    ray.init(address=made.address, logging_level="ERROR", log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()
    os.environ.clear()
    os.environ |= saved
