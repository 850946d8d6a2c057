"""The server's page in a real browser: Chromium, driven by Playwright."""

import io
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import maskwright as mw

pytest.importorskip("starlette", reason="the server is not installed (extra server)")
playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.weights,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]

ROOT = Path(__file__).parents[2]
SWITCHES = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync"
WAIT = 90_000  # milliseconds: nothing takes so long, but a busy machine may stand still


@pytest.fixture(scope="module")
def address(u2netp_store, tmp_path_factory):
    environment = {**os.environ, "MASKWRIGHT_HOME": str(u2netp_store), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "maskwright", "serve", "--port", "0", "--log-level", "error"]
    with subprocess.Popen(
        command, env=environment, cwd=tmp_path_factory.mktemp("server"), stderr=subprocess.PIPE, text=True
    ) as server:
        found = re.search(r"page at (http://\S+)/", server.stderr.readline())
        yield found[1]
        server.terminate()
        server.stderr.close()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=SWITCHES.split())
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, address):
    """The page in a window of its own; what it complains about, or asks of others, fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 860}, reduced_motion="reduce")
    page, troubles = context.new_page(), []
    page.set_default_timeout(WAIT)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda message: message.type == "error" and troubles.append(message.text))
    page.on(
        "request", lambda request: request.url.startswith((address, "blob:", "data:")) or troubles.append(request.url)
    )
    page.goto(address)
    page.troubles = troubles
    yield page
    context.close()
    assert not [one for one in page.troubles if one not in page.expected] if hasattr(page, "expected") else not troubles


def expect(*arguments):
    playwright.expect.set_options(timeout=WAIT)
    return playwright.expect(*arguments)


def choose(page, *paths):
    page.set_input_files("#chooser", [str(path) for path in paths])
    finished(page, f"{len(paths)} picture{'s' * (len(paths) > 1)} done")


def finished(page, text):
    expect(page.locator("#status")).to_have_text(text)
    expect(page.locator("#busy")).to_be_hidden()


def download(page, button="#download"):
    with page.expect_download() as coming:
        page.click(button)
    return coming.value.suggested_filename, Path(coming.value.path()).read_bytes()


def test_a_picture_in_a_cutout_out(page, samples):
    """The bytes are those of the library, and nothing was asked of another host."""
    choose(page, samples / "astronaut.jpg")
    name, data = download(page)
    assert name == "astronaut.png"
    assert data == mw.cutout(samples / "astronaut.jpg").to_bytes("png")


def test_the_slider_uncovers_the_original(page, samples):
    choose(page, samples / "astronaut.jpg")
    frame = page.locator("#frame")
    slider = page.get_by_role("slider", name="How much of the original is shown")
    slider.focus()
    page.keyboard.press("End")
    assert slider.get_attribute("aria-valuetext") == "100 % original"
    whole = pixels(frame)
    page.keyboard.press("Home")
    assert slider.get_attribute("aria-valuetext") == "0 % original"
    none = pixels(frame)
    page.mouse.click(*at(frame, 0.5, 0.5))
    half = pixels(frame)
    width = whole.shape[1]
    left, right = np.s_[:, : width // 2 - 40], np.s_[:, width // 2 + 40 :]
    assert np.abs(half[left] - whole[left]).mean() < 2 < np.abs(half[left] - none[left]).mean()
    assert np.abs(half[right] - none[right]).mean() < 2 < np.abs(half[right] - whole[right]).mean()


def test_options_change_the_result(page, samples):
    choose(page, samples / "astronaut.jpg")
    page.check("input[name=backdrop][value=color]")
    page.fill("#color", "#3366aa")
    page.check("input[name=crop]")
    page.locator("#grow").fill("4")
    page.wait_for_timeout(400)
    finished(page, "1 picture done")
    _, data = download(page)
    options = mw.CutoutOptions(background="#3366aa", crop=True, grow=4)
    assert data == mw.cutout(samples / "astronaut.jpg", options=options).to_bytes("png")
    page.reload()
    expect(page.locator("input[name=crop]")).to_be_checked()  # kept from visit to visit
    page.click("button[type=reset]")
    expect(page.locator("input[name=crop]")).not_to_be_checked()


def test_the_brush_keeps_and_removes(page, samples):
    choose(page, samples / "astronaut.jpg")
    before = alpha(download(page)[1])
    page.click("button[data-view=brush]")
    paint = page.locator("#paint")
    page.get_by_role("button", name="Remove", exact=True).click()
    stroke(page, paint, (0.35, 0.7), (0.5, 0.7))
    finished_stroke(page)
    page.keyboard.press("k")
    stroke(page, paint, (0.85, 0.2), (0.9, 0.2))
    finished_stroke(page)
    after = alpha(download(page)[1])
    height, width = after.shape
    removed, kept = (int(0.7 * height), int(0.42 * width)), (int(0.2 * height), int(0.88 * width))
    assert (before[removed], after[removed]) == (255, 0)
    assert (before[kept], after[kept]) == (0, 255)
    page.keyboard.press("Control+z")
    finished_stroke(page)
    undone = alpha(download(page)[1])
    assert (undone[removed], undone[kept]) == (0, 0)


def test_the_brush_by_keyboard(page, samples):
    choose(page, samples / "astronaut.jpg")
    page.click("button[data-view=brush]")
    page.locator("#paint").focus()
    page.keyboard.press("r")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    finished_stroke(page)
    after = alpha(download(page)[1])
    assert after[after.shape[0] // 2 + 5, after.shape[1] // 2] == 0


def test_parts_of_people(page, samples):
    choose(page, samples / "astronaut.jpg")
    page.check("#by-parts")
    page.uncheck("#part-hair")
    page.wait_for_timeout(400)
    finished(page, "1 picture done")
    found = alpha(download(page)[1])
    assert found[130, 225] > 250  # the face
    assert found[400, 225] == 0  # the clothes
    page.click("button[data-view=parts]")
    expect(page.locator("#legend li")).to_have_text(["hair", "face", "body", "clothes", "accessories"])
    page.uncheck("#part-face")
    expect(page.get_by_role("alert")).to_contain_text("Choose at least one part")


def test_several_pictures_and_a_zip(page, samples, tmp_path):
    double = tmp_path / "cat.jpeg"
    shutil.copy(samples / "cat.jpg", double)
    choose(page, samples / "cat.jpg", samples / "astronaut.jpg", double)
    page.select_option("#format", "mask")
    name, data = download(page, "#download-all")
    archive = zipfile.ZipFile(io.BytesIO(data))
    assert (name, archive.testzip()) == ("maskwright.zip", None)
    assert archive.namelist() == ["cat.png", "astronaut.png", "cat-2.png"]
    mask = mw.cutout(samples / "cat.jpg", options=mw.CutoutOptions(only_mask=True))
    assert archive.read("cat.png") == mask.to_bytes("png")
    page.get_by_role("button", name="Take astronaut.jpg away").click()
    finished(page, "2 pictures done")


def test_a_broken_file_is_said_in_words(page, samples, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes((samples / "cat.jpg").read_bytes()[:2000])
    page.expected = ["Failed to load resource: the server responded with a status of 400 (Bad Request)"]
    page.set_input_files("#chooser", [str(broken), str(samples / "cat.jpg")])
    expect(page.locator("#status")).to_have_text("1 picture done, 1 failed")
    expect(page.get_by_role("alert")).to_contain_text("picture")
    page.get_by_role("button", name="cat.jpg, done").click()
    expect(page.get_by_role("alert")).to_be_hidden()


def test_dropped_and_pasted(page, samples):
    for event in ("drop", "paste"):
        page.evaluate_handle(
            """async ([kind, data]) => {
                const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
                const files = new DataTransfer();
                files.items.add(new File([bytes], `${kind}.jpg`, { type: "image/jpeg" }));
                const event = kind === "drop"
                    ? new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true })
                    : new ClipboardEvent("paste", { clipboardData: files, bubbles: true });
                document.body.dispatchEvent(event);
            }""",
            [event, base64_of(samples / "cat.jpg")],
        )
    finished(page, "2 pictures done")
    expect(page.get_by_role("button", name="paste.jpg, done")).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_on_a_phone(browser, address, samples, theme):
    """Nothing is wider than the window, every control has a name and is large enough to be touched."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=theme, has_touch=True)
    page = context.new_page()
    page.set_default_timeout(WAIT)
    page.goto(address)
    choose(page, samples / "astronaut.jpg")
    assert page.evaluate_handle("document.documentElement.scrollWidth").json_value() <= 390
    for control in page.locator("button:visible, select:visible, input:visible").all():
        box = control.bounding_box()
        assert control.evaluate(
            "element => element.labels?.length || element.getAttribute('aria-label') || element.textContent"
        )
        if control.evaluate("element => element.tagName === 'BUTTON' && element.className !== 'drop'"):
            assert box["height"] >= 40, control.text_content()
    context.close()


