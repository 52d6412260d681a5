"""The tools of the site find what is wrong, and turn every formula into MathML."""

import json
import re
import sys
from pathlib import Path

import pytest

import latentzoo
from latentzoo import energies, kernels

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools" / "site"))
pytest.importorskip("latex2mathml")
finish = pytest.importorskip("finish")

RIGHT = '<h1 id="top">x</h1><a href="#top">x</a><a href="b/">b</a><img src="p.png">'


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "b").mkdir()
    (tmp_path / "p.png").touch()
    (tmp_path / "b" / "index.html").write_text(
        '<p id="here">x</p><a href="../index.html#top">x</a>'
    )
    (tmp_path / "index.html").write_text(RIGHT)
    return tmp_path


def test_a_whole_site_has_no_fault(site: Path) -> None:
    assert finish.main(site) == 0


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ('<a href="c/">c</a>', "c/ leads nowhere"),
        ('<img src="q.png">', "q.png leads nowhere"),
        ('<a href="b/#there">c</a>', "no such anchor"),
        ('<script src="https://cdn.example/x.js"></script>', "loaded from elsewhere"),
        ('<span class="arithmatex">\\(a_b_c\\)</span>', "a formula"),
    ],
)
def test_a_fault_is_found(
    site: Path, fault: str, said: str, capsys: pytest.CaptureFixture
) -> None:
    (site / "index.html").write_text(RIGHT + fault)
    assert finish.main(site) == 1 and said in capsys.readouterr().out


def test_formulas_are_drawn_without_a_script() -> None:
    page = finish.formulas(
        '<div class="arithmatex">\\[p(z) \\propto e^{-\\phi(z)}\\]</div>a<span class="arithmatex">\\(x &lt; 1\\)</span>'
    )
    assert page.count("<math") == 2 and 'display="block"' in page and "arithmatex" not in page


def test_docstrings_become_markdown() -> None:
    pytest.importorskip("griffe")
    docstrings = pytest.importorskip("docstrings")
    text = "A map.\n\n.. math:: x = G(z),\n    \\quad z\n\nwith :math:`z`.\n\n    | A paper\n"
    assert docstrings.shown(text) == "A map.\n\n$$x = G(z), \\quad z$$\n\nwith $z$.\n\n    A paper"


def test_the_notebook_is_the_tutorial_that_another_test_runs() -> None:
    notebook = pytest.importorskip("notebook", exc_type=ImportError)
    docs = Path(__file__).resolve().parents[2] / "docs"
    page = (docs / "tutorials" / "first-run.md").read_text()
    text = (docs / "first-run.ipynb").read_text()
    assert text == notebook.notebook(page), "python tools/site/notebook.py makes it again"
    codes = ["".join(c["source"]) for c in json.loads(text)["cells"] if c["cell_type"] == "code"]
    asked = [
        code.strip()
        for code in re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    ]
    assert [
        code for code in codes if not code.startswith("!")
    ] == asked and '"outputs": []' in text


def shown() -> list[str]:
    """What the API reference shows, by whole name."""
    api = Path(__file__).resolve().parents[2] / "docs" / "api"
    return [
        name
        for page in api.glob("*.md")
        for name in re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE)
    ]


def test_the_reference_has_every_public_name() -> None:
    stub = Path(latentzoo.__file__).with_suffix(".pyi").read_text()
    public = [
        f"latentzoo.{m}.{n}" for m, n in re.findall(r"^from \.([\w.]+) import (\w+)", stub, re.M)
    ]
    public += [f"latentzoo.kernels.{k}.{type(kernels.load(k)).__name__}" for k in kernels.known()]
    assert len(public) > 50
    for name in public:
        module = name.rpartition(".")[0]
        assert name in shown() or module in shown(), name
    for kind in energies.known():
        assert any(name.startswith(f"latentzoo.energies.{kind}") for name in shown()), kind


def test_the_gallery_shows_what_its_commands_make_and_is_small() -> None:
    gallery = pytest.importorskip("gallery", exc_type=ImportError)
    docs = Path(__file__).resolve().parents[2] / "docs"
    page, pictures = (docs / "gallery.md").read_text(), docs / "images" / "gallery"
    entries = gallery.entries(page)
    assert len(entries) == page.count("](images/gallery/") > 5
    assert {f"{name}.webp" for name, _ in entries} == {path.name for path in pictures.iterdir()}
    assert sum(path.stat().st_size for path in pictures.iterdir()) < 1e6
    assert all(words[0] == "latentzoo" for _, commands in entries for words in commands)
