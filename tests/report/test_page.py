"""The page: complete, self-contained, readable, and without script errors in a real browser."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import latentzoo as lz
from latentzoo.errors import SpecError
from latentzoo.record import spec
from latentzoo.record.folder import save
from latentzoo.report import page
from latentzoo.report.curves import curves
from toys import Affine, Bright

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two finished runs of a toy generator."""
    folder = tmp_path_factory.mktemp("runs")
    for name, weight in (("weak", 1.0), ("strong", 20.0)):
        target = lz.Posterior(Affine(), {"light": weight * Bright()})
        save(lz.sample(target, chains=3, steps=12, kernel="mala"), folder / name)
        record = spec.Run(
            generator="toy <b>&",
            energies=[spec.Term(target="a 'light' face", weight=weight)],
            chains=3,
        )
        (folder / name / "run.yaml").write_text(spec.to_yaml(record))
    return [folder / "weak", folder / "strong"]


class Tags(HTMLParser):
    """Collects the tags of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_a_page_is_complete_and_loads_nothing(runs: list[Path], tmp_path: Path) -> None:
    text = page.write(runs, tmp_path / "page.html").read_text()
    tags = Tags(text).tags
    images = [attributes for tag, attributes in tags if tag == "img"]
    assert len(images) == 2 * 3 * 2  # runs, chains, before and after
    assert all(
        image["alt"] and (image["src"] or "").startswith("data:image/png") for image in images
    )
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert "a &#39;light&#39; face" in text and "toy &lt;b&gt;&amp;" in text
    for word in ("strong", "What the sample is worth", "generator:", "polyline"):
        assert word in text


def test_a_folder_without_a_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="there is no"):
        page.write([tmp_path], tmp_path / "page.html")


def test_curves_leave_out_what_is_not_finite() -> None:
    values = np.array([[1.0, 2.0], [np.nan, 3.0], [2.0, np.inf]])
    svg = curves(values[:, :1], title="x")
    assert svg.count("<polyline") == 2 and "nan" not in svg
    assert curves(np.full((3, 2), np.nan), title="x") == ""


def test_curves_rise_where_values_do() -> None:
    svg = curves(np.array([[1.0], [5.0]]), title="x")
    (first, last) = re.findall(r'class="mean" points="[\d.]+,([\d.]+) [\d.]+,([\d.]+)"', svg)[0]
    assert float(last) < float(first)  # SVG counts from the top


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine; .ci/run installs it")
@pytest.mark.parametrize("width", [400, 1200])
def test_in_a_browser(runs: list[Path], tmp_path: Path, width: int) -> None:
    """No script error, nothing wider than the window, and a click enlarges a picture."""
    path = page.write(runs, tmp_path / "page.html")
    probe = """<script>
      window.onerror = message => document.title = "ERROR " + message;
      window.addEventListener("load", () => {
        document.querySelector(".pair").click();
        const open = document.querySelector("dialog").open, wide = document.documentElement.scrollWidth;
        if (!document.title.startsWith("ERROR"))
          document.title = `open=${open} images=${document.querySelectorAll("dialog img").length} wide=${wide}`;
      });
    </script></head>"""
    path.write_text(path.read_text().replace("</head>", probe))
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    flags += f" --disable-component-update --disable-sync --user-data-dir={tmp_path / 'chrome'}"
    done = subprocess.run(
        [str(CHROMIUM), *flags.split(), f"--window-size={width},900", "--dump-dom", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    found = re.search(r"<title>(.*?)</title>", done.stdout)
    assert found, done.stderr[-500:]
    seen = re.fullmatch(r"open=true images=2 wide=(\d+)", found[1])
    assert seen, found[1]
    assert int(seen[1]) <= max(width, 500)  # Chromium's windows are at least 500 wide
