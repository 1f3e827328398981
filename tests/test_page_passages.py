"""Passages as they are meant to be read: Markdown, code, wrapped text, other scripts; and never as markup."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from helpers.chromium import BROWSER
from helpers.page_actions import choose, search, sync_api, wait_until_settled
from helpers.page_site import ARABIC, CODE, HOSTILE_MARKDOWN

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page, Route

pytestmark = pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed (apt-get install chromium)")


def hit_of(page: Page, id_: str) -> Locator:
    return page.locator(".hit", has=page.locator(".id", has_text=id_))


def passage_of(page: Page, id_: str, query: str) -> Locator:
    """Search the index of formats, and return the whole passage of one hit."""
    choose(page, "formats")
    search(page, query)
    hit = hit_of(page, id_)
    more = hit.get_by_role("button", name="More of passage")
    if more.is_visible():
        more.click()
    return hit.locator(".passage")


def test_markdown_is_rendered(page: Page) -> None:
    passage = passage_of(page, "notes/bats.md#2", "serotine late")
    assert passage.locator("strong").all_inner_texts() == ["serotine"]
    assert passage.locator("em").all_inner_texts() == ["late"]
    assert passage.locator("code").all_inner_texts() == ["echo"]
    link = passage.get_by_role("link", name="a link")
    assert link.get_attribute("href") == "https://example.org/bats?a=1&b=2"
    assert link.get_attribute("rel") == "noopener noreferrer nofollow"
    paragraphs = passage.locator("p.paragraph")
    assert paragraphs.first.inner_text() == (
        "The serotine hunts late, with echo and a link. It is the same paragraph\nbut another line."
    )
    assert paragraphs.last.inner_text() == "snake_case_names and 2 * 3 * 4 stay, *escaped* too."
    assert passage.locator(".item").all_inner_texts() == ["beetles", "large ones", "moths", "first"]
    assert passage.locator(".item").evaluate_all("items => items.map(item => item.dataset.marker)") == [
        "•",
        "•",
        "•",
        "1.",
    ]
    assert passage.locator(".quote").all_inner_texts() == ["quoted words"]
    assert passage.locator("td").all_inner_texts() == ["kind", "weight", "serotine", "25 g"]
    assert passage.locator("pre").inner_text() == "# not a heading\ndef fly(speed):\n    return speed ** 2"
    # The words are shaded wherever they are: inside of strong ones too.
    assert {"serotine", "late"} <= {text.lower() for text in passage.locator("mark").all_inner_texts()}
    assert passage.locator("strong mark").all_inner_texts() == ["serotine"]


def test_the_last_heading_is_the_title_and_the_rest_is_small(page: Page) -> None:
    passage = passage_of(page, "notes/bats.md#2", "serotine late")
    hit = hit_of(page, "notes/bats.md#2")
    assert hit.get_by_role("heading").inner_text() == "Feeding"
    assert hit.locator(".id").inner_text() == "notes/bats.md#2"
    assert hit.locator(".place").inner_text() == "Bats of Europe · Habits"
    # The heading at the beginning of the passage is not repeated below its title.
    assert not passage.inner_text().startswith("Feeding")
    size = "element => Number.parseFloat(getComputedStyle(element).fontSize)"
    assert hit.locator(".id").evaluate(size) < 13 < hit.get_by_role("heading").evaluate(size)
    code = hit_of(page, "bat.py")
    assert code.get_by_role("heading").inner_text() == "Bat.hunts_late"
    assert code.locator(".place").inner_text() == "lines 3\N{EN DASH}90"
    wrapped = page.locator(".hit", has_text="wrapped.txt")
    assert wrapped.locator(".place").inner_text() == "pages 4\N{EN DASH}5"


def test_markdown_is_never_markup(page: Page) -> None:
    passage = passage_of(page, "notes/hostile.md#1", "late serotine")
    allowed = {"DIV", "P", "PRE", "CODE", "STRONG", "EM", "A", "TABLE", "TBODY", "TR", "TD", "MARK", "BR", "SPAN"}
    assert set(passage.locator("*").evaluate_all("all => all.map(element => element.tagName)")) <= allowed
    attributes = passage.locator("*").evaluate_all("all => all.flatMap(element => element.getAttributeNames())")
    assert set(attributes) <= {"class", "dir", "style", "href", "target", "rel", "data-words", "data-marker"}
    addresses = passage.locator("a").evaluate_all("links => links.map(link => link.href)")
    assert addresses == [
        "https://example.org/a_(b)",
        "https://example.org/%22onmouseover=%22window.hacked=4",
        "https://example.org/ok",
    ]
    # Everything is still there to read, as text.
    shown = passage.inner_text()
    for text in ("<script>window.hacked=1</script>", "<iframe src=", "&lt;b&gt; {{7*7}} ${8*8}", "<b>late</b>"):
        assert text in shown
    # Clicking on anything runs nothing and opens nothing but web addresses; the `page` fixture fails on requests.
    for label in ("script", "mixed", "data", "relative", "file"):
        passage.get_by_text(label, exact=False).first.click()
    assert page.evaluate("window.hacked") is None
    assert "hostile" in hit_of(page, "hostile.md").inner_text()


@pytest.mark.parametrize(
    "unit", ["[", "![", "**a", "_a", "`", "[a](", "\\\\", "<", "| ", "> ", "- ", "```\n", "#", "[![a]("]
)
def test_no_document_can_stop_the_page(page: Page, unit: str) -> None:
    # In the page, with its own modules: the time of 100,000 characters of one sign.
    script = """async unit => {
      const { blocksOf } = await import("/static/blocks.js");
      const started = performance.now();
      blocksOf(unit.repeat(100_000 / unit.length), "markdown");
      blocksOf(unit.repeat(100_000 / unit.length), "text");
      return performance.now() - started;
    }"""
    # Milliseconds, on a core that other tests share; what is quadratic takes minutes.
    assert page.evaluate(script, unit) < 15_000


def test_code_is_monospace_and_keeps_its_lines(page: Page) -> None:
    choose(page, "formats")
    search(page, "serotine leaves late")
    hit = hit_of(page, "bat.py")
    code = hit.locator("pre")
    assert "mono" in code.evaluate("element => getComputedStyle(element).fontFamily").lower()
    # Some whole lines around the best match.
    lines = code.inner_text().splitlines()
    assert 4 <= len(lines) <= 6
    assert "        # the serotine leaves late" in lines
    hit.get_by_role("button", name="More of passage").click()
    assert code.inner_text() == CODE
    hit.get_by_role("button", name="Less of passage").click()
    assert len(code.inner_text().splitlines()) == len(lines)


def test_a_few_of_many_short_paragraphs_are_shown(page: Page) -> None:
    choose(page, "formats")
    search(page, "bats of kind hunt")
    hit = hit_of(page, "short.txt")
    assert 3 <= hit.locator(".passage p").count() <= 6
    hit.get_by_role("button", name="More of passage").click()
    assert hit.locator(".passage p").count() == 40


def test_wrapped_lines_are_joined_and_other_lines_kept(page: Page) -> None:
    passage = passage_of(page, "notes/wrapped.txt#4", "serotine late")
    assert passage.locator("p").all_inner_texts() == [
        "The serotine is a large bat with a broad wing. It leaves its roost late in the evening, well after sunset, "
        "and hunts beetles and moths over pastures, along the edges of woods and around the lamps of villages.",
        "Things to bring:\n- a torch with a red filter, which does not disturb the animals too much\n- warm clothes",
        "Tyger Tyger, burning bright,\nIn the forests of the night;",
    ]


def test_other_directions_are_respected(page: Page) -> None:
    passage = passage_of(page, "notes/arabic.txt#5", ARABIC.split()[0])
    direction = "element => getComputedStyle(element).direction"
    assert passage.locator("p").evaluate(direction) == "rtl"
    assert hit_of(page, "arabic.txt").get_by_role("heading").evaluate(direction) == "rtl"
    assert page.get_by_label("Your query").evaluate(direction) == "rtl"
    assert page.locator(".query-words").evaluate(direction) == "rtl"


def test_a_long_query_is_smaller_and_wraps(page: Page) -> None:
    field = page.get_by_label("Your query")
    box = field.bounding_box()
    assert box is not None
    query = "which of the bats that live in old houses leaves its roost latest in the evening, " * 3
    search(page, query.strip())
    long_box = field.bounding_box()
    assert long_box is not None
    assert long_box["height"] > 1.3 * box["height"]
    assert long_box["width"] == box["width"]
    # Nothing is hidden: the field is as high as its text.
    assert field.evaluate("field => field.scrollHeight <= field.clientHeight + 1")
    size = "field => Number.parseFloat(getComputedStyle(field).fontSize)"
    small = field.evaluate(size)
    field.fill("bats")
    assert field.evaluate(size) > small
    # Enter searches; a pasted line break is a space.
    field.press("Enter")
    field.fill("late\nserotine")
    sync_api.expect(field).to_have_value("late serotine")


def test_the_side_column_has_the_whole_passage_its_neighbors_and_metadata(browser: Browser, site: str) -> None:
    page = browser.new_page(viewport={"width": 1600, "height": 900}, reduced_motion="reduce")
    page.set_default_timeout(10_000)
    page.goto(site)
    choose(page, "formats")
    search(page, "serotine late")
    panel = page.get_by_role("complementary", name="Chosen passage")
    first = page.locator(".hit").first
    sync_api.expect(panel.get_by_role("heading")).to_have_text(first.get_by_role("heading").inner_text())
    hit_of(page, "bats.md#2").locator(".passage").click()
    sync_api.expect(panel.get_by_role("heading")).to_have_text("Feeding")
    assert "snake_case_names" in panel.locator(".reading").inner_text()
    assert panel.locator("dd").all_inner_texts() == [
        "Bats of Europe",
        "Bats of Europe > Habits > Feeding",
        "notes/bats.md",
    ]
    panel.get_by_role("button", name="Show what comes before").click()
    sync_api.expect(panel.locator(".passage").first).to_have_text("Before it.")
    sync_api.expect(panel.get_by_role("button", name="Show what comes before")).to_be_hidden()
    panel.get_by_role("button", name="Show what comes after").click()
    sync_api.expect(panel.locator(".passage").last).to_have_text("After it.")
    # The next one does not exist.
    panel.get_by_role("button", name="Show what comes after").click()
    sync_api.expect(panel.get_by_role("button", name="Show what comes after")).to_be_hidden()
    sync_api.expect(page.get_by_role("alert")).to_be_hidden()
    # Pointing at a word of the query shows its matches there too; the keyboard chooses as well.
    page.get_by_role("button", name="serotine", exact=True).hover()
    assert panel.locator("mark.chosen").first.inner_text().lower() == "serotine"
    page.get_by_label("Your query").press("ArrowDown")
    sync_api.expect(panel.get_by_role("heading")).to_have_text(first.get_by_role("heading").inner_text())
    # On a narrow screen there is none.
    page.set_viewport_size({"width": 900, "height": 900})
    sync_api.expect(panel).to_be_hidden()
    page.close()


def test_examples_are_suggested_and_searched(page: Page) -> None:
    choose(page, "bats")
    examples = page.get_by_role("list", name="Examples").get_by_role("button")
    sync_api.expect(examples).to_have_text([re.compile("About bats")] * 4)
    examples.first.click()
    sync_api.expect(page.locator(".hit").first).to_be_visible()
    assert page.get_by_label("Your query").input_value() == "About bats 0"


def test_an_empty_index_asks_for_files(page: Page) -> None:
    choose(page, "empty")
    sync_api.expect(page.get_by_text("Drop files or a folder here", exact=True)).to_be_visible()
    page.get_by_role("main").get_by_role("button", name="Add files").click()
    sync_api.expect(page.get_by_role("dialog")).to_be_visible()


def test_the_api_reference_links_back(page: Page, site: str) -> None:
    page.get_by_role("link", name="HTTP API").click()
    page.get_by_role("link", name="Search page").click()
    assert page.url.rstrip("/") == site


def test_hostile_markdown_covers_what_it_says() -> None:
    assert HOSTILE_MARKDOWN.count("javascript:") >= 6


def test_several_indexes_are_searched_as_one(page: Page) -> None:
    bodies: list[dict[str, Any]] = []
    page.on("request", lambda r: bodies.append(json.loads(r.post_data or "")) if r.url.endswith("/search") else None)
    assert page.get_by_label("Index").locator("option").last.inner_text() == "5 indexes with fake"
    page.get_by_label("Index").select_option("*")
    search(page, "late serotine")
    # One request for all indexes with this encoder; the best by score, whichever index has them.
    assert [body["indexes"] for body in bodies] == [["bats", "strange", "empty", "tags", "formats"]]
    scores = [float(text) for text in page.locator(".hit .score > span").all_inner_texts()]
    assert len(scores) == 10
    assert scores == sorted(scores, reverse=True)
    names = page.locator(".hit .of-index").all_inner_texts()
    assert {"bats", "formats"} <= set(names)
    sync_api.expect(page.get_by_role("button", name="Add files")).to_be_hidden()
    assert "index=*" in page.url
    # Scores of words depend on the index: they become those of ranks, so that no lower score is above a higher one.
    for mode in ("Both", "Words"):
        page.get_by_label(mode, exact=True).check()
        sync_api.expect(page.locator(".progress-line.on")).to_have_count(0)
        scores = [float(text) for text in page.locator(".hit .score > span").all_inner_texts()]
        assert scores == sorted(scores, reverse=True)
    shown = page.locator(".hit").evaluate_all("hits => hits.map(hit => hit.querySelector('.of-index').textContent)")
    assert len(set(shown[:3])) == 3
    page.reload()
    sync_api.expect(page.locator(".hit").first).to_be_visible()
    assert page.get_by_label("Index").input_value() == "*"
    page.get_by_label("Meaning", exact=True).check()
    page.get_by_role("switch", name="Exact").check()
    sync_api.expect(page.locator(".certificate")).to_contain_text("Proved bats: Exact: ")
    sync_api.expect(page.locator(".certificate")).to_contain_text(" tags: Exact: ")


def test_warnings_of_a_search_are_shown(page: Page) -> None:
    def with_warning(route: Route) -> None:
        response = route.fetch()
        body = response.json()
        body["warnings"] = [{"kind": "TruncatedTextWarning", "message": "query: longer than <b>5</b> tokens"}]
        route.fulfill(response=response, json=body)

    page.route("**/search", with_warning)
    search(page, "late serotine")
    sync_api.expect(page.get_by_label("Warnings").get_by_role("listitem")).to_have_text(
        ["query: longer than <b>5</b> tokens"]
    )
    page.unroute("**/search")
    search(page, "late owls")
    sync_api.expect(page.get_by_label("Warnings")).to_be_hidden()


def test_hits_show_their_score_per_token(page: Page) -> None:
    with page.expect_response("**/search") as response:
        search(page, "late serotine")
    per_token = [hit["score_per_token"] for hit in response.value.json()["hits"]]
    assert page.locator(".hit .score > span").all_inner_texts() == [f"{value:.2f}" for value in per_token]
    assert set(page.locator(".hit .score small").all_inner_texts()) == {"per token"}
    # What both rankings decide has its own score, and the one per token beside it.
    page.get_by_label("Both", exact=True).check()
    wait_until_settled(page)
    fused = [float(text) for text in page.locator(".hit .score > span").all_inner_texts()]
    assert fused == sorted(fused, reverse=True)
    assert fused[0] < 0.04
    assert re.fullmatch(r"\d\.\d\d per token", page.locator(".hit .score small").first.inner_text())
    page.get_by_text("Words", exact=True).click()
    wait_until_settled(page)
    sync_api.expect(page.locator(".hit .score small").first).to_be_hidden()


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        (
            "def leave(self):\n        if late:\n            return 1\n\n        return 2",
            "def leave(self):\n    if late:\n        return 1\n\n    return 2",
        ),
        ("public int count() {\n        return bats;\n    }", "public int count() {\n    return bats;\n}"),
        ("def count\n    bats\n  end", "def count\n  bats\nend"),
        ("def top():\n    if late:\n        return 1", "def top():\n    if late:\n        return 1"),
        ("def top():\n\treturn 1", "def top():\n\treturn 1"),
        ("import os\n\n\ndef top():\n    pass", "import os\n\n\ndef top():\n    pass"),
    ],
)
def test_a_method_is_indented_as_its_first_line(page: Page, code: str, shown: str) -> None:
    script = """async code => {
      const { blocksOf } = await import(new URL("static/blocks.js", document.baseURI));
      return blocksOf(code, "code")[0].ranges.map(({ start, end }) => code.slice(start, end)).join("");
    }"""
    assert page.evaluate(script, code) == shown


def test_hits_show_no_score_per_token_that_means_nothing(page: Page) -> None:
    def with_warning(route: Route) -> None:
        response = route.fetch()
        warning = {"kind": "UnknownTextWarning", "message": "query: 100% outside the vocabulary"}
        route.fulfill(response=response, json={**response.json(), "warnings": [warning]})

    page.route("**/search", with_warning)
    search(page, "late serotine")
    sync_api.expect(page.locator(".hit .score > span").first).to_have_text("-")
    sync_api.expect(page.locator(".hit .score small").first).to_be_hidden()
