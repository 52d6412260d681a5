"""A team: workers that share items, and a driver that gives them out, watches, and gives out again what was lost.

An item whose worker dies is given to a new worker; after three deaths in its hands the item is taken to be the cause.
A mistake that an item ends with is its outcome, and is not tried again: the same would come of it.
"""

import os
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from latentzoo.errors import SpecError
from latentzoo.machines import cluster
from latentzoo.machines.worker import Job, Outcome, Worker, WorkerError, versions

TRIES = 3
"""How often an item is given out, at most."""
NOTHING = -1
"""The place of no item."""
EVERY = 0.25
"""Every how many seconds the workers are asked how far they are."""
START = 120.0
"""How many seconds a worker has to start."""
FROZEN = float(os.environ.get("LATENTZOO_FROZEN_SECONDS", "120"))
"""After how many seconds without an answer a worker is given up."""
GRACE = 15.0
"""How many seconds workers have to stop between two steps."""
Said = Sequence[tuple[Any, tuple[Any, ...]]]
"""The items at hand, each with what was last said of it; empty where nothing was."""
Watch = Callable[[Said], Any]
Waiting = deque[tuple[int, Any]]


class Member:
    """Creates a worker in a team: its actor, the item in its hands, and when it last answered."""

    def __init__(self, actor: Any) -> None:
        self.actor, self.place, self.item, self.doing = actor, -1, None, None
        self.about, self.ready = actor.about.remote(), False
        self.asking, self.told = None, ()
        self.heard = time.monotonic()

    def give(self, place: int, item: Any) -> None:
        """Gives it an item, and its place among all."""
        self.place, self.item, self.told = place, item, ()
        self.doing = self.actor.do.remote(item)


