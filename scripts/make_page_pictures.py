"""The two pictures of the server's page in the README: `python scripts/make_page_pictures.py http://127.0.0.1:7000`.

Needs Playwright and Chromium, and a server that runs.
"""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

ROOT = Path(__file__).parents[1]


def save(page: Page, name: str) -> None:
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(ROOT / "docs" / "images" / name, optimize=True)


def main(address: str) -> None:
    photos = [str(ROOT / "examples" / name) for name in ("astronaut.jpg", "cat.jpg")]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, theme, width, height in (("page.png", "light", 1200, 760), ("page-touch-up.png", "dark", 1200, 760)):
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
            page.goto(address)
            page.set_input_files("#chooser", photos)
            page.check("input[name=alpha_matting]")
            if theme == "dark":
                page.click("button[data-view=brush]")
            page.wait_for_timeout(1000)
            expect(page.locator("#status")).to_have_text("2 pictures done", timeout=60_000)
            if theme == "dark":
                box = page.locator("#paint").bounding_box()
                x, y = box["x"] + 0.12 * box["width"], box["y"] + 0.25 * box["height"]
                page.mouse.move(x, y)
                page.mouse.down()
                page.mouse.move(x + 0.12 * box["width"], y + 0.1 * box["height"], steps=12)
            page.wait_for_timeout(300)
            save(page, name)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
