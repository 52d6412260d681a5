"""The peak memory of a program, for the benchmarks that start one per case."""

import re
from pathlib import Path


def held() -> float:
    """The largest resident set of this program so far in MB (Linux).

    `getrusage` would begin with the peak of the process that started this one.
    """
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else float("nan")
