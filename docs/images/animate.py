"""Record the pictures of the page: page.gif, page.png, page-word.png, page-phone.png and page-files.png.

In the moving one a query is typed, one of its words is pinned, and the result is proved.

    python docs/images/animate.py

Needs the extras [ingest] and [serve], playwright, Pillow, and Chromium on the path.
"""

from __future__ import annotations

import io
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs/images"
QUERY = "how do I keep a copy somewhere safe"
PINNED = "copy"
SIZE = {"width": 900, "height": 620}
COLORS = 64


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Index the documentation, and yield the address of a server."""
    program = [sys.executable, "-m", "serotine"]
    # Pages only: not the scripts and pictures beside them.
    shutil.copytree(
        ROOT / "docs", folder / "docs", ignore=lambda _, names: [name for name in names if not _is_page(name)]
    )
    subprocess.run([*program, "index", "docs"], check=True, cwd=folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}"
    server = subprocess.Popen([*program, "serve", "docs.serotine", "--port", address.rpartition(":")[2]], cwd=folder)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{address}/healthz", timeout=5).close()  # noqa: S310 - a local server
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.wait(30)


def _is_page(name: str) -> bool:
    return name.endswith(".md") or "." not in name


def record(page: Page, address: str) -> Iterator[tuple[bytes, int]]:
    """Yield pictures with the milliseconds that each is shown."""
    page.goto(address)
    page.get_by_label("Your query").focus()
    yield page.screenshot(), 800
    for number, word in enumerate(QUERY.split()):
        page.keyboard.type(f" {word}" if number else word)
        page.wait_for_timeout(400)
        yield page.screenshot(), 250
    page.wait_for_timeout(1000)
    yield page.screenshot(), 2500
    page.get_by_role("button", name=PINNED, exact=True).first.click()
    page.wait_for_timeout(500)
    yield page.screenshot(), 2500
    page.keyboard.press("Escape")
    page.get_by_text("Exact", exact=True).first.click()
    page.wait_for_timeout(1500)
    yield page.screenshot(), 3000


def photograph(browser: Browser, address: str) -> None:
    """Write the pictures that do not move."""
    wide = browser.new_page(viewport={"width": 1440, "height": 900}, color_scheme="light")
    ask(wide, address)
    wide.screenshot(path=FOLDER / "page.png")
    dark = browser.new_page(viewport={"width": 1120, "height": 860}, color_scheme="dark")
    ask(dark, address)
    dark.get_by_text("Exact", exact=True).first.click()
    dark.wait_for_timeout(1000)
    dark.locator(".statistics summary").click()
    dark.get_by_role("button", name=PINNED, exact=True).first.click()
    dark.wait_for_timeout(500)
    dark.screenshot(path=FOLDER / "page-word.png")
    phone = browser.new_page(viewport={"width": 390, "height": 780}, color_scheme="light")
    ask(phone, address)
    phone.screenshot(path=FOLDER / "page-phone.png")
    add_files(browser.new_page(viewport={"width": 560, "height": 560}, color_scheme="light"), address)


def add_files(page: Page, address: str) -> None:
    """Add files of which one is damaged, and picture what the page says of them."""
    ask(page, address)
    page.get_by_role("button", name="Add files").click()
    files = {
        "roost.md": "# Roost\n\nThe serotine leaves its roost late.\n",
        "counts.txt": "Forty bats were counted in June.\n",
        "broken.pdf": "%PDF-1.7 cut here",
        "visits.jsonl": '{"text": "An owl watched."}\n{"text": 7}\n',
    }
    dialog = page.get_by_role("dialog")
    dialog.locator("input").first.set_input_files(
        [
            {"name": name, "mimeType": "application/octet-stream", "buffer": text.encode()}
            for name, text in files.items()
        ]
    )
    dialog.get_by_text("skipped").first.wait_for()
    page.wait_for_timeout(500)
    page.screenshot(path=FOLDER / "page-files.png")


def ask(page: Page, address: str) -> None:
    """Open the page and type the query."""
    page.goto(address)
    page.get_by_label("Your query").fill(QUERY)
    page.wait_for_timeout(2000)


def main() -> int:
    """Write the pictures."""
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        recorded = list(record(browser.new_page(viewport=SIZE, color_scheme="light"), address))
        photograph(browser, address)
        browser.close()
    colored = [Image.open(io.BytesIO(picture)).convert("RGB") for picture, _ in recorded]
    # One palette for all, so that what does not move is the same in every picture; the last has all colors.
    palette = colored[-2].quantize(COLORS)
    frames = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in colored]
    durations = [shown for _, shown in recorded]
    frames[0].save(
        FOLDER / "page.gif", save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=True
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
