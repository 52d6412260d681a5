"""Keeps diffusers and transformers from talking: the library never prints."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from diffusers.utils import logging as diffusers_log
from transformers.utils import logging as transformers_log

LOGS = (diffusers_log, transformers_log)


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps log lines, progress bars and warnings about old ways of their own from being seen.

    Lines about errors too: what is wrong is raised as well, and said once.
    """
    before = [(log.get_verbosity(), log.is_progress_bar_enabled()) for log in LOGS]
    for log in LOGS:
        log.set_verbosity(logging.CRITICAL)
        log.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            for kind in (FutureWarning, DeprecationWarning):
                warnings.simplefilter("ignore", kind)
            yield
    finally:
        for log, (verbosity, bars) in zip(LOGS, before, strict=True):
            log.set_verbosity(verbosity)
            if bars:
                log.enable_progress_bar()


@contextmanager
def heard() -> Iterator[list[str]]:
    """Collects what diffusers warns of in its log, and lets nothing of it be seen."""
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())
    before = diffusers_log.get_verbosity()
    diffusers_log.disable_default_handler()
    diffusers_log.add_handler(handler)
    diffusers_log.set_verbosity_warning()
    try:
        yield said
    finally:
        diffusers_log.set_verbosity(before)
        diffusers_log.remove_handler(handler)
        diffusers_log.enable_default_handler()
