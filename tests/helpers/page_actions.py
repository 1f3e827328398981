"""What a person does on the page: type, choose, look."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright (pip install playwright)")
pytest.importorskip("fastapi", reason="needs the serve extra (pip install 'serotine[serve]')")


def search(page: Page, query: str) -> None:
    page.get_by_label("Your query").fill(query)
    wait_until_settled(page)


def wait_until_settled(page: Page) -> None:
    # Not wait_for_function: it evaluates a string, which the page's policy forbids.
    sync_api.expect(page.locator(".results")).to_have_attribute("aria-busy", "false")
    sync_api.expect(page.locator(".progress-line.on")).to_have_count(0)


def passages(page: Page) -> list[str]:
    return page.locator(".hit .passage").all_inner_texts()


def choose(page: Page, index: str) -> None:
    page.get_by_label("Index").select_option(index)


def weights(page: Page, hit: int = 0) -> dict[str, float]:
    mark_elements = page.locator(".hit").nth(hit).locator("mark")
    script = "marks => marks.map(mark => [mark.textContent, Number(mark.style.getPropertyValue('--weight'))])"
    return {str(text).lower(): float(weight) for text, weight in mark_elements.evaluate_all(script)}
