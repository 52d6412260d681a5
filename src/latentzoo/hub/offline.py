"""`LATENTZOO_OFFLINE` for the libraries that have a network of their own.

huggingface_hub (under transformers, diffusers, timm and open_clip) has a switch; what fetches by `urllib` (torch.hub,
under lpips and torchvision, and open_clip) has none, and is refused its addresses. Both hold inside of `obeyed` only,
so that others in this process keep their network.
"""

import os
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from latentzoo.hub import cache

SWITCHES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY")
"""What these libraries read when they are imported."""


@contextmanager
def obeyed() -> Iterator[None]:
    """Libraries that are used inside do not reach for the network, if `LATENTZOO_OFFLINE` forbids it."""
    if not cache.offline():
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
    places: list[tuple[Any, str, Any]] = [
        (place, "urlopen", _refuse) for place in (urllib.request, torch_hub)
    ]
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