def test_contrast_of_words(page):
    """Words stand out from what lies under them as WCAG AA asks, 4.5 to 1, light and dark."""
    for theme in ("light", "dark"):
        page.get_by_role("button", name=re.compile("^Colours")).click()
        expect(page.get_by_role("button", name=f"Colours: {theme}")).to_be_visible()
        for ink, paper in (
            ("ink", "paper"),
            ("ink", "card"),
            ("soft", "card"),
            ("soft", "paper"),
            ("on-accent", "accent"),
            ("bad", "bad-paper"),
        ):
            assert contrast(color(page, ink), color(page, paper)) >= 4.5, (theme, ink, paper)


def color(page, name):
    text = page.evaluate_handle(
        "name => getComputedStyle(document.documentElement).getPropertyValue(name)", f"--{name}"
    )
    return [int(text.json_value().strip()[at : at + 2], 16) for at in (1, 3, 5)]


def contrast(first, second):
    def luminance(rgb):
        parts = [value / 255 / 12.92 if value <= 10 else ((value / 255 + 0.055) / 1.055) ** 2.4 for value in rgb]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def base64_of(path):
    import base64

    return base64.b64encode(path.read_bytes()).decode()


def pixels(locator):
    return np.asarray(Image.open(io.BytesIO(locator.screenshot())).convert("RGB")).astype(int)


def alpha(data):
    return np.asarray(Image.open(io.BytesIO(data)))[..., 3]


def at(locator, x, y):
    box = locator.bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def stroke(page, canvas, begin, end):
    page.mouse.move(*at(canvas, *begin))
    page.mouse.down()
    page.mouse.move(*at(canvas, *end), steps=5)
    page.mouse.up()


def finished_stroke(page):
    page.wait_for_timeout(400)  # the page waits a moment for the next one
    finished(page, "1 picture done")
