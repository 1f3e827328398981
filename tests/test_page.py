"""The page in a real browser, on the real server: what a person sees and does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from helpers.chromium import BROWSER
from helpers.cli_fake import FakeEncoder
from helpers.page_site import HOSTILE, create_indexes, start_server

from serotine import Index

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright (pip install playwright)")
pytest.importorskip("fastapi", reason="needs the serve extra (pip install 'serotine[serve]')")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed (apt-get install chromium)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("page")
    process, address = start_server(root / "log", *create_indexes(root))
    yield address
    process.terminate()
    process.wait(30)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, site: str) -> Iterator[Page]:
    """Open the page; fail the test on a script error, a policy violation or a request to another host."""
    context = browser.new_context(reduced_motion="reduce", viewport={"width": 1100, "height": 800})
    page = context.new_page()
    faults: list[str] = []
    # "Failed to load resource" is logged for requests that a test fails on purpose.
    page.on(
        "console",
        lambda message: (
            faults.append(message.text) if message.type == "error" and "Failed to load" not in message.text else None
        ),
    )
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(site) else faults.append(request.url))
    page.set_default_timeout(10_000)
    page.goto(site)
    yield page
    context.close()
    assert faults == []


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
    wait_until_settled(page)
    assert passages(page)[0].startswith("The serotine")


def test_a_word_shows_what_it_matched(page: Page) -> None:
    search(page, "late serotine owls")
    word = page.get_by_role("button", name="serotine", exact=True)
    word.hover()
    first = page.locator(".hit").first
    sync_api.expect(first.locator("mark.chosen")).to_have_text(["serotine"])
    sync_api.expect(first.locator(".matched")).to_contain_text("serotine 1.00")
    assert "late" in first.locator("mark.other").all_inner_texts()
    page.mouse.move(5, 5)
    sync_api.expect(first.locator("mark.chosen")).to_have_count(0)
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
    long_hit.get_by_role("button", name="Whole passage").click()
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


def test_files_are_indexed_with_progress(browser: Browser, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    Index.create(root / "mine.serotine", encoder=FakeEncoder()).close()
    folder = tmp_path / "notes"
    (folder / "deep").mkdir(parents=True)
    (folder / "moths.txt").write_text("Moths fly to the lamp.")
    (folder / "deep" / "owls.md").write_text("# Owls\n\nOwls hear mice under snow.")
    (folder / "broken.jsonl").write_text("{not json")
    process, address = start_server(tmp_path / "log", root / "mine.serotine")
    try:
        page = browser.new_page()
        page.set_default_timeout(20_000)
        page.goto(address)
        sync_api.expect(page.get_by_text("Nothing indexed yet")).to_be_visible()
        page.get_by_role("button", name="Add files").first.click()
        dialog = page.get_by_role("dialog")
        dialog.locator("input[webkitdirectory]").set_input_files(folder)
        sync_api.expect(dialog.locator(".message.done")).to_contain_text(re.compile(r"\d passages? added\."))
        sync_api.expect(dialog.get_by_role("listitem")).to_contain_text("broken.jsonl")
        page.keyboard.press("Escape")
        sync_api.expect(dialog).to_be_hidden()
        search(page, "owls under snow")
        sync_api.expect(page.locator(".hit").first.locator(".passage")).to_contain_text("hear mice")
        assert "deep/owls.md" in page.locator(".hit").first.inner_text()
        page.close()
    finally:
        process.terminate()
        process.wait(30)


def test_many_files_are_sent_in_batches(browser: Browser, tmp_path: Path) -> None:
    Index.create(tmp_path / "mine.serotine", encoder=FakeEncoder()).close()
    folder = tmp_path / "notes"
    folder.mkdir()
    for number in range(1001):
        (folder / f"{number}.txt").write_text(f"Moth number {number}.")
    for name in ("0.txt", "1000.txt"):
        (folder / name).with_suffix(".jsonl").write_text("{not json")
    process, address = start_server(tmp_path / "log", tmp_path / "mine.serotine")
    try:
        page = browser.new_page()
        uploads: list[str] = []
        page.on("request", lambda request: uploads.append(request.url) if request.url.endswith("/files") else None)
        page.goto(address)
        page.get_by_role("button", name="Add files").first.click()
        dialog = page.get_by_role("dialog")
        dialog.locator("input[webkitdirectory]").set_input_files(folder)
        sync_api.expect(dialog.locator(".message.done")).to_have_text("1,001 passages added.", timeout=120_000)
        sync_api.expect(dialog.get_by_role("listitem")).to_have_count(2)
        assert len(uploads) == 3
        page.close()
    finally:
        process.terminate()
        process.wait(30)


def test_a_server_that_requires_tokens(browser: Browser, tmp_path: Path) -> None:
    (path,) = create_indexes(tmp_path)[:1]
    tokens = tmp_path / "tokens"
    tokens.write_text("read looking-costs-nothing\nwrite writing-is-for-a-few\n")
    process, address = start_server(tmp_path / "log", path, "--tokens", tokens)
    try:
        page = browser.new_page()
        page.set_default_timeout(10_000)
        page.goto(address)
        page.get_by_label("Token", exact=True).fill("wrong")
        page.keyboard.press("Enter")
        sync_api.expect(page.get_by_role("alert")).to_contain_text("Unknown token")
        page.get_by_label("Token", exact=True).fill("looking-costs-nothing")
        page.keyboard.press("Enter")
        search(page, "late serotine")
        assert passages(page)[0].startswith("The serotine")
        # The tab stores the token, which has no write access.
        page.reload()
        wait_until_settled(page)
        page.get_by_role("button", name="Add files").click()
        page.get_by_role("dialog").locator("input").first.set_input_files(
            [{"name": "a.txt", "mimeType": "text/plain", "buffer": b"bats"}]
        )
        sync_api.expect(page.get_by_role("dialog")).to_contain_text("requires a token with write access")
        page.close()
    finally:
        process.terminate()
        process.wait(30)


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
        page.close()
