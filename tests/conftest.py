"""What several test modules share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

# Triton reads this while it is being imported, and transformers imports it: before any test module does. Where there
# is an NVIDIA driver the kernels run on the GPU.
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# A job that a shell starts in the background ignores Ctrl-C, and so do the programs it starts, which tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

from typing import TYPE_CHECKING

import pytest

from serotine import maxsim
from serotine.encoders import choice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page


@pytest.fixture(params=maxsim.capabilities().supported)
def path(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every instruction set this machine can run, one after the other."""
    maxsim.use(request.param)
    yield request.param
    maxsim.use("auto")


@pytest.fixture(scope="session", autouse=True)
def float32_in_torch() -> Iterator[None]:
    """torch in float32 on every processor: vectors are compared with those of other libraries."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choice, "best_dtype", lambda device: "float32")
        yield


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of two layers, as a dense encoder."""
    # Imports torch, which not every test needs.
    from helpers.checkpoints import dense

    return dense(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A folder with a small training set."""
    from helpers.training_cases import pairs

    pairs(tmp_path / "pairs.jsonl", range(160))
    return tmp_path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with the indexes of `page_site.create_indexes`."""
    from helpers.page_site import create_indexes, start_server

    root = tmp_path_factory.mktemp("page")
    process, address = start_server(root / "log", *create_indexes(root))
    yield address
    process.terminate()
    process.wait(30)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, controlled by Playwright."""
    from helpers.chromium import BROWSER
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
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
