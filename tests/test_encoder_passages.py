"""Late chunking: passages of a document, encoded with the text around them."""

from __future__ import annotations

import unicodedata
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from serotine import Encoder
from serotine.cutting import Cutter
from serotine.encoders import long_texts, passages, tokenization
from serotine.errors import UnknownTextWarning

mini = pytest.importorskip("serotine_mini")
BAT = (
    "The serotine is a large bat. It emerges late in the evening, and hunts beetles along hedges.\n\nIt lives in roofs."
)
TEXTS = {
    "latin": BAT,
    "composed": unicodedata.normalize("NFC", "Größe, naïve café — ÉLAN! ") * 3,
    "decomposed": unicodedata.normalize("NFD", "Größe, naïve café — ÉLAN! ") * 3,
    "astral": "🦇 flies 🌙 at night 👩‍🔬 with \U0001d51e \U0001d553at. " * 3,
    "right to left": "الخفاش حيوان ثديي ليلي. העטלף עף בלילה. " * 3,
    "no spaces": "東京は日本の首都です。人口は約1400万人。" * 3,
    "spaces": "  spaces   and\ttabs\n\n and lines \n ",
}


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder()


@pytest.fixture(scope="module", params=["bert", "xlm-roberta", "modernbert", "pplx", "prompts"])
def other(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    """Every kind of tokenizer, with a marker, a skip list or a prompt, of 48 tokens."""
    pytest.importorskip("torch")
    from helpers import checkpoints

    folder = tmp_path_factory.mktemp("other") / "model"
    if request.param == "prompts":
        prompts = {"query": "query: ", "document": "passage: "}
        checkpoints.sentence_transformers(folder, "xlm-roberta", prompts=prompts, transformer={"max_seq_length": 48})
    else:
        checkpoints.pylate(folder, request.param)
    return Encoder(folder, backend="torch", device="cpu")


def beginning(encoder: Encoder, text: str) -> str:
    """Return the part of a text that is read whole."""
    (characters,) = encoder.token_spans([text])
    return text[: characters[min(len(characters), 30) - 1][1]]


def halves(text: str) -> list[tuple[int, int]]:
    """Return two spans that cut a text at a space, or in the middle."""
    middle = text.rfind(" ", 1, len(text) // 2)
    middle = middle if middle > 0 else len(text) // 2
    return [(0, middle), (middle, len(text))]


def rows(encoder: Encoder, text: str) -> list[int]:
    """Return the first character of the token of every row, -1 for those beside the text."""
    tokens = encoder.tokens(text, query=False)
    return [token.start if token.end > token.start else -1 for token in tokens]


@pytest.mark.filterwarnings("ignore::serotine.errors.UnknownTextWarning")
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_one_span_of_the_whole_text_is_the_document(encoder: Encoder, other: Encoder, text: str) -> None:
    for each in (encoder, other):
        read = beginning(each, text)
        (expected,) = each.encode_documents([read])
        (vectors,) = each.encode_passages(read, [(0, len(read))])
        np.testing.assert_allclose(vectors, expected, atol=1e-6)


@pytest.mark.filterwarnings("ignore::serotine.errors.UnknownTextWarning")
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_every_token_is_in_one_passage_with_the_vector_of_the_window(
    encoder: Encoder, other: Encoder, text: str
) -> None:
    for each in (encoder, other):
        read = beginning(each, text)
        spans = halves(read)
        (expected,) = each.encode_documents([read])
        parts = each.encode_passages(read, spans, allow_empty=True)
        tokens = [
            each.passage_tokens(read, *span) if len(part) else [] for span, part in zip(spans, parts, strict=True)
        ]
        assert [len(part) for part in parts] == [len(part) for part in tokens]
        offsets = [
            token.start + span[0]
            for span, part in zip(spans, tokens, strict=True)
            for token in part
            if token.end > token.start
        ]
        # SentencePiece counts the space before a word, which here is another passage's.
        whole = [read[start:].lstrip() for start in rows(each, read) if start >= 0]
        assert [read[start:].lstrip() for start in offsets] == whole
        beside = np.array(rows(each, read)) < 0
        of_text = np.concatenate(
            [part[[token.end > token.start for token in named]] for part, named in zip(parts, tokens, strict=True)]
        )
        np.testing.assert_allclose(of_text, expected[~beside], atol=1e-6)
        for part, named in zip(parts, tokens, strict=True):
            if len(part):
                np.testing.assert_allclose(
                    part[[token.end == token.start for token in named]], expected[beside], atol=1e-6
                )


def test_a_long_document_is_encoded_in_windows_that_share_a_quarter(encoder: Encoder) -> None:
    # Each is one token, so that a window's text has the tokens of the window.
    words = np.random.default_rng(0).choice(["bats", "late", "night", "large", "roof", "evening", "in"], 1_300)
    text = " ".join(words)
    spans = Cutter(encoder).cut(text, 64, 0)
    parts = encoder.encode_passages(text, spans)
    (characters,) = encoder.token_spans([text])
    assert sum(map(len, parts)) == len(characters) + 2 * len(spans)  # [CLS] and [SEP]
    room = encoder.document_room
    starts = [*range(0, len(characters) - room, room - room // 4), len(characters) - room]
    bounds = [0, *((first + second + room) // 2 for first, second in pairwise(starts)), len(characters)]
    assert len(starts) > 2
    own = np.concatenate([part[1:-1] for part in parts])
    for start, (low, high) in zip(starts, pairwise(bounds), strict=True):
        last = start + room - 1
        window = text[characters[start, 0] : characters[last, 1]]
        (expected,) = encoder.encode_documents([window])
        np.testing.assert_allclose(own[low:high], expected[1:-1][low - start : high - start], atol=1e-6)


def test_vectors_depend_on_the_context_but_not_on_the_other_spans(encoder: Encoder) -> None:
    text = " ".join([BAT] * 40)
    spans = Cutter(encoder).cut(text, 64, 0)
    together = encoder.encode_passages(text, spans)
    for number in (0, 7, len(spans) - 1):
        (single,) = encoder.encode_passages(text, [spans[number]])
        np.testing.assert_array_equal(single, together[number])
    start, end = spans[1]
    (alone,) = encoder.encode_documents([text[start:end]])
    assert len(alone) == len(together[1])
    assert not np.allclose(alone, together[1], atol=1e-2)


def test_text_between_spans_is_context_only(encoder: Encoder) -> None:
    start = BAT.index("It emerges")
    (vectors,) = encoder.encode_passages(BAT, [(start, start + 10)])
    assert [token.text for token in encoder.passage_tokens(BAT, start, start + 10)] == [
        *("[CLS]", "it", "emerges", "[SEP]")
    ]
    assert vectors.shape == (4, 128)
    assert encoder.encode_passages(BAT, []) == []


@pytest.mark.filterwarnings("ignore::serotine.errors.UnknownTextWarning")
@pytest.mark.parametrize("seed", range(3))
def test_a_very_long_document_is_tokenized_in_pieces(
    encoder: Encoder, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(seed)
    text = " " * 500 + " ".join(rng.choice(["bats", "Größe", "蝙蝠", "🦇", "12.5"], 900)) + "\n" * 500
    spans = Cutter(encoder).cut(text, 64, 0)
    expected = encoder.encode_passages(text, spans)
    for module in (long_texts, tokenization):
        monkeypatch.setattr(module, "PIECE", 400)
    for one, another in zip(encoder.encode_passages(text, spans), expected, strict=True):
        np.testing.assert_array_equal(one, another)


def test_all_backends_agree(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    from helpers import checkpoints

    from serotine.encoders import export_encoder

    folder = checkpoints.pylate(tmp_path / "model", "bert", sizes=checkpoints.NATIVE_SIZES["bert"])
    torch, native = Encoder(folder, backend="torch", device="cpu"), Encoder(folder, backend="native")
    export_encoder(folder, tmp_path / "onnx")
    onnx = Encoder(tmp_path / "onnx", backend="onnx")
    text = " ".join([BAT] * 4)
    spans = Cutter(torch).cut(text, 20, 0)
    expected = torch.encode_passages(text, spans)
    assert len(expected) > 5
    for backend, least in ((onnx, 0.9999), (native, 0.95)):
        cosines = [
            np.einsum("ij,ij->i", one, another)
            for one, another in zip(backend.encode_passages(text, spans), expected, strict=True)
        ]
        assert np.concatenate(cosines).mean() > least


def test_token_pooling_merges_within_passages() -> None:
    pytest.importorskip("scipy")
    text = " ".join([BAT] * 3)
    spans = halves(text)
    pooled = Encoder(pool_factor=2).encode_passages(text, spans)
    for part, whole in zip(pooled, Encoder().encode_passages(text, spans), strict=True):
        assert len(whole) // 2 <= len(part) <= len(whole) // 2 + 1


def test_leading_dimensions(encoder: Encoder) -> None:
    (part,) = Encoder(dim=64).encode_passages(BAT, [(0, 28)])
    full = encoder.encode_passages(BAT, [(0, 28)])[0][:, :64]
    np.testing.assert_allclose(part, full / np.linalg.norm(full, axis=1, keepdims=True), atol=1e-6)


WITHIN = "must be within the text's 112 characters, got"
PAIR = "must be two integers, start and end, got"


@pytest.mark.parametrize(
    ("spans", "kind", "message"),
    [
        ([(0, 10), (100, 115)], ValueError, f"spans[1]: {WITHIN} (100, 115); offsets count characters"),
        ([(-1, 10)], ValueError, f"spans[0]: {WITHIN} (-1, 10)"),
        ([(10, 5)], ValueError, f"spans[0]: {WITHIN} (10, 5)"),
        ([(0, 10), (5, 20)], ValueError, "spans[1]: must begin where spans[0] ends, at 10, or later, got (5, 20)"),
        ([(20, 30), (0, 10)], ValueError, "spans[1]: must begin where spans[0] ends, at 30, or later, got (0, 10)"),
        ([(0, 10), (10, 10)], ValueError, "spans[1]: must not be empty, got (10, 10); leave it out"),
        ([(0, 28), (28, 29)], ValueError, "spans[1]: must have tokens, got ' ' at (28, 29); leave it out"),
        ([(0, 1.5)], TypeError, f"spans[0]: {PAIR} (0, 1.5)"),
        ([(0, True)], TypeError, f"spans[0]: {PAIR} (0, True)"),
        ([3], TypeError, f"spans[0]: {PAIR} 3"),
        ("0-10", TypeError, "spans: must be a list of pairs (start, end)"),
    ],
)
def test_bad_spans_are_named(encoder: Encoder, spans: Any, kind: type[Exception], message: str) -> None:
    assert len(BAT) == 112
    with pytest.raises(kind) as raised:
        encoder.encode_passages(BAT, spans)
    assert str(raised.value).startswith(message)


def test_other_bad_arguments(encoder: Encoder) -> None:
    with pytest.raises(TypeError, match="document: must be a string, got"):
        encoder.encode_passages([BAT], [(0, 1)])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="document: contains a lone surrogate"):
        encoder.encode_passages("bat \udcff", [(0, 1)])
    with pytest.raises(ValueError, match="batch_tokens: must be at least 1"):
        encoder.encode_passages(BAT, [(0, 1)], batch_tokens=0)


def test_a_span_without_tokens_may_be_allowed(encoder: Encoder) -> None:
    first, empty = encoder.encode_passages(BAT, [(0, 28), (28, 29)], allow_empty=True)
    assert (first.shape, empty.shape) == ((10, 128), (0, 128))


def test_long_documents_warn_of_unknown_text_only(encoder: Encoder) -> None:
    text = "ค้างคาวเป็นสัตว์เลี้ยงลูกด้วยนม " * 200
    with pytest.warns(UnknownTextWarning, match="1 of 1 more than 20% outside") as warned:
        encoder.encode_passages(text, [(0, len(text))])
    assert len(warned) == 1


@pytest.mark.parametrize(("count", "room"), [(0, 8), (8, 8), (9, 8), (14, 8), (15, 8), (100, 8), (3, 1), (7, 2)])
def test_windows_cover_every_token_once(count: int, room: int) -> None:
    windows = passages._windows(count, room)
    owned: list[NDArray[np.int64]] = []
    begin = 0
    for start, end, last in windows:
        assert start <= begin <= last <= end <= start + room
        owned.append(np.arange(begin, last))
        begin = last
    np.testing.assert_array_equal(np.concatenate(owned), np.arange(count))
    if count > room >= 4:
        for (_, _, last), (start, _, _) in pairwise(windows):
            assert last - start >= room // 8
