"""Downloads from a server on this machine: resumed, verified, recorded, and refused offline."""

import hashlib
import shutil
import threading
import zipfile
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from safetensors.torch import save_file

from latentzoo.errors import CheckpointError
from latentzoo.hub import cache, fetch
from latentzoo.hub.read import read

CONTENT = bytes(range(256)) * 4000


class Server(ThreadingHTTPServer):
    """Serves `content`; breaks the connection after `cut` bytes; remembers what it was asked."""

    content, cut, tag, kind, status = CONTENT, None, '"one"', "application/octet-stream", None
    ranges_allowed = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = []
        self.url = f"http://127.0.0.1:{self.server_port}/weights/model%20a.pt"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        wanted = self.headers.get("Range")
        server.asked.append(wanted)
        if server.status:
            self.send_error(server.status)
            return
        start = 0
        current = self.headers.get("If-Range") in (None, server.tag)
        if wanted and server.ranges_allowed and current:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(server.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(server.content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            last = len(server.content) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{len(server.content)}")
        else:
            self.send_response(200)
        body = server.content[start:]
        self.send_header("Content-Type", server.kind)
        self.send_header("Content-Length", str(len(body)))
        if server.tag:
            self.send_header("ETag", server.tag)
        self.end_headers()
        cut, server.cut = server.cut, None
        self.wfile.write(body[:cut])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(own_cache, monkeypatch):
    monkeypatch.setattr(fetch, "PAUSE", 0.0)
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_download_once_and_then_from_the_cache(server):
    told = []
    path = fetch.fetch(server.url, progress=lambda done, total: told.append((done, total)))
    assert path.read_bytes() == CONTENT and path.name == "model_a.pt"
    assert told[-1] == (len(CONTENT), len(CONTENT)) and told == sorted(told)
    assert fetch.fetch(server.url) == path == fetch.local(server.url)
    assert len(server.asked) == 1
    assert {p.name for p in path.parent.iterdir()} <= {"model_a.pt", "model_a.pt.lock"}


def test_a_broken_connection_is_resumed_where_it_broke(server):
    server.cut = 100_000
    assert fetch.fetch(server.url).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=100000-"]


def interrupted(server, monkeypatch, at=100_000):
    """A download that is given up after one broken connection, as by a kill."""
    server.cut = at
    with monkeypatch.context() as patch:
        patch.setattr(fetch, "ATTEMPTS", 1)
        with pytest.raises(fetch.DownloadError, match="try again"):
            fetch.fetch(server.url)
    server.asked.clear()
    assert fetch.local(server.url) is None


def test_the_next_process_goes_on(server, monkeypatch):
    interrupted(server, monkeypatch)
    assert fetch.fetch(server.url).read_bytes() == CONTENT
    assert server.asked == ["bytes=100000-"]


def test_two_versions_are_never_spliced(server, monkeypatch):
    interrupted(server, monkeypatch)
    server.content, server.tag = CONTENT[::-1], '"two"'
    assert fetch.fetch(server.url).read_bytes() == CONTENT[::-1]


def test_without_a_version_the_download_begins_again(server, monkeypatch):
    server.tag = None
    interrupted(server, monkeypatch)
    assert fetch.fetch(server.url).read_bytes() == CONTENT
    assert server.asked == [None]


def test_a_server_without_ranges(server, monkeypatch):
    server.ranges_allowed = False
    interrupted(server, monkeypatch)
    assert fetch.fetch(server.url).read_bytes() == CONTENT


def test_a_part_that_is_whole_already(server, monkeypatch):
    interrupted(server, monkeypatch)
    part = cache.place(server.url).with_name("model_a.pt.part")
    part.write_bytes(CONTENT)
    assert fetch.fetch(server.url).read_bytes() == CONTENT


def test_wrong_hash_leaves_nothing(server):
    right = hashlib.sha256(CONTENT).hexdigest()
    with pytest.raises(CheckpointError, match=f"sha256 {right}.*its card says {'0' * 64}"):
        fetch.fetch(server.url, sha256="0" * 64)
    assert fetch.local(server.url) is None
    assert not list(cache.folder().rglob("*.part*"))
    assert fetch.fetch(server.url, sha256=right.upper()).read_bytes() == CONTENT


def test_the_first_hash_is_recorded_and_must_match_from_then_on(server):
    path = fetch.fetch(server.url)
    assert cache.recorded(server.url) == hashlib.sha256(CONTENT).hexdigest()
    path.unlink()
    server.content, server.tag = CONTENT[::-1], '"two"'
    with pytest.raises(CheckpointError, match="noted at the first download"):
        fetch.fetch(server.url)
    assert fetch.local(server.url) is None


def test_a_file_that_changed_in_the_cache(server):
    path = fetch.fetch(server.url)
    data = bytearray(path.read_bytes())
    data[77] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="damaged or was exchanged"):
        fetch.fetch(server.url)


@pytest.mark.parametrize("content", ["", "\n", "half"])
def test_a_record_that_was_interrupted_is_none(server, content):
    path = fetch.fetch(server.url)
    cache.record(server.url).write_text(content)
    assert fetch.fetch(server.url) == path
    assert cache.recorded(server.url) == hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize("note", ["", '{"http', "[]"])
def test_a_note_that_was_interrupted_is_none(server, monkeypatch, note):
    interrupted(server, monkeypatch)
    cache.place(server.url).with_name("model_a.pt.part.json").write_text(note)
    assert fetch.fetch(server.url).read_bytes() == CONTENT


def test_mirrors(server):
    gone = server.url.replace(str(server.server_port), "1")
    assert fetch.fetch(gone, mirrors=(server.url,)).read_bytes() == CONTENT
    assert cache.recorded(gone) is not None


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (403, 1), (503, fetch.ATTEMPTS)])
def test_refusals_are_named_and_only_passing_ones_tried_again(server, status, requests):
    server.status = status
    with pytest.raises(fetch.DownloadError, match=str(status)):
        fetch.fetch(server.url)
    assert len(server.asked) == requests


