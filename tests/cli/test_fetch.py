"""Files ahead of time, from the command line."""

import zipfile
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from latentzoo.cli import app
from latentzoo.hub import client


@pytest.fixture
def fetched(monkeypatch, tmp_path):
    """What was asked of the hub; nothing is downloaded."""
    asked = []

    def fetch(of, progress=None):
        asked.append(of.name)
        return tmp_path

    monkeypatch.setattr(client, "fetch", fetch)
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


@pytest.mark.parametrize("change", [{}, {"size": 7}, {"version": "2.0"}])
def test_another_package_than_the_cards_is_one_line(change, monkeypatch, tmp_path):
    cache = tmp_path / "cache"
    monkeypatch.setenv("LATENTZOO_CACHE", str(cache))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with zipfile.ZipFile(tmp_path / "gan_face_generate-1.1.1-py3-none-any.whl", "w") as wheel:
        wheel.writestr(
            "gan_face_generate-1.1.1.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: gan-face-generate\nVersion: 1.1.1\n",
        )
    fetch = client.fetch
    monkeypatch.setattr(
        client, "fetch", lambda of, progress=None: fetch(replace(of, **change), progress)
    )
    done = CliRunner().invoke(app, ["fetch", "dcgan-digiface-64"])
    assert done.exit_code == 2 and done.output.count("\n") == 1, done.output
    assert "gan-face-generate" in done.output and "://" not in done.output
    assert not [p for p in cache.rglob("*") if p.is_file() and p.suffix != ".lock"]
