"""The page in a real Chromium, used as a person would use it. Skipped where there is none."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio", reason="gradio is not installed")
driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = [
    pytest.mark.slow,  # a browser and a server race here: on a busy machine minutes
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium"),
]
LONG = 240_000
PEOPLE = Path(__file__).parents[2] / "experiments" / "people"


def free() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def served(folder: Path, port: int, *more: str, **environment: str) -> subprocess.Popen:
    words = [
        "app",
        str(folder / "runs"),
        "--port",
        str(port),
        "--steps",
        "400",
        "--chains",
        "4",
        "--device",
        "cpu",
        *more,
    ]
    quiet = {**os.environ, "LATENTZOO_OFFLINE": "1", "HF_HUB_OFFLINE": "1", **environment}
    return subprocess.Popen(
        [sys.executable, "-m", "latentzoo", *words],
        cwd=folder,
        env=quiet,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder, port = tmp_path_factory.mktemp("app"), free()
    process = served(folder, port)
    line = process.stdout.readline()
    assert line.startswith(f"http://127.0.0.1:{port}"), line + process.stdout.read()
    yield f"http://127.0.0.1:{port}", folder / "runs"
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    process.stdout.close()


@pytest.fixture
def page(server: tuple[str, Path]) -> Iterator:
    """A page of its own, which must make no script error, and load nothing from elsewhere."""
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.set_default_timeout(LONG)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        local = re.compile(r"(http://127\.0\.0\.1|data:|blob:)")
        page.on("request", lambda r: None if local.match(r.url) else errors.append(r.url))
        page.goto(server[0])
        page.wait_for_selector("#start")
        yield page
        browser.close()
        # a page that is loaded again cuts off the stream of events, and gradio says so there
        assert [e for e in errors if "AbortError" not in e and "errored out" not in e] == []


def now(page) -> str:
    return page.locator("#now textarea").input_value()


def until(what, seconds: float = 200) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


def begin(page, text: str, steps: int) -> None:
    page.locator("#texts textarea").fill(text)
    for name, number in (("chains", 2), ("steps", steps)):
        box = page.locator(f"#{name} input[type=number]")
        box.fill(str(number))
        box.blur()
    page.locator("#start").click()


def test_a_person_guides_stops_goes_on_and_downloads(
    page, server: tuple[str, Path], tmp_path: Path
) -> None:
    begin(page, "a person with sunglasses and a hat", steps=200)
    pictures: set[str] = set()

    def moved() -> bool:
        shown = page.locator("#chains-now img")
        pictures.update([shown.first.get_attribute("src")] if shown.count() else [])
        return len(pictures) >= 2

    until(moved)
    assert now(page).startswith("step ") and page.locator("#curves svg polyline").count() == 3
    page.locator("#stop").click()
    until(lambda: "stopped at step" in now(page))
    assert page.locator("#pairs img").count() == 4
    until(
        lambda: page.locator("#runs input").input_value() != ""
    )  # the list has it, and chooses it
    page.locator("#more").click()
    until(lambda: "finished" in now(page), seconds=900)
    assert "to tell" in page.locator("#verdict textarea").input_value()
    assert "latentzoo sample avatar-turbo" in page.locator("#command").inner_text()
    with page.expect_download() as download:
        page.locator("#download a").first.click()
    download.value.save_as(tmp_path / "run.zip")
    names = zipfile.ZipFile(tmp_path / "run.zip").namelist()
    assert any(name.endswith("report.html") for name in names)


def test_a_page_that_is_loaded_again_ends_its_run_and_finds_it(
    page, server: tuple[str, Path]
) -> None:
    begin(page, "a person with a beard", steps=400)
    until(lambda: now(page).startswith("step "))
    page.reload()
    page.wait_for_selector("#start")
    assert now(page) == ""
    begin(page, "a person with a beard and no known wordzz", steps=2)
    until(lambda: "finished" in now(page))
    assert "wordzz" in now(page)  # what was not understood is said


def test_two_starts_at_once_and_a_closed_tab(page, server: tuple[str, Path]) -> None:
    other = page.context.browser.new_page()
    other.goto(server[0])
    other.wait_for_selector("#start")
    begin(other, "a person with a hat", steps=400)
    until(lambda: now(other).startswith("step "))
    begin(page, "a person with a beard", steps=2)  # two starts at once: it waits
    page.locator("#start").click()  # and a second press is no second run
    time.sleep(1)
    assert not now(page).startswith("step ")
    other.close()
    until(lambda: "finished" in now(page))
    page.locator("#runs input").click()
    names = page.get_by_role("option").all_inner_texts()
    (left,) = [name for name in names if "a-person-with-a-hat" in name]
    assert len([name for name in names if "a-person-with-a-beard" in name]) <= 2
    page.get_by_role("option", name=left).click()
    page.locator("#look").click()
    until(lambda: f"{left}: stopped" in now(page))


def upload(page, place: str, path: Path | str) -> None:
    page.locator(f"#{place} input[type=file]").set_input_files(str(path))


def choose(page, place: str, name: str) -> None:
    page.locator(f"#{place} input").click()
    page.get_by_role("option", name=name, exact=True).click()


def test_an_upload_that_is_no_picture_is_one_line(page, tmp_path: Path) -> None:
    text, huge = tmp_path / "text.png", tmp_path / "huge.png"
    text.write_text("hello")
    Image.new("1", (20_000, 20_000)).save(huge)  # 400 megapixels in 50 kB
    upload(page, "upload", text)
    until(lambda: "no readable picture" in now(page))
    upload(page, "upload", huge)
    until(lambda: "far more megapixels than the 24" in now(page))
    begin(page, "a hat", steps=2)  # it is no start of a run either
    until(lambda: "far more megapixels than the 24" in now(page))


def test_a_mask_is_painted_and_the_picture_completed(page, server: tuple[str, Path]) -> None:
    upload(page, "upload", PEOPLE / "iris.png")
    choose(page, "use", "what is painted over is missing")
    mask = page.locator("#mask")
    mask.scroll_into_view_if_needed()
    box = mask.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 4)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 4, steps=20)
    page.mouse.up()
    mask.focus()
    for key in ("ArrowDown", "ArrowDown", "Space"):  # a dot below the middle, by keyboard
        page.keyboard.press(key)
    begin(page, "", steps=2)
    until(lambda: "finished" in now(page))
    kept = sorted((server[1] / "pictures").glob("*.png"), key=lambda p: p.stat().st_mtime)[-1]
    alpha = np.asarray(Image.open(kept))[:, :, 3]
    assert alpha.shape == (64, 64) and not alpha[16, 16:32].any() and not alpha[40, 32]
    assert alpha[0, 0] == 255 and (alpha == 0).mean() < 0.2


def test_one_picture_is_turned_and_followed_by_more_like_it(page) -> None:
    choose(page, "generator", "avatar-3d")
    begin(page, "", steps=2)
    chosen = lambda: page.locator("#runs input").input_value()
    until(lambda: "finished" in now(page) and "avatar-3d" in chosen())
    page.locator("#turn").click()
    orbit = page.locator(".orbit")
    orbit.scroll_into_view_if_needed()
    at = lambda: int(orbit.get_attribute("aria-valuenow"))
    middle, box = at(), orbit.bounding_box()
    shown = orbit.locator("img:visible").get_attribute("src")
    page.mouse.move(box["x"] + 150, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 20, box["y"] + 50, steps=5)
    page.mouse.up()
    assert at() < middle and orbit.locator("img:visible").get_attribute("src") != shown
    turned = at()
    page.keyboard.press("ArrowRight")
    assert at() == turned + 1
    page.locator("#like").click()
    until(lambda: "asked for nothing" in now(page))
    choose(page, "generator", "avatar-turbo")
    begin(page, "a person with a hat", steps=3)
    until(lambda: "finished" in now(page) and "avatar-turbo" in chosen())
    page.locator("#pairs button").nth(3).click()
    until(lambda: page.locator("#chain input").input_value() == "1")
    page.locator("#like").click()
    until(lambda: "like-1-of-avatar-turbo" in now(page))
    assert "--kernel mala" in page.locator("#command").inner_text()


def test_runs_are_compared_side_by_side(page) -> None:
    begin(page, "a person with glasses", steps=2)
    until(lambda: "finished" in now(page))
    page.get_by_role("tab", name="Runs").click()
    page.locator("#gallery button").first.click()
    until(lambda: "glasses" in page.locator("#left input").input_value())
    page.locator("#right input").click()
    page.get_by_role("option").last.click()
    until(lambda: page.locator("#right-image img").count() == 1)
    assert page.locator("#left-image img").count() == 1
    until(lambda: "to tell" in page.locator("#left-verdict textarea").input_value())


def test_a_picture_is_translated(page) -> None:
    page.get_by_role("tab", name="Translate").click()
    words = page.locator("#translating textarea")
    page.locator("#translate").click()
    until(lambda: "drop one" in words.input_value())
    upload(page, "world", PEOPLE / "iris.png")
    page.locator("#world img").wait_for()
    page.locator("#translate").click()
    until(lambda: words.input_value() == "done")
    assert page.locator("#translated img").count() == 2


@pytest.mark.parametrize(
    ("text", "said"), [("x" * 10_000, "10000 letters"), ("zzz qqq", "no word of the text")]
)
def test_a_mistake_is_one_line(page, text: str, said: str) -> None:
    begin(page, text, steps=2)
    until(lambda: now(page) not in ("", "loading the networks ..."))
    assert said in now(page) and "\n" not in now(page)


def test_narrow_and_by_keyboard_alone(page) -> None:
    page.set_viewport_size({"width": 400, "height": 800})
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 400
    page.locator("#texts textarea").focus()
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "start":
            break
    assert page.evaluate("document.activeElement.id") == "start"


def test_files_of_the_machine_are_not_served(server: tuple[str, Path]) -> None:
    import httpx

    address, runs = server
    for place in ("/etc/passwd", runs.parent / "x", runs, runs / "run.yaml", "../../etc/passwd"):
        for route in ("file=", "file/"):
            assert httpx.get(f"{address}/gradio_api/{route}{place}").status_code in (403, 404)
    large = {"files": ("x.png", b"0" * 11_000_000)}
    assert httpx.post(f"{address}/gradio_api/upload", files=large).status_code == 413


def test_a_port_in_use_is_one_line(server: tuple[str, Path], tmp_path: Path) -> None:
    process = served(tmp_path, int(server[0].rpartition(":")[2]))
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 2 and said.count("\n") == 1 and "another --port" in said


def test_without_a_browser_the_address_is_said(tmp_path: Path) -> None:
    port = free()
    environment = {"BROWSER": "/nowhere/browser", "PATH": "/nowhere"}
    process = served(tmp_path, port, "--browser", **environment)
    assert process.stdout.readline().startswith(f"http://127.0.0.1:{port}")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    process.stdout.close()
