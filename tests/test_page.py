"""The page, in a real browser and on the real server: what a person sees and does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from helpers.chromium import BROWSER
from helpers.cli_fake import FakeEncoder
from helpers.page_site import HOSTILE, make_indexes, start_server

from serotine import Index

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright (pip install playwright)")
pytest.importorskip("fastapi", reason="needs the serve extra (pip install 'serotine[serve]')")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed (apt-get install chromium)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("page")
    process, address = start_server(root / "log", *make_indexes(root))
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
def opened(browser: Browser, site: str) -> Iterator[Page]:
    """A page that fails the test on a script error, a policy violation or a request to another host."""
    context = browser.new_context(reduced_motion="reduce", viewport={"width": 1100, "height": 800})
    page = context.new_page()
    wrong: list[str] = []
    # "Failed to load resource" is logged for requests that a test fails on purpose.
    page.on(
        "console",
        lambda message: (
            wrong.append(message.text) if message.type == "error" and "Failed to load" not in message.text else None
        ),
    )
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(site) else wrong.append(request.url))
    page.set_default_timeout(10_000)
    page.goto(site)
    yield page
    context.close()
    assert wrong == []


def ask(page: Page, question: str) -> None:
    page.get_by_label("Your question").fill(question)
    settled(page)


def settled(page: Page) -> None:
    # Not wait_for_function: it evaluates a string, which the page's policy forbids.
    sync_api.expect(page.locator(".answer")).to_have_attribute("aria-busy", "false")
    sync_api.expect(page.locator(".flight.on")).to_have_count(0)


def passages(page: Page) -> list[str]:
    return page.locator(".hit .passage").all_inner_texts()


def choose(page: Page, index: str) -> None:
    page.get_by_label("Index").select_option(index)


def weights(page: Page, hit: int = 0) -> dict[str, float]:
    found = page.locator(".hit").nth(hit).locator("mark")
    read = "marks => marks.map(mark => [mark.textContent, Number(mark.style.getPropertyValue('--weight'))])"
    return {str(text).lower(): float(weight) for text, weight in found.evaluate_all(read)}


def test_passages_appear_while_typing_with_shaded_matches(opened: Page) -> None:
    sync_api.expect(opened.get_by_label("Your question")).to_be_focused()
    opened.keyboard.type("which late serotine flies", delay=5)
    sync_api.expect(opened.locator(".hit")).to_have_count(10)
    settled(opened)
    assert passages(opened)[0] == "The serotine is a late bat. It flies after sunset."
    shaded = weights(opened)
    assert shaded["serotine"] == shaded["late"] == shaded["flies"] == 1
    background = (
        opened.locator(".hit")
        .first.locator("mark", has_text="serotine")
        .evaluate("mark => getComputedStyle(mark).backgroundColor")
    )
    assert "0.44" in background or "0.439" in background
    sync_api.expect(opened.get_by_role("status").first).to_contain_text(re.compile(r"^10 passages in [\d.]+ ms$"))
    assert opened.locator(".hit h2").first.inner_text() == "About bats 0"
    assert "q=which+late+serotine+flies" in opened.url
    opened.reload()
    settled(opened)
    assert passages(opened)[0].startswith("The serotine")


def test_a_word_shows_what_it_matched(opened: Page) -> None:
    ask(opened, "late serotine owls")
    word = opened.get_by_role("button", name="serotine", exact=True)
    word.hover()
    first = opened.locator(".hit").first
    sync_api.expect(first.locator("mark.chosen")).to_have_text(["serotine"])
    sync_api.expect(first.locator(".matched")).to_contain_text("serotine 1.00")
    assert "late" in first.locator("mark.other").all_inner_texts()
    opened.mouse.move(5, 5)
    sync_api.expect(first.locator("mark.chosen")).to_have_count(0)
    # From a mark to its word, and with the keyboard: focus shows, Enter pins.
    first.locator("mark", has_text="late").hover()
    sync_api.expect(opened.get_by_role("button", name="late", exact=True)).to_have_class(re.compile("lit"))
    opened.mouse.move(5, 5)
    word.focus()
    sync_api.expect(first.locator("mark.chosen")).to_have_text(["serotine"])
    opened.keyboard.press("Enter")
    sync_api.expect(word).to_have_attribute("aria-pressed", "true")
    sync_api.expect(opened.get_by_role("status").first).to_contain_text("“serotine” matched in")
    word.blur()
    sync_api.expect(first.locator("mark.chosen")).to_have_text(["serotine"])


def test_overtaken_responses_are_dropped(opened: Page) -> None:
    held: list[Route] = []

    def hold_first(route: Route) -> None:
        if json.loads(route.request.post_data or "")["query"] == "owls":
            held.append(route)
        else:
            route.continue_()

    opened.route("**/search", hold_first)
    aborted: list[str] = []
    opened.on("requestfailed", lambda request: aborted.append(request.failure or ""))
    opened.get_by_label("Your question").fill("owls")
    opened.wait_for_timeout(300)
    assert len(held) == 1
    opened.get_by_label("Your question").fill("late serotine")
    settled(opened)
    assert passages(opened)[0].startswith("The serotine")
    assert aborted == ["net::ERR_ABORTED"]
    # Fast typing sends one request.
    asked: list[str] = []
    opened.on("request", lambda request: asked.append(request.url) if request.url.endswith("/search") else None)
    opened.get_by_label("Your question").press_sequentially(" bats hunt", delay=10)
    opened.wait_for_timeout(400)
    settled(opened)
    assert len(asked) <= 2


def test_text_from_documents_is_never_markup(opened: Page) -> None:
    choose(opened, "strange")
    ask(opened, "serotine onerror under")
    shown = passages(opened)
    assert HOSTILE in shown
    assert opened.evaluate("window.hacked") is None
    assert opened.locator(".hits img, .hits script, .hits b, .hits u, .hits i").count() == 0
    assert opened.get_by_role("heading", name=HOSTILE).count() == 1
    # The query is text as well.
    ask(opened, "<img src=x onerror=window.hacked=3> serotine")
    opened.get_by_role("button", name="serotine", exact=True).hover()
    assert opened.evaluate("window.hacked") is None
    assert opened.locator("main img").count() == 0


def test_offsets_are_characters_and_long_passages_are_cut(opened: Page) -> None:
    choose(opened, "strange")
    ask(opened, "🦇 serotine")
    emoji = opened.locator(".hit", has_text="🦇🦇 the serotine")
    sync_api.expect(emoji.locator("mark")).to_contain_text(["serotine"])
    long = opened.locator(".hit", has=opened.get_by_role("heading", name="long", exact=True))
    shown = long.locator(".passage").inner_text()
    assert 300 < len(shown) < 700
    assert "The serotine is a late bat." in shown
    assert shown.startswith("… ")
    long.get_by_role("button", name="Whole passage").click()
    assert len(long.locator(".passage").inner_text()) > 2500
    assert weights(opened, opened.locator(".hit").all_inner_texts().index(long.inner_text()))["serotine"] == 1


def test_filters_are_chips(opened: Page) -> None:
    asked: list[dict[str, Any]] = []
    opened.on("request", lambda r: asked.append(json.loads(r.post_data or "")) if r.url.endswith("/search") else None)
    ask(opened, "bats")
    assert asked[-1]["where"] is None
    filters = opened.get_by_role("group", name="Filters")
    filters.locator("summary", has_text="lang").click()
    filters.get_by_role("button", name="la", exact=True).click()
    settled(opened)
    assert asked[-1]["where"] == {"lang": "la"}
    sync_api.expect(opened.locator(".hit")).to_have_count(4)
    filters.get_by_role("button", name="en", exact=True).click()
    settled(opened)
    assert asked[-1]["where"] == {"lang": {"in": ["la", "en"]}}
    filters.locator("summary", has_text="year").click()
    filters.get_by_label("from").fill("2010")
    filters.get_by_label("from").press("Enter")
    sync_api.expect(opened.locator(".hit")).to_have_count(2)
    assert asked[-1]["where"] == {"and": [{"lang": {"in": ["la", "en"]}}, {"year": {">=": 2010}}]}
    opened.get_by_role("button", name="Remove filter year ≥ 2010").click()
    sync_api.expect(opened.locator(".hit")).to_have_count(10)
    opened.get_by_role("button", name="Remove all").click()
    settled(opened)
    assert asked[-1]["where"] is None
    # Metadata under a passage are filters too; other values can be typed.
    opened.locator(".hit").first.get_by_role("button", name="Filter: year").click()
    sync_api.expect(opened.locator(".hit")).to_have_count(1)
    opened.get_by_role("button", name="Remove filter").click()
    filters.locator("summary", has_text="lang").click()
    filters.get_by_label("other").fill("xx")
    filters.get_by_label("other").press("Enter")
    sync_api.expect(opened.get_by_text("No passage matches the filters.")).to_be_visible()
    opened.get_by_role("button", name="Search without filters").click()
    sync_api.expect(opened.locator(".hit")).to_have_count(10)


def test_several_values_of_lists_take_any_of_them(opened: Page) -> None:
    asked: list[dict[str, Any]] = []
    opened.on("request", lambda r: asked.append(json.loads(r.post_data or "")) if r.url.endswith("/search") else None)
    choose(opened, "tags")
    ask(opened, "bats")
    filters = opened.get_by_role("group", name="Filters")
    filters.locator("summary", has_text="tags").click()
    filters.get_by_role("button", name="late", exact=True).click()
    sync_api.expect(opened.locator(".hit")).to_have_count(2)
    filters.get_by_role("button", name="early", exact=True).click()
    sync_api.expect(opened.locator(".hit")).to_have_count(3)
    filters.get_by_role("button", name="single", exact=True).click()
    sync_api.expect(opened.locator(".hit")).to_have_count(4)
    wanted = [{"tags": "single"}, {"tags": {"contains": "late"}}, {"tags": {"contains": "early"}}]
    assert asked[-1]["where"] == {"or": wanted}
    opened.get_by_role("button", name="Remove all").click()
    filters.locator("summary", has_text="tags").click()
    filters.get_by_label("other").fill("large")
    filters.get_by_label("other").press("Enter")
    sync_api.expect(opened.locator(".hit")).to_have_count(1)
    assert asked[-1]["where"] == {"tags": {"contains": "large"}}


def test_modes_and_the_proof(opened: Page) -> None:
    ask(opened, "late serotine")
    opened.locator(".statistics summary").click()
    sync_api.expect(opened.locator(".statistics")).to_contain_text("Every document's vectors were scored: 12.")
    sync_api.expect(opened.locator(".stages")).to_contain_text(re.compile(r"vectors\s*[\d.]+ ms"))
    opened.get_by_role("switch", name="Exact").check()
    sync_api.expect(opened.locator(".certificate")).to_contain_text("Proved")
    assert len(opened.locator(".certificate").inner_text()) > 30
    opened.get_by_label("Words", exact=True).check()
    settled(opened)
    sync_api.expect(opened.locator(".certificate")).to_be_hidden()
    sync_api.expect(opened.get_by_role("switch", name="Exact")).to_be_disabled()
    sync_api.expect(opened.locator(".hit")).to_have_count(1)
    sync_api.expect(opened.locator(".hit mark")).to_have_text(["serotine", "late"])
    opened.get_by_label("Both").check()
    sync_api.expect(opened.locator(".hit")).to_have_count(10)
    assert weights(opened)["serotine"] == 1
    opened.get_by_label("Words", exact=True).check()
    ask_nothing = opened.get_by_label("Your question")
    ask_nothing.fill("zebra")
    opened.get_by_role("button", name="Rank by meaning instead").click()
    sync_api.expect(opened.locator(".hit")).to_have_count(10)


def test_the_keyboard_is_enough(opened: Page) -> None:
    question = opened.get_by_label("Your question")
    question.blur()
    opened.keyboard.press("/")
    sync_api.expect(question).to_be_focused()
    opened.keyboard.type("serotine/bat")
    settled(opened)
    assert question.input_value() == "serotine/bat"
    opened.keyboard.press("ArrowDown")
    opened.keyboard.press("ArrowDown")
    sync_api.expect(opened.locator(".hit").nth(1)).to_be_focused()
    # Focus is visible.
    assert opened.locator(".hit").nth(1).evaluate("hit => getComputedStyle(hit, '::before').width") == "3px"
    opened.keyboard.press("ArrowRight")
    sync_api.expect(opened.get_by_role("button", name="serotine", exact=True)).to_have_attribute("aria-pressed", "true")
    opened.keyboard.press("ArrowRight")
    sync_api.expect(opened.get_by_role("button", name="bat", exact=True)).to_have_attribute("aria-pressed", "true")
    opened.keyboard.press("ArrowUp")
    opened.keyboard.press("ArrowUp")
    sync_api.expect(question).to_be_focused()
    opened.keyboard.press("ArrowDown")
    opened.keyboard.press("Escape")
    sync_api.expect(question).to_be_focused()
    opened.keyboard.press("Escape")
    assert question.input_value() == ""
    sync_api.expect(opened.locator(".hit").first).to_be_hidden()
    # Every control can be reached.
    opened.keyboard.press("Tab")
    for _ in range(30):
        if opened.evaluate("document.activeElement.closest('footer') !== null"):
            break
        assert opened.evaluate("document.activeElement !== document.body")
        opened.keyboard.press("Tab")
    else:
        pytest.fail("the foot of the page cannot be reached with Tab")
    choose(opened, "strange")
    ask(opened, "late")
    at = next(i for i, text in enumerate(passages(opened)) if text.startswith("… "))
    for _ in range(at + 1):
        opened.keyboard.press("ArrowDown")
    opened.keyboard.press("Enter")
    assert len(passages(opened)[at]) > 2500


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
        ask(page, "owls under snow")
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
        sent: list[str] = []
        page.on("request", lambda request: sent.append(request.url) if request.url.endswith("/files") else None)
        page.goto(address)
        page.get_by_role("button", name="Add files").first.click()
        dialog = page.get_by_role("dialog")
        dialog.locator("input[webkitdirectory]").set_input_files(folder)
        sync_api.expect(dialog.locator(".message.done")).to_have_text("1,001 passages added.", timeout=120_000)
        sync_api.expect(dialog.get_by_role("listitem")).to_have_count(2)
        assert len(sent) == 3
        page.close()
    finally:
        process.terminate()
        process.wait(30)


def test_a_server_that_requires_tokens(browser: Browser, tmp_path: Path) -> None:
    (path,) = make_indexes(tmp_path)[:1]
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
        ask(page, "late serotine")
        assert passages(page)[0].startswith("The serotine")
        # The tab stores it; it has no write access.
        page.reload()
        settled(page)
        page.get_by_role("button", name="Add files").click()
        page.get_by_role("dialog").locator("input").first.set_input_files(
            [{"name": "a.txt", "mimeType": "text/plain", "buffer": b"bats"}]
        )
        sync_api.expect(page.get_by_role("dialog")).to_contain_text("requires a token with write access")
        page.close()
    finally:
        process.terminate()
        process.wait(30)


def test_errors_are_shown(opened: Page) -> None:
    opened.route("**/search", lambda route: route.abort())
    opened.get_by_label("Your question").fill("bats")
    sync_api.expect(opened.get_by_role("alert")).to_contain_text("The server does not respond")
    opened.unroute("**/search")
    opened.get_by_role("button", name="Try again").click()
    sync_api.expect(opened.locator(".hit")).to_have_count(10)
    busy = [429, 503]
    error = json.dumps({"error": {"code": "busy", "message": "busy"}})

    def refuse_twice(route: Route) -> None:
        if busy:
            route.fulfill(status=busy.pop(), body=error, headers={"Retry-After": "1"}, content_type="application/json")
        else:
            route.continue_()

    opened.route("**/search", refuse_twice)
    ask(opened, "late serotine")
    sync_api.expect(opened.locator(".hit .passage").first).to_contain_text("serotine")
    assert busy == []
    choose(opened, "vectors")
    sync_api.expect(opened.get_by_label("Meaning")).to_be_disabled()
    sync_api.expect(opened.get_by_role("heading", name="Nothing found")).to_be_visible()
    choose(opened, "empty")
    opened.get_by_label("Your question").fill("")
    sync_api.expect(opened.get_by_text("Nothing indexed yet")).to_be_visible()


def test_light_dark_and_narrow(browser: Browser, site: str) -> None:
    shades = {}
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme, viewport={"width": 360, "height": 740})
        page.goto(f"{site}/?q=late+serotine")
        settled(page)
        ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        shades[scheme] = [int(part) for part in re.findall(r"\d+", ground)[:3]]
        # Nothing overflows on a phone.
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        for _ in range(3):
            theme = page.evaluate("document.documentElement.dataset.theme")
            told = page.evaluate("getComputedStyle(document.documentElement).colorScheme")
            assert told == ("light dark" if theme == "auto" else theme)
            page.locator(".theme").click()
        page.close()
    assert min(shades["light"]) > 220
    assert max(shades["dark"]) < 60


def test_axe_finds_nothing(browser: Browser, site: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python").Axe()

    def check(page: Page, state: str) -> None:
        found = axe.run(page).response["violations"]
        assert found == [], (state, [(each["id"], [node["html"][:160] for node in each["nodes"]]) for each in found])

    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme, reduced_motion="reduce", bypass_csp=True)
        page.set_default_timeout(10_000)
        page.goto(site)
        page.get_by_label("Index").wait_for()
        check(page, "start")
        ask(page, "which late serotine")
        page.get_by_role("switch", name="Exact").check()
        page.locator(".statistics summary").click()
        page.locator(".field summary").first.click()
        settled(page)
        check(page, "answer")
        page.get_by_role("button", name="serotine", exact=True).hover()
        check(page, "a word")
        page.get_by_role("button", name="Add files").click()
        check(page, "files")
        page.close()
