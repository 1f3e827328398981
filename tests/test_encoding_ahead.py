"""Work on another thread ahead of its use: order, errors, bounds, and the same vectors and warnings as without it."""

from __future__ import annotations

import contextvars
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from helpers.fakes import WordEncoder
from numpy.typing import NDArray

from serotine import Encoder
from serotine.ahead import computed_ahead
from serotine.encoders import windows
from serotine.errors import TruncatedTextWarning, UnknownTextWarning
from serotine.index import text_vectors

_setting: contextvars.ContextVar[int] = contextvars.ContextVar("setting", default=0)


def test_items_come_in_order_from_one_other_thread() -> None:
    threads: set[int] = set()

    def items() -> Iterator[int]:
        for number in range(50):
            threads.add(threading.get_ident())
            yield number

    assert list(computed_ahead(items(), 3)) == list(range(50))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


@pytest.mark.parametrize("depth", [1, 4])
def test_at_most_depth_items_are_ahead(depth: int) -> None:
    started: list[int] = []
    ahead = computed_ahead((started.append(number) or number for number in range(20)), depth)  # type: ignore[func-returns-value]
    for number in ahead:
        time.sleep(0.005)
        assert len(started) <= number + 1 + depth


def test_an_error_follows_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("texts[3]: broken")

    received: list[int] = []
    with pytest.raises(ValueError, match=r"^texts\[3\]: broken$"):
        received.extend(computed_ahead(items()))
    assert received == [1, 2]


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("started", [0, 2])
def test_without_a_thread_items_are_computed_when_due(
    depth: int, started: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the limit of threads none starts at all; when the interpreter exits, what is running ends."""
    submit = ThreadPoolExecutor.submit
    calls = 0

    def limited(executor: ThreadPoolExecutor, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > started:
            raise RuntimeError("can't start new thread")
        return submit(executor, *arguments)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", limited)
    assert list(computed_ahead(range(10), depth)) == list(range(10))
    assert calls == started + 1


def test_a_thread_that_cannot_start_loses_no_item(monkeypatch: pytest.MonkeyPatch) -> None:
    """`submit` queues the work before it starts the thread."""

    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    ahead = computed_ahead(range(5))
    received = [next(ahead), next(ahead)]
    monkeypatch.undo()
    assert received + list(ahead) == list(range(5))


def test_a_caller_that_ends_early_leaves_no_thread() -> None:
    before = threading.active_count()
    ahead = computed_ahead(iter(range(1000)))
    assert next(ahead) == 0
    ahead.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_an_interrupt_of_the_caller_ends_the_thread() -> None:
    before = threading.active_count()

    def interrupted() -> None:
        for _ in computed_ahead(iter(range(1000))):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert threading.active_count() == before


def test_items_see_the_caller_s_context() -> None:
    token = _setting.set(7)
    try:
        assert list(computed_ahead(_setting.get() for _ in range(3))) == [7, 7, 7]
    finally:
        _setting.reset(token)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(num_threads=1)


TEXTS = [f"{'bats hunt at dusk ' * (number % 5)}{number}" for number in range(23)]


def test_windows_give_the_same_vectors_in_the_same_order(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    # One text a batch: what is beside a text in a padded batch must not matter here.
    whole = encoder.encode_documents(TEXTS, batch_tokens=1)
    monkeypatch.setattr(windows, "_TEXTS", 4)
    for vectors, expected in zip(encoder.encode_documents(TEXTS, batch_tokens=1), whole, strict=True):
        np.testing.assert_array_equal(vectors, expected)


def test_windows_count_and_name_texts_as_one_call(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "_TEXTS", 4)
    texts = ["bats"] * 9
    texts[6] = texts[8] = "bats " * 600
    texts[5] = "\U0001f987\U0001f319"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        encoder.encode_documents(texts)
    messages = {warning.category: str(warning.message) for warning in caught}
    assert set(messages) == {TruncatedTextWarning, UnknownTextWarning}
    assert messages[TruncatedTextWarning].startswith("texts: 2 of 9 longer")
    assert "texts[6] with 600" in messages[TruncatedTextWarning]
    assert "texts[5]" in messages[UnknownTextWarning]
    assert {warning.filename for warning in caught} == {__file__}


def test_known_texts_look_for_no_package(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serotine.coverage.multilingual_advice", lambda _: pytest.fail("looked for a package"))
    (vectors,) = encoder.encode_queries(["a bat at night"])
    assert vectors.shape == (6, encoder.dim)


@pytest.mark.parametrize("query", [False, True])
def test_counts_equal_those_of_coverage(encoder: Encoder, query: bool) -> None:
    texts = ["", "  bats \U0001f987 at night ", "bats " * 600, "ночные летучие мыши"]
    side = encoder.spec.query if query else encoder.spec.document
    tokens, coverages = encoder._tokenizer.encode_and_measure(texts, side)
    assert coverages == encoder.coverage(texts, query=query)
    for text, expected in zip(tokens, encoder._tokenizer.encode(texts, side), strict=True):
        np.testing.assert_array_equal(text.ids, expected.ids)


def test_an_error_of_the_tokenizer_reaches_the_caller(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "_TEXTS", 4)
    calls: list[int] = []
    encode = encoder._tokenizer.encode_and_measure

    def failing(texts: list[str], side: object) -> object:
        calls.append(len(texts))
        if len(calls) == 3:
            raise ValueError("a text fails")
        return encode(texts, side)  # type: ignore[arg-type]

    monkeypatch.setattr(encoder._tokenizer, "encode_and_measure", failing)
    with pytest.raises(ValueError, match=r"^a text fails$"):
        encoder.encode_documents(TEXTS)
    assert calls == [4, 4, 4]


def test_batch_tokens_must_be_positive(encoder: Encoder) -> None:
    with pytest.raises(ValueError, match=r"^batch_tokens: must be at least 1, got 0"):
        encoder.encode_documents(["bats"], batch_tokens=0)


class _NotingEncoder(WordEncoder):
    """Sets an event when the texts of the second call are encoded."""

    def __init__(self) -> None:
        super().__init__()
        self.second = threading.Event()
        self.calls = 0

    def encode_documents(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        self.calls += 1
        if self.calls == 2:
            self.second.set()
        return super().encode_documents(texts)


def test_a_batch_is_encoded_while_the_one_before_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_vectors, "_BATCH", 2)
    encoder = _NotingEncoder()
    texts = ["bat", "owl", "", "fox bat", "emu"]
    vectors = text_vectors.encode_documents(encoder, texts, encoder.dim, show_progress=False)
    rows = [next(vectors)]
    assert encoder.second.wait(30)
    rows += vectors
    assert encoder.calls == 3
    expected = [WordEncoder().encode_documents([text])[0] if text else np.empty((0, encoder.dim)) for text in texts]
    for row, alone in zip(rows, expected, strict=True):
        np.testing.assert_array_equal(row, alone.astype(np.float16))
