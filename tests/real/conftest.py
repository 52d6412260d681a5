"""The real networks, from the packages of registries: fetched once into the user's cache, run by `make real`."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))


def pytest_collection_modifyitems(items):
    """Marks every test of this folder."""
    for item in items:
        if HERE in Path(item.fspath).parents:
            item.add_marker("real")
