"""The page in a real browser, on the real server: what a person sees and does."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from helpers.chromium import BROWSER
from helpers.page_actions import choose, passages, search, sync_api, wait_until_settled, weights
from helpers.page_site import HOSTILE

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed (apt-get install chromium)")


def test_passages_appear_while_typing_with_shaded_matches(page: Page) -> None:
    sync_api.expect(page.get_by_label("Your query")).to_be_focused()
    page.keyboard.type("which late serotine flies", delay=5)
    sync_api.expect(page.locator(".hit")).to_have_count(10)
    wait_until_settled(page)
    assert passages(page)[0] == "The serotine is a late bat. It flies after sunset."
    shaded = weights(page)
    assert shaded["serotine"] == shaded["late"] == shaded["flies"] == 1
    background = (
        page.locator(".hit")
        .first.locator("mark", has_text="serotine")
        .evaluate("mark => getComputedStyle(mark).backgroundColor")
    )
    assert "0.44" in background or "0.439" in background
    sync_api.expect(page.get_by_role("status").first).to_contain_text(re.compile(r"^10 passages in [\d.]+ ms$"))
    assert page.locator(".hit h2").first.inner_text() == "About bats 0"
    assert "q=which+late+serotine+flies" in page.url
    page.reload()
    sync_api.expect(page.locator(".hit")).to_have_count(10)
    wait_until_settled(page)
    assert passages(page)[0].startswith("The serotine")


def test_a_word_shows_what_it_matched(page: Page) -> None:
    search(page, "late serotine owls")
    word = page.get_by_role("button", name="serotine", exact=True)
    word.hover()
    first = page.locator(".hit").first
    sync_api.expect(first.locator("mark.chosen")).to_have_text(["serotine"])
    sync_api.expect(first.locator(".matched")).to_contain_text("serotine 1.00")
    # In place of the passage's own score.
    sync_api.expect(first.locator(".score small")).to_be_hidden()
    assert "late" in first.locator("mark.other").all_inner_texts()
    page.mouse.move(5, 5)
    sync_api.expect(first.locator("mark.chosen")).to_have_count(0)
    sync_api.expect(first.locator(".score small")).to_be_visible()
    # A mark highlights its word; with the keyboard, focus shows the matches and Enter pins the word.
    first.locator("mark", has_text="late").hover()
    sync_api.expect(page.get_by_role("button", name="late", exact=True)).to_have_class(re.compile("current"))
    page.mouse.move(5, 5)
    word.focus()
    sync_api.expect(first.locator("mark.chosen")).to_have_text(["serotine"])
    page.keyboard.press("Enter")
    sync_api.expect(word).to_have_attribute("aria-pressed", "true")
    sync_api.expect(page.get_by_role("status").first).to_contain_text("“serotine” matched in")
    word.blur()
    sync_api.expect(first.locator("mark.chosen")).to_have_text(["serotine"])


def test_overtaken_responses_are_dropped(page: Page) -> None:
    held_routes: list[Route] = []

    def hold_first(route: Route) -> None:
        if json.loads(route.request.post_data or "")["query"] == "owls":
            held_routes.append(route)
        else:
            route.continue_()

    page.route("**/search", hold_first)
    aborted: list[str] = []
    page.on("requestfailed", lambda request: aborted.append(request.failure or ""))
    page.get_by_label("Your query").fill("owls")
    page.wait_for_timeout(300)
    assert len(held_routes) == 1
    page.get_by_label("Your query").fill("late serotine")
    wait_until_settled(page)
    assert passages(page)[0].startswith("The serotine")
    assert aborted == ["net::ERR_ABORTED"]
    # Fast typing sends one request.
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url) if request.url.endswith("/search") else None)
    page.get_by_label("Your query").press_sequentially(" bats hunt", delay=10)
    page.wait_for_timeout(400)
    wait_until_settled(page)
    assert len(urls) <= 2


def test_text_from_documents_is_never_markup(page: Page) -> None:
    choose(page, "strange")
    search(page, "serotine onerror under")
    shown = passages(page)
    assert HOSTILE in shown
    assert page.evaluate("window.hacked") is None
    assert page.locator(".hits img, .hits script, .hits b, .hits u, .hits i").count() == 0
    assert page.get_by_role("heading", name=HOSTILE).count() == 1
    # The query is text as well.
    search(page, "<img src=x onerror=window.hacked=3> serotine")
    page.get_by_role("button", name="serotine", exact=True).hover()
    assert page.evaluate("window.hacked") is None
    assert page.locator("main img").count() == 0


def test_offsets_are_characters_and_long_passages_are_cut(page: Page) -> None:
    choose(page, "strange")
    search(page, "🦇 serotine")
    emoji_hit = page.locator(".hit", has_text="🦇🦇 the serotine")
    sync_api.expect(emoji_hit.locator("mark")).to_contain_text(["serotine"])
    long_hit = page.locator(".hit", has=page.get_by_role("heading", name="long", exact=True))
    shown = long_hit.locator(".passage").inner_text()
    assert 300 < len(shown) < 700
    assert "The serotine is a late bat." in shown
    assert shown.startswith("… ")
    long_hit.get_by_role("button", name="More of passage").click()
    assert len(long_hit.locator(".passage").inner_text()) > 2500
    assert weights(page, page.locator(".hit").all_inner_texts().index(long_hit.inner_text()))["serotine"] == 1


def test_filters_are_shown_as_chips(page: Page) -> None:
    bodies: list[dict[str, Any]] = []
    page.on("request", lambda r: bodies.append(json.loads(r.post_data or "")) if r.url.endswith("/search") else None)
    search(page, "bats")
    assert bodies[-1]["where"] is None
    filters = page.get_by_role("group", name="Filters")
    filters.locator("summary", has_text="lang").click()
    filters.get_by_role("button", name="la", exact=True).click()
    wait_until_settled(page)
    assert bodies[-1]["where"] == {"lang": "la"}
    sync_api.expect(page.locator(".hit")).to_have_count(4)
    filters.get_by_role("button", name="en", exact=True).click()
    wait_until_settled(page)
    assert bodies[-1]["where"] == {"lang": {"in": ["la", "en"]}}
    filters.locator("summary", has_text="year").click()
    filters.get_by_label("from").fill("2010")
    filters.get_by_label("from").press("Enter")
    sync_api.expect(page.locator(".hit")).to_have_count(2)
    assert bodies[-1]["where"] == {"and": [{"lang": {"in": ["la", "en"]}}, {"year": {">=": 2010}}]}
    page.get_by_role("button", name="Remove filter year ≥ 2010").click()
    sync_api.expect(page.locator(".hit")).to_have_count(10)
    page.get_by_role("button", name="Remove all").click()
    wait_until_settled(page)
    assert bodies[-1]["where"] is None
    # Metadata under a passage are filters too; other values can be typed.
    page.locator(".hit").first.get_by_role("button", name="Filter: year").click()
    sync_api.expect(page.locator(".hit")).to_have_count(1)
    page.get_by_role("button", name="Remove filter").click()
    filters.locator("summary", has_text="lang").click()
    filters.get_by_label("other").fill("xx")
    filters.get_by_label("other").press("Enter")
    sync_api.expect(page.get_by_text("No passage matches the filters.")).to_be_visible()
    page.get_by_role("button", name="Search without filters").click()
    sync_api.expect(page.locator(".hit")).to_have_count(10)


def test_several_values_of_a_list_field_match_any_of_them(page: Page) -> None:
    bodies: list[dict[str, Any]] = []
    page.on("request", lambda r: bodies.append(json.loads(r.post_data or "")) if r.url.endswith("/search") else None)
    choose(page, "tags")
    search(page, "bats")
    filters = page.get_by_role("group", name="Filters")
    filters.locator("summary", has_text="tags").click()
    filters.get_by_role("button", name="late", exact=True).click()
    sync_api.expect(page.locator(".hit")).to_have_count(2)
    filters.get_by_role("button", name="early", exact=True).click()
    sync_api.expect(page.locator(".hit")).to_have_count(3)
    filters.get_by_role("button", name="single", exact=True).click()
    sync_api.expect(page.locator(".hit")).to_have_count(4)
    alternatives = [{"tags": "single"}, {"tags": {"contains": "late"}}, {"tags": {"contains": "early"}}]
    assert bodies[-1]["where"] == {"or": alternatives}
    page.get_by_role("button", name="Remove all").click()
    filters.locator("summary", has_text="tags").click()
    filters.get_by_label("other").fill("large")
    filters.get_by_label("other").press("Enter")
    sync_api.expect(page.locator(".hit")).to_have_count(1)
    assert bodies[-1]["where"] == {"tags": {"contains": "large"}}


def test_modes_and_certificates(page: Page) -> None:
    search(page, "late serotine")
    page.locator(".statistics summary").click()
    sync_api.expect(page.locator(".statistics summary")).to_contain_text(re.compile(r"^10 passages in [\d.]+ ms$"))
    sync_api.expect(page.locator(".statistics")).to_contain_text("Every document's vectors were scored: 12.")
    sync_api.expect(page.locator(".stages")).to_contain_text(re.compile(r"vectors\s*[\d.]+ ms"))
    page.get_by_role("switch", name="Exact").check()
    sync_api.expect(page.locator(".certificate")).to_contain_text("Proved")
    assert len(page.locator(".certificate").inner_text()) > 30
    page.get_by_label("Words", exact=True).check()
    wait_until_settled(page)
    sync_api.expect(page.locator(".certificate")).to_be_hidden()
    sync_api.expect(page.get_by_role("switch", name="Exact")).to_be_disabled()
    sync_api.expect(page.locator(".hit")).to_have_count(1)
    sync_api.expect(page.locator(".hit mark")).to_have_text(["serotine", "late"])
    page.get_by_label("Both").check()
    sync_api.expect(page.locator(".hit")).to_have_count(10)
    assert weights(page)["serotine"] == 1
    page.get_by_label("Words", exact=True).check()
    query_field = page.get_by_label("Your query")
    query_field.fill("zebra")
    page.get_by_role("button", name="Rank by meaning instead").click()
    sync_api.expect(page.locator(".hit")).to_have_count(10)


def test_everything_works_with_the_keyboard(page: Page) -> None:
    query_field = page.get_by_label("Your query")
    # The page focuses the field once it has loaded.
    sync_api.expect(query_field).to_be_focused()
    query_field.blur()
    page.keyboard.press("/")
    sync_api.expect(query_field).to_be_focused()
    page.keyboard.type("serotine/bat")
    wait_until_settled(page)
    assert query_field.input_value() == "serotine/bat"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    sync_api.expect(page.locator(".hit").nth(1)).to_be_focused()
    # Focus is visible.
    assert page.locator(".hit").nth(1).evaluate("hit => getComputedStyle(hit, '::before').width") == "3px"
    page.keyboard.press("ArrowRight")
    sync_api.expect(page.get_by_role("button", name="serotine", exact=True)).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("ArrowRight")
    sync_api.expect(page.get_by_role("button", name="bat", exact=True)).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    sync_api.expect(query_field).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Escape")
    sync_api.expect(query_field).to_be_focused()
    page.keyboard.press("Escape")
    assert query_field.input_value() == ""
    sync_api.expect(page.locator(".hit").first).to_be_hidden()
    # Every control can be reached.
    page.keyboard.press("Tab")
    for _ in range(30):
        if page.evaluate("document.activeElement.closest('footer') !== null"):
            break
        assert page.evaluate("document.activeElement !== document.body")
        page.keyboard.press("Tab")
    else:
        pytest.fail("the foot of the page cannot be reached with Tab")
    choose(page, "strange")
    search(page, "late")
    position = next(i for i, text in enumerate(passages(page)) if text.startswith("… "))
    for _ in range(position + 1):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert len(passages(page)[position]) > 2500


def test_errors_are_shown(page: Page) -> None:
    page.route("**/search", lambda route: route.abort())
    page.get_by_label("Your query").fill("bats")
    sync_api.expect(page.get_by_role("alert")).to_contain_text("The server does not respond")
    page.unroute("**/search")
    page.get_by_role("button", name="Try again").click()
    sync_api.expect(page.locator(".hit")).to_have_count(10)
    statuses = [429, 503]
    error = json.dumps({"error": {"code": "busy", "message": "busy"}})

    def refuse_twice(route: Route) -> None:
        if statuses:
            route.fulfill(
                status=statuses.pop(), body=error, headers={"Retry-After": "1"}, content_type="application/json"
            )
        else:
            route.continue_()

    page.route("**/search", refuse_twice)
    search(page, "late serotine")
    sync_api.expect(page.locator(".hit .passage").first).to_contain_text("serotine")
    assert statuses == []
    choose(page, "vectors")
    sync_api.expect(page.get_by_label("Meaning")).to_be_disabled()
    sync_api.expect(page.get_by_role("heading", name="Nothing found")).to_be_visible()
    choose(page, "empty")
    page.get_by_label("Your query").fill("")
    sync_api.expect(page.get_by_text("Nothing indexed yet")).to_be_visible()


def test_an_unknown_index_in_the_address_says_which_exist(page: Page, site: str) -> None:
    page.goto(f"{site}/?index=xyz&q=bats")
    alert = page.get_by_role("alert")
    sync_api.expect(alert).to_contain_text(
        "Unknown index “xyz”; choose one of: bats, strange, empty, vectors, tags, formats."
    )
    sync_api.expect(page.locator(".hit")).to_have_count(0)
    choose(page, "tags")
    sync_api.expect(page.locator(".hit")).to_have_count(4)
    sync_api.expect(alert).to_be_hidden()
