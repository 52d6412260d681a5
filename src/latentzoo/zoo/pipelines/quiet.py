"""Keeps diffusers and transformers from talking: the library never prints."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from diffusers.utils import logging as diffusers_log
from transformers.utils import logging as transformers_log

LOGS = (diffusers_log, transformers_log)


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps log lines, progress bars and warnings about old ways of their own from being seen."""
    before = [(log.get_verbosity(), log.is_progress_bar_enabled()) for log in LOGS]
    for log in LOGS:
        log.set_verbosity_error()
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
