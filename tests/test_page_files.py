"""Files added on the page, and the rights that it needs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from helpers.chromium import BROWSER
from helpers.cli_fake import FakeEncoder
from helpers.page_actions import passages, search, sync_api, wait_until_settled
from helpers.page_site import create_indexes, start_server

from serotine import Index

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Route

pytestmark = pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed (apt-get install chromium)")

# One cell of text, and one whose output is a picture.
NOTEBOOK = json.dumps(
    {
        "nbformat": 4,
        "metadata": {},
        "cells": [
            {"cell_type": "markdown", "source": "Bats hunt at night."},
            {
                "cell_type": "code",
                "source": "plot()",
                "outputs": [{"output_type": "display_data", "data": {"image/png": "AAAA", "text/plain": "<Figure>"}}],
            },
        ],
    }
)
# A color as the browser computes it, to compare it with that of an element.
RESOLVED = """color => {
  const probe = document.body.appendChild(document.createElement("i"));
  probe.style.color = color;
  const resolved = getComputedStyle(probe).color;
  probe.remove();
  return resolved;
}"""


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
        # What was skipped is counted, named, and not green.
        message = dialog.locator(".message")
        sync_api.expect(message).to_have_text("2 passages added; 1 of 3 files skipped:")
        sync_api.expect(message).to_have_class(re.compile("partial"))
        color = "element => getComputedStyle(element).color"
        green = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--proof')")
        assert message.evaluate(color) != page.evaluate(RESOLVED, green)
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


@contextmanager
def add_files_dialog(browser: Browser, tmp_path: Path) -> Iterator[Locator]:
    """The dialog "Add files" on the page of a server with an empty index."""
    Index.create(tmp_path / "mine.serotine", encoder=FakeEncoder()).close()
    process, address = start_server(tmp_path / "log", tmp_path / "mine.serotine")
    try:
        page = browser.new_page()
        page.set_default_timeout(20_000)
        page.goto(address)
        page.get_by_role("button", name="Add files").first.click()
        dialog = page.get_by_role("dialog")
        yield dialog
        page.close()
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize(
    ("content", "state", "message", "listed"),
    [
        ({"a.txt": "Bats hunt."}, "done", "1 passage added.", []),
        (
            {"a.ipynb": NOTEBOOK},
            "partial",
            "1 passage added; not read: images (1).",
            [],
        ),
        (
            {"rows.jsonl": '{"_id": "a", "text": "bats"}\n{"_id": "b", "text": 3}\n'},
            "partial",
            "1 passage added; 1 row skipped:",
            ["rows.jsonl:2"],
        ),
        (
            {"a.xyz": "?", "b.jsonl": "{"},
            "failed",
            "0 passages added; 2 of 2 files skipped:",
            ["a.xyz", "b.jsonl"],
        ),
    ],
)
def test_the_color_says_whether_everything_was_indexed(
    browser: Browser, tmp_path: Path, content: dict[str, str], state: str, message: str, listed: list[str]
) -> None:
    with add_files_dialog(browser, tmp_path) as dialog:
        files = [{"name": name, "mimeType": "text/plain", "buffer": text.encode()} for name, text in content.items()]
        dialog.locator("input").first.set_input_files(files)
        sync_api.expect(dialog.locator(".message")).to_have_text(message)
        sync_api.expect(dialog.locator(".message")).to_have_class(re.compile(rf"\b{state}\b"))
        sync_api.expect(dialog.get_by_role("listitem")).to_have_count(len(listed))
        for name in listed:
            sync_api.expect(dialog.get_by_role("listitem").filter(has_text=name)).to_be_visible()
        if state == "done":
            # Again, with a hidden file: nothing changes, and it says so.
            files.append({"name": ".hidden", "mimeType": "text/plain", "buffer": b"x"})
            dialog.locator("input").first.set_input_files(files)
            expected = "0 passages added; 1 file unchanged; 1 hidden left out."
            sync_api.expect(dialog.locator(".message")).to_have_text(expected)


def test_an_upload_says_what_it_changed(browser: Browser, tmp_path: Path) -> None:
    with add_files_dialog(browser, tmp_path) as dialog:

        def send(rows: list[dict[str, object]], **others: str) -> None:
            content = {"rows.jsonl": "".join(f"{json.dumps(row)}\n" for row in rows), **others}
            dialog.locator("input").first.set_input_files(
                [{"name": name, "mimeType": "text/plain", "buffer": text.encode()} for name, text in content.items()]
            )

        rows: list[dict[str, object]] = [{"_id": id_, "text": f"bats {id_}", "n": 1} for id_ in "abcd"]
        send(rows, **{"same.txt": "Owls."})
        sync_api.expect(dialog.locator(".message")).to_have_text("5 passages added.")
        # One text changes, one document goes, one has other metadata, one is new; one file stays as it is.
        send(
            [{**rows[0], "text": "owls"}, {**rows[0], "_id": "e"}, {**rows[2], "n": 2}, rows[3]],
            **{"same.txt": "Owls."},
        )
        sync_api.expect(dialog.locator(".message")).to_have_text(
            "2 passages added; 1 of them replaced; 1 file unchanged; 1 passage removed; metadata of 1 passage changed."
        )
        sync_api.expect(dialog.locator(".message")).to_have_class(re.compile(r"\bdone\b"))


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({"truncated": 2}, "2 too long for the encoder, their ends are not searched"),
        ({"unknown": 1}, "1 in a script the encoder does not know, found by words only"),
        ({"cut_records": 1}, "1 long record cut into passages"),
        ({"problems": {"count": 3, "files": 1, "first": []}}, "3 places possibly misread"),
        ({"unread": {"images": 2, "attachments": 1}}, "not read: images (2), attachments (1)"),
        ({"skipped_rows": {"count": 2, "files": 1, "first": []}}, "2 rows skipped:"),
    ],
)
def test_what_is_dropped_of_an_upload_is_counted_in_words(
    browser: Browser, tmp_path: Path, counts: dict[str, object], words: str
) -> None:
    def answer(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, json={**response.json(), **counts})

    with add_files_dialog(browser, tmp_path) as dialog:
        dialog.page.route("**/v1/jobs/*", answer)
        dialog.locator("input").first.set_input_files(
            [{"name": "a.txt", "mimeType": "text/plain", "buffer": b"Bats hunt."}]
        )
        end = "" if words.endswith(":") else "."
        sync_api.expect(dialog.locator(".message")).to_have_text(f"1 passage added; {words}{end}")
        # Records that were cut are searched whole.
        state = "done" if "cut_records" in counts else "partial"
        sync_api.expect(dialog.locator(".message")).to_have_class(re.compile(rf"\b{state}\b"))


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
        message = "1,001 passages added; 2 of 1,003 files skipped:"
        sync_api.expect(dialog.locator(".message.partial")).to_have_text(message, timeout=120_000)
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
        sync_api.expect(page.locator(".hit").first).to_be_visible()
        wait_until_settled(page)
        assert passages(page)[0].startswith("The serotine")
        sync_api.expect(page.get_by_role("button", name="Add files")).to_be_hidden()
        page.close()
        page = browser.new_page()
        page.set_default_timeout(10_000)
        page.goto(address)
        page.get_by_label("Token", exact=True).fill("writing-is-for-a-few")
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Add files").click()
        # As if the token had lost its right meanwhile.
        refusal = json.dumps({"error": {"code": "forbidden", "message": "this token may only read"}})
        page.route("**/files", lambda route: route.fulfill(status=403, body=refusal, content_type="application/json"))
        page.get_by_role("dialog").locator("input").first.set_input_files(
            [{"name": "a.txt", "mimeType": "text/plain", "buffer": b"bats"}]
        )
        sync_api.expect(page.get_by_role("dialog")).to_contain_text("requires a token with write access")
        page.close()
    finally:
        process.terminate()
        process.wait(30)
