"""The page in light and dark, on narrow and wide screens, and for assistive technology."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from helpers.chromium import BROWSER
from helpers.page_actions import choose, search, wait_until_settled

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed (apt-get install chromium)")


def test_light_dark_and_narrow(browser: Browser, site: str) -> None:
    backgrounds = {}
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme, viewport={"width": 360, "height": 740})
        page.goto(f"{site}/?q=late+serotine")
        wait_until_settled(page)
        background = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        backgrounds[scheme] = [int(channel) for channel in re.findall(r"\d+", background)[:3]]
        # Nothing overflows on a phone.
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.goto(f"{site}/?index=formats&q=late+serotine")
        wait_until_settled(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        for _ in range(3):
            theme = page.evaluate("document.documentElement.dataset.theme")
            color_scheme = page.evaluate("getComputedStyle(document.documentElement).colorScheme")
            assert color_scheme == ("light dark" if theme == "auto" else theme)
            page.locator(".theme").click()
        page.close()
    assert min(backgrounds["light"]) > 220
    assert max(backgrounds["dark"]) < 60


def test_axe_finds_no_violations(browser: Browser, site: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python").Axe()

    def check(page: Page, state: str) -> None:
        violations = axe.run(page).response["violations"]
        assert violations == [], (state, [(v["id"], [node["html"][:160] for node in v["nodes"]]) for v in violations])

    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme, reduced_motion="reduce", bypass_csp=True)
        page.set_default_timeout(10_000)
        page.goto(site)
        page.get_by_label("Index").wait_for()
        check(page, "start")
        search(page, "which late serotine")
        page.get_by_role("switch", name="Exact").check()
        page.locator(".statistics summary").click()
        page.locator(".field summary").first.click()
        wait_until_settled(page)
        check(page, "results")
        page.get_by_role("button", name="serotine", exact=True).hover()
        check(page, "a word")
        page.get_by_role("button", name="Add files").click()
        check(page, "files")
        page.keyboard.press("Escape")
        page.set_viewport_size({"width": 1600, "height": 900})
        choose(page, "formats")
        search(page, "serotine late")
        check(page, "side column, Markdown and code")
        choose(page, "empty")
        search(page, "")
        check(page, "empty index")
        page.close()