def test_a_web_page_is_not_weights(server):
    server.kind = "text/html; charset=utf-8"
    with pytest.raises(fetch.DownloadError, match="a web page and no file"):
        fetch.fetch(server.url)


def test_offline(server, monkeypatch):
    path = fetch.fetch(server.url)
    monkeypatch.setenv("LATENTZOO_OFFLINE", "1")
    assert fetch.fetch(server.url) == path
    path.unlink()
    with pytest.raises(fetch.DownloadError, match="LATENTZOO_OFFLINE"):
        fetch.fetch(server.url)
    with pytest.raises(fetch.DownloadError, match="LATENTZOO_OFFLINE"):
        fetch.fetch("hf://owner/repo/file.safetensors")
    assert len(server.asked) == 1


def test_one_downloads_and_the_others_wait(server):
    server.content = CONTENT * 8
    paths = []
    threads = [
        threading.Thread(target=lambda: paths.append(fetch.fetch(server.url))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.asked) == 1 and len(set(paths)) == 1 and len(paths) == 4


def test_a_member_of_an_archive(server, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("ldm/model.ckpt", b"weights")
    server.content = (tmp_path / "a.zip").read_bytes()
    url = server.url.replace("model%20a.pt", "models.zip")
    assert fetch.fetch(f"{url}#ldm/model.ckpt").read_bytes() == b"weights"


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x/y", "data:,x"])
def test_other_schemes(own_cache, url):
    with pytest.raises(fetch.DownloadError, match="not an address"):
        fetch.fetch(url)


@pytest.mark.parametrize(
    "name", ["../../x.pt", "%2e%2e%2fx", "..", "", ".hidden", "a/b?c=d", "\u202e.pt"]
)
def test_names_stay_inside_of_the_cache(own_cache, name):
    place = cache.place(f"https://host/{name}")
    assert place.parent.parent == cache.folder() / "files" and not place.name.startswith(".")


@pytest.mark.parametrize("ending", ["bin", "safetensors"])
def test_a_repository_is_brought_with_pickles_only_where_it_has_nothing_else(
    own_cache, tmp_path, monkeypatch, ending
):
    """As google/ncsnpp-*, which has no safetensors; its pickle goes through the safe reader."""
    repository, snapshot = tmp_path / "repository", tmp_path / "snapshot"
    repository.mkdir()
    (repository / "config.json").write_text('{"sample_size": 8}')
    torch.save({"conv.weight": torch.ones(2)}, repository / "diffusion_pytorch_model.bin")
    torch.save({"step": 1}, repository / "optimizer.bin")
    if ending == "safetensors":
        save_file(
            {"conv.weight": torch.ones(2)}, repository / "diffusion_pytorch_model.safetensors"
        )

    def download(repo, *, allow_patterns, **options):
        snapshot.mkdir(exist_ok=True)
        for file in repository.iterdir():
            if any(fnmatch(file.name, pattern) for pattern in allow_patterns):
                shutil.copy(file, snapshot)
        return str(snapshot)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    folder = fetch.from_hub("hf://google/ncsnpp")
    assert {f.name for f in folder.iterdir()} == {
        "config.json",
        f"diffusion_pytorch_model.{ending}",
    }
    assert read(folder).tensors["conv.weight"].tolist() == [1, 1]


def test_settings_that_another_program_left_in_the_cache_are_no_repository(
    own_cache, tmp_path, monkeypatch
):
    monkeypatch.setenv("LATENTZOO_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(tmp_path))
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text("{}")
    with pytest.raises(fetch.DownloadError, match="LATENTZOO_OFFLINE forbids to download it"):
        fetch.from_hub("hf://me/cats")
    assert fetch.local("hf://me/cats") is None
    save_file({"a": torch.ones(2)}, tmp_path / "unet" / "diffusion_pytorch_model.safetensors")
    assert fetch.from_hub("hf://me/cats") == tmp_path
