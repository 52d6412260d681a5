"""Jobs of the tests, which workers import."""

import math
import os
import signal
import time
from pathlib import Path
from typing import Any, NamedTuple

import recorded
from latentzoo.hub import fetch


class Do(NamedTuple):
    """What an item is to do: to die or stand still while fewer than `times` files lie in a folder, or to fail."""

    name: str
    folder: str = ""
    how: str = "work"
    times: int = 0


class Job:
    """Says where it is, ten times a second, and does what the item says."""

    def __init__(self, steps: int = 3) -> None:
        self.steps, self.pid = steps, 0

    def do(self, item: Do, tell: Any) -> tuple[str, int]:
        if item.folder and item.how != "work":
            before = len(list(Path(item.folder).glob(f"{item.name}.*")))
            Path(item.folder, f"{item.name}.{before}").write_text(str(os.getpid()))
            if item.how == "die" and before < item.times:
                os.kill(os.getpid(), signal.SIGKILL)
            if item.how == "freeze" and before < item.times:
                os.kill(os.getpid(), signal.SIGSTOP)
            if item.how == "fail":
                raise Custom("a", 3)
        for step in range(self.steps):
            tell(step, self.steps, os.getpid())
            time.sleep(0.1)
        return item.name, os.getpid()


class Custom(Exception):
    """An error that does not survive the way between processes."""

    def __init__(self, a: str, b: int) -> None:
        super().__init__(f"{a}{b}")
        self.lock = __import__("threading").Lock()


class Marked(recorded.Toy):
    """A toy that notes in a file which process has loaded it, and draws no finite picture beyond a point."""

    def __init__(self, *, log: str = "", beyond: float = math.inf, **options: Any) -> None:
        super().__init__(**options)
        self.beyond = beyond
        if log:
            with open(log, "a") as file:
                file.write(f"{os.getpid()}\n")

    def scene(self, blocks: Any) -> Any:
        far = blocks["style"][:, :1, None, None] > self.beyond
        return super().scene(blocks).masked_fill(far, math.nan)


class Fetching:
    """Fetches a file, as a worker of the node with this cache does, when as many as `meet` others are ready to."""

    def do(self, item: tuple[str, str, str, int], tell: Any) -> tuple[str, int]:
        url, os.environ["LATENTZOO_CACHE"], place, meet = item
        Path(place, str(os.getpid())).touch()
        while len(list(Path(place).iterdir())) < meet:
            time.sleep(0.05)
        return str(fetch.fetch(url)), os.getpid()
