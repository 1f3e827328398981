"""The page over an index in shards: what a person sees while a shard is down, and when it is back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from helpers.chromium import BROWSER
from helpers.page_actions import search, sync_api
from helpers.served_shards import Opener, opener
from helpers.serving_cases import TEXTS

from serotine.distributed import owner
from serotine.serving import ServerSettings
from serotine.serving.http.app import create_app

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["opener"]  # a fixture, used by its name

pytestmark = pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed (apt-get install chromium)")


@pytest.fixture
def address(opener: Opener, tmp_path: Path) -> Iterator[str]:
    """A server of this process over the shards of `opener`."""
    uvicorn = pytest.importorskip("uvicorn")
    (tmp_path / "state").mkdir()
    app = create_app(ServerSettings(indexes={}, state=tmp_path / "state", shards={"wiki": opener}))
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    end = time.monotonic() + 30
    while not server.started:
        assert time.monotonic() < end
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def shown_ids(page: Page) -> set[str]:
    return {id_ for id_ in TEXTS if page.locator(".hit", has_text=TEXTS[id_]).count()}


def test_the_page_says_which_shards_are_down_until_they_are_back(
    browser: Browser, address: str, opener: Opener
) -> None:
    down = owner("d1", 3)
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(10_000)
    try:
        page.goto(address)
        warnings = page.get_by_role("status", name="Warnings")
        search(page, "bats and cats at night")
        assert shown_ids(page) == set(TEXTS)
        sync_api.expect(warnings).to_be_hidden()
        opener.shards.down.add(down)
        search(page, "bats and cats by night")
        sync_api.expect(warnings).to_have_text(f"hits: only 2 of 3 shards were searched, not shard {down} (down)")
        assert shown_ids(page) == {id_ for id_ in TEXTS if owner(id_, 3) != down}
        opener.shards.down.update(range(3))
        page.get_by_label("Your query").fill("bats and cats in the night")
        problem = page.get_by_role("alert")
        sync_api.expect(problem).to_contain_text("none of its 3 shards answered")
        opener.shards.down.clear()
        problem.get_by_role("button", name="Try again").click()
        sync_api.expect(problem).to_be_hidden()
        sync_api.expect(warnings).to_be_hidden()
        sync_api.expect(page.locator(".hit")).to_have_count(len(TEXTS))
    finally:
        context.close()