class Team:
    """Creates a team of workers for a job; entered as a context, which starts and stops them.

    Arguments:
        job: What they do.
        workers: How many; None takes as many as the cluster has GPUs, or else processors.
        gpus: How many GPUs each takes, fractions allowed; None shares those that there are.
        address: The cluster to join, see `cluster.entered`; None starts one on this machine.

    Attributes:
        workers: How many workers it has.
        lost: How many workers died with an item in their hands.

    Raises:
        SpecError: If there are no workers, or a worker has other versions than this process.
        WorkerError: If no worker starts.
    """

    def __init__(
        self,
        job: Job,
        workers: int | None,
        *,
        gpus: float | None = None,
        address: str | None = None,
    ) -> None:
        if (workers is not None and workers < 1) or (workers is None and address is None):
            raise SpecError(f"workers is {workers}; give at least 1")
        if gpus is not None and gpus < 0:
            raise SpecError(f"gpus per worker is {gpus:g}; give 0 or more, fractions allowed")
        self.workers, self.lost = workers or 0, 0
        self._job, self._gpus, self._address = job, gpus, address
        self._members: list[Member] = []
        self._stack = ExitStack()

    def __enter__(self) -> "Team":
        cores = (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )
        if self._address is None and self.workers > cores:
            warnings.warn(
                f"{self.workers} workers share {cores} cores, so they take turns", stacklevel=2
            )
        asked = None if self._gpus is None else self._gpus * self.workers
        whole = None if asked is None else float(-(-asked // 1))
        self._ray = self._stack.enter_context(
            cluster.entered(self._address, cpus=max(self.workers, 1), gpus=whole)
        )
        try:
            self._hire()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._stop()
        finally:
            self._stack.close()

    def _hire(self) -> None:
        have = self._ray.cluster_resources()
        cards = have.get("GPU", 0.0)
        if not self.workers:
            self.workers = int(cards or have.get("CPU", 1))
        gpus = min(cards / self.workers, 1.0) if self._gpus is None else self._gpus
        if gpus * self.workers > cards:
            raise SpecError(
                f"{self.workers} workers of {gpus:g} GPUs each ask for {gpus * self.workers:g}, and there are "
                f"{cards:g}; give fewer workers or a smaller --gpus-per-worker"
            )
        if gpus > 1:
            gpus = float(int(gpus))
        job = self._ray.put(self._job)
        # max_concurrency: one thread works, the other answers
        options = {"num_cpus": 1, "num_gpus": gpus, "max_restarts": 0, "max_task_retries": 0}
        kind = self._ray.remote(Worker).options(**options, max_concurrency=2)
        self._new = lambda: Member(kind.remote(job))
        self._members = [self._new() for _ in range(self.workers)]

    def one(self, item: Any, watch: Watch = lambda said: None) -> Any:
        """Has one worker do an item.

        Raises:
            Exception: The one that the item ended with.
            WorkerError: If its workers die.
        """
        (outcome,) = self.each([item], watch)
        if outcome.error is not None:
            raise outcome.error
        return outcome.value

    def each(self, items: Iterable[Any], watch: Watch = lambda said: None) -> Iterator[Outcome]:
        """Has the team do all items, and yields what became of each as soon as it is known, in no order.

        Arguments:
            items: The items; each is sent to a worker.
            watch: Called several times a second.

        Raises:
            WorkerError: If an item's workers die over and over, or none is left.
        """
        waiting, deaths = deque(enumerate(items)), Counter[int]()
        while waiting or any(member.doing is not None for member in self._members):
            for member in self._members:
                if waiting and member.ready and member.doing is None:
                    member.give(*waiting.popleft())
            yield from self._look(waiting, deaths)
            watch([(m.item, m.told) for m in self._members if m.doing is not None])

    def _look(self, waiting: Waiting, deaths: Counter[int]) -> Iterator[Outcome]:
        """Waits a moment for whatever comes from the workers."""
        now, refs = time.monotonic(), {}
        for member in self._members:
            if member.ready and member.asking is None and now - member.heard >= EVERY:
                member.asking = member.actor.told.remote()
            for kind in ("about", "doing", "asking"):
                if (ref := getattr(member, kind)) is not None:
                    refs[ref] = member, kind
        ready, _ = self._ray.wait(list(refs), timeout=EVERY) if refs else ([], [])
        for ref in ready:
            member, kind = refs[ref]
            if member in self._members:
                yield from self._hear(member, kind, ref, waiting, deaths)
        for member in list(self._members):
            self._give_up(member, waiting, deaths)

    def _hear(
        self, member: Member, kind: str, ref: Any, waiting: Waiting, deaths: Counter[int]
    ) -> Iterator[Outcome]:
        errors = self._ray.exceptions
        try:
            said = self._ray.get(ref)
        except (errors.RayActorError, errors.WorkerCrashedError, errors.ObjectLostError) as error:
            self._bury(member, waiting, deaths, str(error).strip().splitlines()[-1])
            return
        setattr(member, kind, None)
        member.heard = time.monotonic()
        if kind == "about":
            _same(said)
            member.ready = True
        elif kind == "asking":
            member.told = said
        else:
            yield said

    def _give_up(self, member: Member, waiting: Waiting, deaths: Counter[int]) -> None:
        """Gives up a worker that does not start, or does not answer."""
        silent = time.monotonic() - member.heard
        if not member.ready and silent > START:
            self._dismiss(member)
            if not self._members:
                raise WorkerError(
                    f"no worker started within {START:g} seconds; the cluster has {self._ray.cluster_resources()}, "
                    "and each worker asks for a processor and its GPUs"
                )
        elif member.asking is not None and silent > FROZEN:
            self._bury(member, waiting, deaths)

    def _bury(
        self, member: Member, waiting: Waiting, deaths: Counter[int], why: str = "no answer"
    ) -> None:
        """Replaces a dead worker, and gives its item out again."""
        self._dismiss(member)
        if member.doing is not None:
            self.lost += 1
            deaths[member.place] += 1
            if deaths[member.place] >= TRIES:
                raise WorkerError(
                    f"{TRIES} workers died over the same piece ({why}); is it memory, give a smaller --micro-batch or "
                    "fewer workers; what is finished in the run's folder is kept"
                )
            waiting.appendleft((member.place, member.item))
        else:
            deaths[NOTHING] += 1
            if deaths[NOTHING] >= TRIES:
                raise WorkerError(
                    f"{TRIES} workers died as they started ({why}); what the job is made of must be importable "
                    "and fit into memory on every machine"
                )
        self._members.append(self._new())

    def _dismiss(self, member: Member) -> None:
        self._members.remove(member)
        self._ray.kill(member.actor)

    def _stop(self) -> None:
        """Has the workers stop between two steps, and ends those that do not."""
        busy = [member for member in self._members if member.doing is not None]
        for member in busy:
            member.actor.stop.remote()
        if busy:
            self._ray.wait([m.doing for m in busy], num_returns=len(busy), timeout=GRACE)
        for member in list(self._members):
            self._dismiss(member)


def _same(about: dict[str, str]) -> None:
    """Refuses a worker of other versions."""
    for name, here in versions().items():
        if about[name] != here:
            raise SpecError(
                f"the worker on {about['node']} has {name} {about[name]} and this process {here}; chains of both would "
                "differ, so install the same on all nodes"
            )
