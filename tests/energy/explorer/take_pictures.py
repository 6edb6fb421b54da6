"""``python -m tests.energy.explorer.take_pictures``: docs/images/explorer*.webp anew, by chromium and playwright."""

import base64
import threading
from pathlib import Path

from playwright.sync_api import sync_playwright

from energy.explorer.server import Explorer

IMAGES = Path(__file__).parents[3] / "docs" / "images"
PIN = "memory=hbm2-2000&array=server-128x128&pin=memory%3Dhbm2-2000"
PICTURES = [  # name, address, width, height, colour scheme
    ("explorer", "", 1400, 1000, "light"),
    ("explorer-pinned-dark", PIN, 1400, 1000, "dark"),
    ("explorer-why-not", "model=llama2-70b&memory=lpddr4x-4266", 1400, 760, "light"),
    ("explorer-phone", "", 390, 1100, "light"),
]


def take_pictures() -> None:
    """Open the states, wait for what comes after the redraw, write the pictures."""
    with Explorer("127.0.0.1", 0) as server, sync_playwright() as driver:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        server.warm()
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for name, query, width, height, scheme in PICTURES:
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
            page = context.new_page()
            page.goto(f"{server.url}?{query}")
            page.locator(".why.some").first.wait_for()
            settings = {"format": "webp", "quality": 70}
            shot = context.new_cdp_session(page).send("Page.captureScreenshot", settings)
            (IMAGES / f"{name}.webp").write_bytes(base64.b64decode(shot["data"]))
        browser.close()
        server.shutdown()


if __name__ == "__main__":
    take_pictures()
