"""``python -m tests.energy.reports.pages.take_pictures``: docs/images/page-*.webp anew, by chromium and playwright.

A picture is the first screen of a page: the job of README, the default study, two arrays.
"""

import base64
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from energy.__main__ import main

IMAGES = Path(__file__).parents[4] / "docs" / "images"
JOB = ["sim", "--model", "llama2-7b", "--kv-bits", "8", "--rivals", "int8,fp16,w2a8"]
DIFFERENCE = ["compare", "edge-32x32", "mobile-64x64", "--kv-bits", "8"]
PICTURES = [  # name, page, width, height, colour scheme
    ("page-report", "job", 1240, 1010, "light"),
    ("page-report-dark", "job", 1240, 1010, "dark"),
    ("page-report-phone", "job", 390, 1500, "light"),
    ("page-study", "study", 1240, 1010, "light"),
    ("page-difference", "difference", 1240, 1060, "light"),
]
COMMANDS = {"job": [*JOB, "--rival-bus", "balanced"], "study": ["whatif"], "difference": DIFFERENCE}


def take_pictures() -> None:
    """Run the jobs, open their pages, write the pictures."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        for name, command in COMMANDS.items():
            main([*command, "--out", f"{folder}/{name}"])
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for name, page_name, width, height, scheme in PICTURES:
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
            page = context.new_page()
            page.goto(Path(folder, page_name, "report.html").as_uri())
            settings = {"format": "webp", "quality": 80}
            shot = context.new_cdp_session(page).send("Page.captureScreenshot", settings)
            (IMAGES / f"{name}.webp").write_bytes(base64.b64decode(shot["data"]))
        browser.close()


if __name__ == "__main__":
    take_pictures()
