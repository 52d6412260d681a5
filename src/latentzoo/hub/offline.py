"""`LATENTZOO_OFFLINE` for the libraries that have a network of their own, and a hub that does not answer.

huggingface_hub (under transformers, diffusers, timm and open_clip) has a switch; what fetches by `urllib` (torch.hub,
under lpips and torchvision, and open_clip) has none, and is refused its addresses. Both hold inside of `obeyed` only,
so that others in this process keep their network.

huggingface_hub asks a hub that does not answer six times for each file, and some libraries ask for several files.
Here it is asked once in a minute; while it does not answer, its libraries take what is in their caches.
"""

import os
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NoReturn

from latentzoo.hub import cache

SWITCHES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY")
"""What these libraries read when they are imported."""


TIMEOUT = 5.0
"""Seconds in which a hub has answered, if it does."""


def answers() -> bool:
    """Whether the hub answers, whatever it says, asked once in a minute; True where no library would ask it."""
    try:
        from huggingface_hub import constants
    except ImportError:
        return True
    return _answers(constants.ENDPOINT, int(time.monotonic() // 60))


@lru_cache(maxsize=1)
def _answers(endpoint: str, minute: int) -> bool:
    from huggingface_hub.utils import get_session

    try:
        get_session().head(endpoint, timeout=TIMEOUT)
    except Exception:  # of whatever client the library has
        return False
    return True


def forbidden() -> str:
    """The switch that forbids to ask the hub; empty if none does. Asked outside of `obeyed`, which sets one."""
    if cache.offline():
        return "LATENTZOO_OFFLINE"
    try:
        from huggingface_hub import constants
    except ImportError:
        return ""
    if not constants.HF_HUB_OFFLINE:
        return ""
    return next((name for name in SWITCHES[:2] if os.environ.get(name)), "HF_HUB_OFFLINE")


def shut() -> bool:
    """Whether nothing can be had of the hub: it is forbidden to ask it, or it does not answer."""
    return bool(forbidden()) or not answers()


def cure() -> str:
    """What to do where something could not be had from the hub."""
    if switch := forbidden():
        return f"unset {switch}"
    return "check the name" if answers() else "check the network: the hub does not answer"


@contextmanager
def obeyed(*, asks: bool = True) -> Iterator[None]:
    """Libraries that are used inside do not reach for the network, if `LATENTZOO_OFFLINE` forbids it.

    Nor for the hub, while it does not answer.

    Arguments:
        asks: Whether the hub may be asked for something inside.
    """
    if not cache.offline() and not (asks and shut()):
        yield
        return
    try:
        import huggingface_hub.constants as hub  # before the switch: it reads it once and for all
    except ImportError:
        hub = None
    switches: dict[str, Any] = dict.fromkeys(SWITCHES, "1")
    before = {name: os.environ.get(name) for name in switches}
    os.environ.update(switches)
    torch_hub = sys.modules.get("torch.hub")
    others = (urllib.request, torch_hub) if cache.offline() else ()
    places: list[tuple[Any, str, Any]] = [(place, "urlopen", _refuse) for place in others]
    places.append((hub, "HF_HUB_OFFLINE", True))
    changed = [(place, name, getattr(place, name), to) for place, name, to in places if place]
    for place, name, _, to in changed:
        setattr(place, name, to)
    try:
        yield
    finally:
        for place, name, old, _ in changed:
            setattr(place, name, old)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _refuse(address: Any, *_: Any, **__: Any) -> NoReturn:
    name = getattr(address, "full_url", address)
    raise OSError(f"LATENTZOO_OFFLINE forbids to reach {name}")
