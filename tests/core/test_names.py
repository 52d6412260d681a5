"""The public names: each is there, is documented, and needs nothing heavy before it is used."""

import inspect
import subprocess
import sys

import pytest

import latentzoo as lz


@pytest.mark.parametrize("name", lz.__all__)
def test_a_public_name_is_there_and_documented(name: str) -> None:
    thing = getattr(lz, name)
    assert thing.__name__ == name and thing.__module__.startswith("latentzoo.")
    assert inspect.getdoc(thing)


def test_the_names_of_the_readme_are_there() -> None:
    assert {"Posterior", "check", "load", "names", "open", "sample", "save"} <= set(lz.__all__)
    with pytest.raises(AttributeError, match="smaple"):
        lz.smaple  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]


def test_the_package_is_imported_without_torch() -> None:
    code = "import latentzoo, sys; latentzoo.names(); print({'torch', 'numpy'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
