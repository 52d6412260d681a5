"""With LATENTZOO_OFFLINE no library reaches for the network: a server on this machine is asked by none."""

import os
import socket
import subprocess
import sys
import textwrap
import threading
import urllib.request
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from latentzoo.hub import offline

DOORS = {
    "a file of a hub": "lz.load('hf://owner/name/weights.pt')",
    "a repository": "lz.load('owner/name')",
    "an address": "lz.load('https://example.com/weights.pt')",
    "a text-image model": "lz.Clip('a hat', 'owner/name')",
    "a classifier": "load('attribute', 'cat', model='owner/name')",
    "a reward": "load('reward', 'a hat', model='owner/name')",
    "timm": "load('attribute', 'cat', model='timm:resnet18')",
    "open_clip": "lz.Clip('a hat', 'open_clip:ViT-B-32:openai')",
    "lpips": "perceptual.load('--lpips')",
}
"""What reaches for the network, each with a name that is in no cache."""

LIBRARIES = {
    "timm": """
        from huggingface_hub import hf_hub_download
        def create_model(name, pretrained):
            hf_hub_download('timm/' + name, 'model.safetensors')
        """,
    "open_clip": """
        import urllib.request
        def create_model_and_transforms(model, pretrained):
            try:
                urllib.request.urlopen('http://example.com/' + model)
            except OSError as error:
                raise RuntimeError('Model config not found') from error
        """,
    "lpips": """
        import torch
        def LPIPS(net, verbose):
            torch.hub.load_state_dict_from_url('http://example.com/vgg.pth')
        """,
}
"""What these libraries do where they are not installed: the calls by which they fetch."""


class Counting(BaseHTTPRequestHandler):
    asked: list[str] = []

    def do_GET(self):
        self.asked.append(self.path)
        self.send_error(404)

    do_HEAD = do_CONNECT = do_POST = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Counting)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def run(code, server, folder, **environment):
    """Runs code in a process whose every way to the network is the server."""
    for name, text in LIBRARIES.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), server)
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "LATENTZOO"))}
    paths = os.pathsep.join([str(folder), *sys.path])
    own = {"HF_ENDPOINT": server, "HF_HOME": str(folder / "hf"), "TORCH_HOME": str(folder / "t")}
    own |= {"LATENTZOO_CACHE": str(folder / "cache"), "PYTHONPATH": paths, "NO_PROXY": ""}
    command = [sys.executable, "-c", code]
    environment = {**inherited, **proxies, **own, **environment}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


TRY = """
import time, latentzoo as lz
from latentzoo.energies import load
from latentzoo.errors import LatentzooError
from latentzoo.guides import perceptual
for name, call in {doors!r}.items():
    start = time.perf_counter()
    try:
        eval(call)
        print(name, 'loaded')
    except LatentzooError as error:
        assert '\\n' not in str(error) and time.perf_counter() - start < 60, name
        print(name, '|', error)
"""


def test_nothing_is_asked_of_the_network(server, tmp_path):
    Counting.asked.clear()
    done = run(TRY.format(doors=DOORS), server, tmp_path, LATENTZOO_OFFLINE="1")
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert [line.split(" | ")[0] for line in lines] == list(DOORS), done.stdout
    assert all("LATENTZOO_OFFLINE" in line for line in lines), done.stdout
    assert Counting.asked == []


@pytest.mark.parametrize("switch", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_the_switches_of_the_hub_itself_are_named(switch, server, tmp_path):
    """The network is well: to check it is no cure."""
    Counting.asked.clear()
    names = ("a file of a hub", "a repository", "a text-image model", "a classifier", "timm")
    done = run(TRY.format(doors={n: DOORS[n] for n in names}), server, tmp_path, **{switch: "1"})
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert [line.split(" | ")[0] for line in lines] == list(names)
    cures = (f"unset {switch}", f"{switch} forbids to download")
    assert all(any(cure in line for cure in cures) for line in lines), done.stdout
    assert Counting.asked == []


def test_the_server_would_have_been_asked(server, tmp_path):
    """The same doors, open: so the count above counts."""
    Counting.asked.clear()
    few = {name: DOORS[name] for name in ("a text-image model", "timm", "lpips")}
    run(TRY.format(doors=few), server, tmp_path)
    asked = " ".join(Counting.asked)
    assert "owner/name" in asked and "timm/resnet18" in asked and "vgg.pth" in asked


def test_others_in_the_process_keep_their_network(monkeypatch):
    hub = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(offline, "answers", lambda: True)
    before = hub.HF_HUB_OFFLINE, urllib.request.urlopen, dict(os.environ)
    with offline.obeyed():
        assert (hub.HF_HUB_OFFLINE, urllib.request.urlopen, dict(os.environ)) == before
    monkeypatch.setenv("LATENTZOO_OFFLINE", "1")
    with (
        pytest.raises(OSError, match="LATENTZOO_OFFLINE forbids to reach http://x"),
        offline.obeyed(),
    ):
        assert hub.HF_HUB_OFFLINE and os.environ["HF_HUB_OFFLINE"] == "1"
        urllib.request.urlopen("http://x")
    monkeypatch.delenv("LATENTZOO_OFFLINE")
    assert (hub.HF_HUB_OFFLINE, urllib.request.urlopen, dict(os.environ)) == before


def test_a_hub_that_does_not_answer_is_no_reason_to_forbid_other_places(monkeypatch):
    hub = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(offline, "answers", lambda: False)
    monkeypatch.delenv("LATENTZOO_OFFLINE", raising=False)
    before = urllib.request.urlopen
    with offline.obeyed():
        assert hub.HF_HUB_OFFLINE and urllib.request.urlopen is before
    with offline.obeyed(asks=False):
        assert not hub.HF_HUB_OFFLINE


@pytest.fixture
def silent():
    """A place that accepts and says nothing: its address, and a list with an entry for each who came."""
    came = []
    place = socket.create_server(("127.0.0.1", 0))

    def serve():
        with suppress(OSError):  # closed by the test's end
            while True:
                place.accept()[0].close()
                came.append(1)

    threading.Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{place.getsockname()[1]}", came
    place.close()


def test_a_hub_that_does_not_answer_is_not_asked_again_and_again(silent, tmp_path):
    pytest.importorskip("huggingface_hub")
    address, came = silent
    names = ("a file of a hub", "a repository", "a text-image model", "a classifier", "timm")
    run_alone = {"HTTP_PROXY": "", "HTTPS_PROXY": "", "http_proxy": "", "https_proxy": ""}
    done = run(TRY.format(doors={n: DOORS[n] for n in names}), address, tmp_path, **run_alone)
    assert done.returncode == 0, done.stderr[-2000:]
    assert [line.split(" | ")[0] for line in done.stdout.splitlines()] == list(names)
    assert (
        1 <= len(came) <= 2
    )  # 2 where a minute ends meanwhile; six for each of many files otherwise
    assert "cannot be reached" in done.stdout and "the hub does not answer" in done.stdout
