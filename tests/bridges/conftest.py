"""Lets the tests import the tiny pipelines of the zoo's tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "zoo" / "pipelines"))
