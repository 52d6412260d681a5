"""Finishes the built site: formulas become MathML, which browsers draw without a script; then all links are checked.

    python tools/site/finish.py site

Exit status 1 and a line for each fault: a link, picture or anchor that leads nowhere, a formula that is not one, or
something that a page would load from elsewhere.
"""

import html
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(span|div) class="arithmatex">(.*?)</\1>', re.DOTALL)
LOADED = {("img", "src"), ("script", "src"), ("link", "href"), ("source", "src"), ("video", "src")}
BASE = "http://site/"


class Page(HTMLParser):
    """What a page says of itself: its anchors, and all that it points to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[tuple[str, str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes an anchor or a link."""
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            if name in ("href", "src") and value is not None:
                self.links.append((tag, name, value))


def formulas(text: str) -> str:
    """A page's HTML with its formulas as MathML."""

    def one(found: re.Match[str]) -> str:
        words = html.unescape(re.sub(r"</?p>", "", found[2])).strip()
        display = "block" if words.startswith(r"\[") else "inline"
        return convert(words[2:-2].strip(), display=display)

    return FORMULA.sub(one, text)


def faults(site: Path) -> Iterator[str]:
    """What is wrong with the links of a site, one line each."""
    pages = {path: Page(path.read_text("utf-8")) for path in site.rglob("*.html")}
    for path, page in pages.items():
        here = path.relative_to(site).as_posix()
        for tag, name, link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if (tag, name) in LOADED and parts.scheme != "data" and "canonical" not in link:
                    yield f"{here}: {link} is loaded from elsewhere"
                continue
            target = urlsplit(urljoin(BASE + here, link))
            file = site / unquote(target.path).lstrip("/")
            file = file / "index.html" if file.is_dir() else file
            if not file.is_file():
                if here != "404.html":
                    yield f"{here}: {link} leads nowhere"
                continue
            anchors = pages[file].anchors | {"__top"} if file in pages else set()
            if target.fragment and anchors and unquote(target.fragment) not in anchors:
                yield f"{here}: {link} has no such anchor"


def main(site: Path) -> int:
    """Finishes a site in place; the number of faults is printed."""
    wrong = []
    for path in site.rglob("*.html"):
        text = path.read_text("utf-8")
        try:
            path.write_text(formulas(text), "utf-8")
        except Exception as error:  # whatever its parser meets
            wrong.append(f"{path}: a formula cannot be read ({error})")
    wrong += faults(site)
    sys.stdout.writelines(f"{line}\n" for line in wrong)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
