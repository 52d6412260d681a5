"""A Ray of our own on this machine, or one that runs already.

Our own listens on the loopback interface alone and asks for a token that is known to its processes alone. It is stopped
at the end. A cluster at an address is joined and left as it was; who may reach it may run programs on it, so its owner
sees to its network (docs/machines.md).
"""

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from latentzoo.errors import MissingExtra, SpecError
from latentzoo.machines.worker import WorkerError

PATIENCE = 10.0
"""How many seconds an address has to answer."""
QUIET = {"include_dashboard": False, "logging_level": "ERROR", "log_to_driver": False}
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Set to 0, Ray takes the loopback address as its own, as it does by itself on macOS and Windows."""
ASK = "import sys, ray; print(flush=True); ray._raylet.GcsClient(address=sys.argv[1])"
"""Asks a cluster for its name. `ray.init` would ask for minutes, and cannot be told to stop."""


def module() -> Any:
    """The package `ray`.

    Raises:
        MissingExtra: If it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError:
        raise MissingExtra("ray", "ray", "sharing work among workers") from None
    return ray


@contextmanager
def entered(address: str | None, *, cpus: int, gpus: float | None) -> Iterator[Any]:
    """Starts a Ray on this machine, or joins one.

    Arguments:
        address: "auto" for the cluster that runs here, or HOST:PORT; None starts one.
        cpus: How many processors one that is started says it has.
        gpus: How many GPUs; None takes those that are found.

    Yields:
        The package `ray`, connected.

    Raises:
        MissingExtra: If Ray is not installed.
        SpecError: If no cluster answers at the address.
        WorkerError: If none starts on this machine.
    """
    if address is None and "ray" not in sys.modules:  # these are read when ray is imported
        os.environ.setdefault(LOOPBACK, "0")
        os.environ.setdefault(
            "RAY_worker_niceness", "0"
        )  # workers are the work, not the background
        os.environ.setdefault("RAY_raylet_start_wait_time_s", "300")  # a machine may be busy
        if os.environ.setdefault("RAY_AUTH_MODE", "token") == "token":
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    ray = module()
    if ray.is_initialized():  # by whoever called us: theirs, and theirs to stop
        yield ray
        return
    try:
        _start(ray, cpus, gpus) if address is None else _join(ray, address)
        # else a worker's death is told on our standard output, `log_to_driver` or not
        ray._private.worker._worker_logs_enabled = False
        yield ray
    finally:
        ray.shutdown()


def _start(ray: Any, cpus: int, gpus: float | None) -> None:
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, sys.path)
    )  # workers import what we can
    try:
        ray.init(address="local", num_cpus=cpus, num_gpus=gpus, **QUIET)
    except Exception as error:  # plain ones, where a busy machine starts it too slowly
        said = " ".join(str(error).split())
        raise WorkerError(
            f"Ray did not start on this machine ({said}); try again when it is less busy, or leave out workers"
        ) from error
    finally:
        del os.environ["PYTHONPATH"]
        os.environ.update({} if before is None else {"PYTHONPATH": before})
    here = ray.util.get_node_ip_address()
    if here not in ("127.0.0.1", "::1"):
        raise SpecError(
            f"Ray was imported before and listens on {here} instead of the loopback interface; set {LOOPBACK}=0 "
            "before it is imported, or give the address of a cluster"
        )


def _join(ray: Any, address: str) -> None:
    if "://" in address:
        raise SpecError(f"'{address}' is not the address of a cluster; give auto, or HOST:PORT")
    try:
        where = _found(ray) if address == "auto" else address
        _answers(where)
        ray.init(address=where, **{key: QUIET[key] for key in ("logging_level", "log_to_driver")})
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        reason = str(error).strip().split("\n")[0]
        raise SpecError(
            f"no Ray cluster can be joined at '{address}' ({reason}); start one with `ray start --head`, or leave "
            "out --ray for one of this machine"
        ) from None


def _found(ray: Any) -> str:
    """HOST:PORT of the cluster that Ray itself would find here: $RAY_ADDRESS, or one that runs on this machine."""
    return ray._private.services.canonicalize_bootstrap_address("auto")


def _answers(address: str) -> None:
    """Sees whether a cluster answers at HOST:PORT."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        raise SpecError(f"'{address}' is not the address of a cluster; give auto, or HOST:PORT")
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()
        _asked(address)
    except (OSError, OverflowError) as error:
        raise SpecError(
            f"no Ray cluster answers at '{address}' within {PATIENCE:g} seconds ({error}); start one with "
            "`ray start --head`, or leave out --ray for one of this machine"
        ) from None


def _asked(address: str) -> None:
    """Has a process of its own ask the cluster, so that it can be ended.

    Raises:
        TimeoutError: If somebody listens there and says nothing that Ray understands.
        ConnectionError: If Ray is told that this is no cluster, or none for us.
    """
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    asking: Any = subprocess.Popen([sys.executable, "-c", ASK, address], **pipes)
    with asking as process:
        process.stdout.readline()  # the patience begins when Ray is imported
        try:
            _, said = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise TimeoutError(
                "something listens there and says nothing that Ray understands"
            ) from None
        if process.returncode:
            raise ConnectionError(
                (said.strip().splitlines() or ["no reason given"])[-1].strip(" :")
            )
