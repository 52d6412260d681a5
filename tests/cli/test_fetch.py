"""Files ahead of time, from the command line."""

import pytest
from typer.testing import CliRunner

from latentzoo.cli import app
from latentzoo.hub import package


@pytest.fixture
def fetched(monkeypatch, tmp_path):
    """What was asked of the hub; nothing is downloaded."""
    asked = []

    def fetch(of, progress=None):
        asked.append(of.name)
        return tmp_path

    monkeypatch.setattr(package, "fetch", fetch)
    return asked


def test_generators_and_guides_by_name(fetched, tmp_path):
    done = CliRunner().invoke(app, ["fetch", "dcgan-digiface-64", "face-api"])
    assert done.exit_code == 0, done.output
    assert fetched == ["gan-face-generate", "@vladmandic/face-api"]
    assert done.output.splitlines() == [
        f"{name}: {tmp_path}" for name in ("dcgan-digiface-64", "face-api")
    ]


def test_an_unknown_name_is_one_line(fetched):
    done = CliRunner().invoke(app, ["fetch", "dcgan-digiface-46"])
    assert done.exit_code == 2 and fetched == []
    assert "did you mean 'dcgan-digiface-64'" in done.output and done.output.count("\n") == 1


def test_offline_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("LATENTZOO_CACHE", str(tmp_path))
    monkeypatch.setenv("LATENTZOO_OFFLINE", "1")
    done = CliRunner().invoke(app, ["fetch", "dcgan-digiface-64"])
    assert done.exit_code == 2
    assert "LATENTZOO_OFFLINE forbids" in done.output and done.output.count("\n") == 1
