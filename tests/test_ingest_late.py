"""Late chunking of files: recorded, and encoded again where a passage's context has changed."""

from __future__ import annotations

import importlib
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.fakes import ShortEncoder, WordEncoder
from numpy.typing import NDArray

from serotine import Index
from serotine.errors import EncoderError
from serotine.ingest import Chunking, Ingest, IngestReport, context, update

LATE, ORDINARY = Chunking(16, late=True), Chunking(16, 0)


class LateEncoder(ShortEncoder):
    """A `ShortEncoder` whose words in a context get vectors of their context's first and last words too.

    Attributes:
        alone: texts that were encoded alone.
        passages: texts that were encoded in a context.
    """

    def __init__(self) -> None:
        super().__init__(document_room=64)
        self.alone: list[str] = []
        self.passages: list[str] = []
        self.limit: int | None = None

    def encode_documents(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        self.alone += texts
        return super().encode_documents(texts)

    def encode_passages(
        self, document: str, spans: Sequence[tuple[int, int]], *, allow_empty: bool = False
    ) -> list[NDArray[np.float32]]:
        assert allow_empty
        vectors = []
        for start, end in spans:
            if self.limit is not None and len(self.passages) >= self.limit:
                raise KeyboardInterrupt
            self.passages.append(document[start:end])
            vectors.append(self.in_context(document, document[start:end]))
        return vectors

    def in_context(self, document: str, passage: str) -> NDArray[np.float32]:
        (rows,) = super().encode_documents([passage])
        words = re.findall(r"\w+", document)
        return rows + 0.1 * (self._vector(words[0]) + self._vector(words[-1]))

    def reset(self) -> tuple[list[str], list[str]]:
        counted = self.alone, self.passages
        self.alone, self.passages = [], []
        return counted


class TimedEncoder(LateEncoder):
    """A `LateEncoder` on a clock of its own, which reads passages in windows of 64 words that share 16.

    Attributes:
        seconds: its clock.
        pace: seconds per word.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seconds, self.pace = 0.0, 0.001

    def encode_documents(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        self.seconds += self.pace * sum(len(text.split()) for text in texts)
        return super().encode_documents(texts)

    def encode_passages(
        self, document: str, spans: Sequence[tuple[int, int]], *, allow_empty: bool = False
    ) -> list[NDArray[np.float32]]:
        text = document[spans[0][0] : spans[-1][1]]
        windows = 1 + max(math.ceil((len(text.split()) - 64) / 48), 0)
        self.seconds += self.pace * 64 * windows
        return super().encode_passages(document, spans, allow_empty=allow_empty)


def words(count: int, last: str = "zebra", first: str = "word0") -> str:
    return " ".join([first, *(f"word{i}" for i in range(1, count - 1)), last])


def vectors(index: Index, id_: str) -> NDArray[np.float32]:
    return index.vectors(id_).astype(np.float32)


@pytest.fixture
def encoder() -> LateEncoder:
    return LateEncoder()


@pytest.fixture
def index(tmp_path: Path, encoder: LateEncoder) -> Index:
    return Index.create(tmp_path / "index", encoder=encoder)


def run(index: Index, file: Path, chunking: Chunking | None = LATE) -> IngestReport:
    return update(index, [file], chunking=chunking)


def splitting(index: Index) -> set[str]:
    return {record.splitting for record in index.sources.all().values()}


def check(index: Index, encoder: LateEncoder, text: str, *, is_late: bool = True) -> None:
    """Compare the stored vectors of all passages of a text with those that they should have."""
    passages = index.get(index.ids())
    assert len(passages) > 2
    for passage in passages:
        assert passage.text is not None
        inside = encoder.in_context(text, passage.text)
        expected = inside if is_late else WordEncoder.encode_documents(encoder, [passage.text])[0]
        np.testing.assert_allclose(vectors(index, passage.id), expected, atol=1e-2)


def test_a_text_is_encoded_in_its_context(index: Index, encoder: LateEncoder, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text(words(60))
    report = run(index, file)
    assert report.added == len(index) == 4
    assert encoder.reset() == ([], [hit.text for hit in index.get(index.ids())])
    check(index, encoder, words(60))
    assert splitting(index) == {"16/0/late"}
    # Recorded: a run without the option goes on so, for new files too.
    assert run(index, file, None).files_unchanged == 1
    (tmp_path / "b.txt").write_text(words(40, first="owl"))
    run(index, tmp_path / "b.txt", None)
    assert len(encoder.passages) == 3
    assert splitting(index) == {"16/0/late"}


def test_a_short_text_is_encoded_alone(index: Index, encoder: LateEncoder, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("bats")
    (tmp_path / "r.jsonl").write_text('{"id": "r", "text": "owls"}\n')
    for name in ("a.txt", "r.jsonl"):
        run(index, tmp_path / name)
    assert encoder.reset() == (["bats", "owls"], [])


@pytest.mark.parametrize("name", ["a.txt", "r.jsonl"])
def test_turning_it_on_and_off_encodes_again(index: Index, encoder: LateEncoder, tmp_path: Path, name: str) -> None:
    file, text = tmp_path / name, words(60)
    file.write_text(text if name == "a.txt" else json.dumps({"id": "r", "text": text}) + "\n")
    run(index, file, ORDINARY)
    ids = index.ids()
    check(index, encoder, text, is_late=False)
    report = run(index, file, LATE)
    assert (report.added, report.replaced, report.unchanged) == (4, 4, 0)
    assert index.ids() == ids
    check(index, encoder, text)
    encoder.reset()
    report = run(index, file, ORDINARY)
    assert (report.added, report.unchanged) == (4, 0)
    assert encoder.passages == []
    check(index, encoder, text, is_late=False)
    assert run(index, file, ORDINARY).files_unchanged == 1


def test_a_change_anywhere_in_a_text_encodes_all_its_passages_again(
    index: Index, encoder: LateEncoder, tmp_path: Path
) -> None:
    file = tmp_path / "a.txt"
    file.write_text(words(60))
    run(index, file)
    encoder.reset()
    file.write_text(words(60, "okapi"))
    report = run(index, file)
    assert (report.added, report.replaced, report.unchanged) == (4, 4, 0)
    check(index, encoder, words(60, "okapi"))
    # Fewer passages, of which the others have the same texts.
    encoder.reset()
    first = " ".join(hit.text or "" for hit in index.get([f"{index.ids()[0][:-2]}#{i}" for i in (1, 2, 3)]))
    file.write_text(first)
    run(index, file)
    assert len(index) == len(encoder.passages) == 3
    check(index, encoder, first)


def test_of_records_only_those_that_changed_are_encoded_again(
    index: Index, encoder: LateEncoder, tmp_path: Path
) -> None:
    file = tmp_path / "r.jsonl"

    def write(last: str) -> None:
        records = [{"id": f"r{i}", "text": words(60, "yak" if i < 3 else last, f"owl{i}")} for i in range(4)]
        file.write_text("".join(json.dumps(record) + "\n" for record in records))

    write("zebra")
    assert run(index, file).added == 16
    encoder.reset()
    write("okapi")
    report = run(index, file)
    assert (report.added, report.unchanged) == (4, 12)
    assert all("word" in passage for passage in encoder.passages)
    assert len(encoder.passages) == 4
    np.testing.assert_allclose(
        vectors(index, "r3#1"),
        encoder.in_context(words(60, "okapi", "owl3"), index.get(["r3#1"])[0].text or ""),
        atol=1e-2,
    )


def test_stretches_of_a_very_long_text_are_contexts(
    index: Index, encoder: LateEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "STRETCH", 256)
    file = tmp_path / "a.txt"
    text = " ".join(f"longword{i:04}" for i in range(100))
    file.write_text(text)
    run(index, file)
    groups = len(text) // 256 + 1
    starts = [hit.metadata["start"] for hit in index.get(index.ids())]
    assert len({start // 256 for start in starts}) == groups
    encoder.reset()
    file.write_text(text + " okapi")
    report = run(index, file)
    changed = sum(start // 256 == starts[-1] // 256 for start in starts)
    assert (report.added, report.unchanged) == (changed, len(starts) - changed)


def test_an_interrupted_update_continues(index: Index, encoder: LateEncoder, tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    records = [{"id": f"r{i}", "text": words(60, f"owl{i}")} for i in range(40)]
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    encoder.limit = 100
    with pytest.raises(KeyboardInterrupt):
        run(index, file)
    stored = len(index)
    assert 16 <= stored <= 100
    encoder.limit = None
    encoder.reset()
    run(index, file)
    # A record that was stored in part is encoded again.
    assert 160 - stored <= len(encoder.passages) <= 160 - stored + 4
    for i in (0, stored // 4, 39):
        passage = index.get([f"r{i}#2"])[0].text or ""
        np.testing.assert_allclose(
            vectors(index, f"r{i}#2"), encoder.in_context(words(60, f"owl{i}"), passage), atol=1e-2
        )


def interrupt(index: Index, encoder: LateEncoder, file: Path, text: str, limit: int) -> list[str]:
    """Update an index from a text until so many passages are encoded; return those."""
    file.write_text(text)
    encoder.reset()
    encoder.limit = limit
    with pytest.raises(KeyboardInterrupt):
        run(index, file)
    encoder.limit = None
    return encoder.reset()[1]


@pytest.mark.parametrize("is_new", [True, False])
def test_an_interrupted_text_continues(index: Index, encoder: LateEncoder, tmp_path: Path, is_new: bool) -> None:
    file, text = tmp_path / "a.txt", words(1_600)
    if not is_new:
        file.write_text(words(1_600, first="okapi"))
        run(index, file)
    passages = interrupt(index, encoder, file, text, 70)
    assert Ingest([file], encoder, chunking=LATE).plan(index).to_store == (106 - 48 if is_new else 106)
    run(index, file)
    assert len(passages) == 70
    # Of three commits, of 16, 32 and 64, two had ended.
    assert len(encoder.passages) == 106 - 48
    assert run(index, file).files_unchanged == 1
    check(index, encoder, text)


@pytest.mark.parametrize("is_new", [True, False])
def test_an_interrupted_text_that_changes_is_encoded_again(
    index: Index, encoder: LateEncoder, tmp_path: Path, is_new: bool
) -> None:
    file, text = tmp_path / "a.txt", words(1_600)
    if not is_new:
        file.write_text(words(1_600, first="okapi"))
        run(index, file)
    # Every version has another last word, which all passages have seen; what the last run stores of them is less.
    for last, limit in (("zebra", 70), ("yak", 30), ("yak", 30), ("owl", 30), ("zebra", 30)):
        interrupt(index, encoder, file, words(1_600, last), limit)
    run(index, file)
    assert encoder.passages
    check(index, encoder, text)


@pytest.mark.parametrize(("before", "after"), [(ORDINARY, LATE), (LATE, ORDINARY)])
def test_an_interrupted_update_with_another_setting_mixes_none(
    index: Index, encoder: LateEncoder, tmp_path: Path, before: Chunking, after: Chunking
) -> None:
    file = tmp_path / "a.txt"
    text = words(900)
    file.write_text(text)
    encoder.limit = 40
    if before is LATE:
        with pytest.raises(KeyboardInterrupt):
            run(index, file, before)
    else:
        run(index, file, before)
    for limit in (30, None):
        encoder.reset()
        encoder.limit = limit
        try:
            run(index, file, after)
        except KeyboardInterrupt:
            assert limit is not None
    check(index, encoder, text, is_late=after.late)


def test_staged_passages_of_another_setting_are_not_used(index: Index, encoder: LateEncoder, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("bats")
    run(index, file)
    text = words(900)
    file.write_text(text)
    encoder.limit = 50
    with pytest.raises(KeyboardInterrupt):
        run(index, file)
    assert index.sources.has_staged()
    run(index, file, ORDINARY)
    check(index, encoder, text, is_late=False)


def test_a_passage_without_tokens_is_encoded_alone(
    index: Index, encoder: LateEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = LateEncoder.encode_passages

    def without_second(
        self: LateEncoder, document: str, spans: Sequence[tuple[int, int]], *, allow_empty: bool
    ) -> list[NDArray[np.float32]]:
        parts = original(self, document, spans, allow_empty=allow_empty)
        return [np.empty((0, self.dim), np.float32) if i == 1 else part for i, part in enumerate(parts)]

    monkeypatch.setattr(LateEncoder, "encode_passages", without_second)
    file = tmp_path / "a.txt"
    file.write_text(words(60))
    run(index, file)
    second = index.get([index.ids()[1]])[0].text or ""
    assert encoder.alone == [second]
    np.testing.assert_allclose(
        vectors(index, index.ids()[1]), WordEncoder.encode_documents(encoder, [second])[0], atol=1e-2
    )


def test_a_dry_run_measures_passages_with_the_windows_they_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = TimedEncoder()
    clock = SimpleNamespace(monotonic=lambda: encoder.seconds)
    monkeypatch.setattr(importlib.import_module("serotine.ingest.estimate"), "time", clock)
    (tmp_path / "long.txt").write_text(words(2000))
    (tmp_path / "short.txt").write_text(words(10))
    files = [tmp_path / "long.txt", tmp_path / "short.txt"]
    cost = Ingest(files, encoder, chunking=LATE).estimate()
    assert encoder.reset()[0] == [words(10)] * 2, "once before it is measured"
    assert cost.sample == cost.documents
    assert Ingest(files, encoder, chunking=ORDINARY).estimate().seconds < 0.85 * cost.seconds
    encoder.pace = 1.0
    assert Ingest(files, encoder, chunking=LATE).estimate().sample == 17, "a run that takes too long is the last"
    encoder.pace = 0.001
    with Index.create(tmp_path / "i", encoder=encoder) as index:
        started = encoder.seconds
        Ingest(files, encoder, chunking=LATE).apply(index)
        assert cost.seconds == pytest.approx(encoder.seconds - started, rel=0.1)
        assert cost.tokens == pytest.approx(index.stats().tokens, rel=0.01)
        assert cost.documents == len(index)


def test_an_encoder_that_encodes_no_passages_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(words(60))
    with Index.create(tmp_path / "i", encoder=ShortEncoder()) as index:
        with pytest.raises(EncoderError, match="encoder 'short': does not encode passages in their context"):
            run(index, tmp_path / "a.txt")
        assert len(index) == 0


@pytest.mark.parametrize(
    ("tokens", "overlap", "message"),
    [
        (None, 0, "tokens: must be a number with late chunking, got None"),
        (64, 8, "overlap: must be 0 with late chunking, got 8; omit it"),
    ],
)
def test_late_chunking_excludes_overlap_and_whole_texts(tokens: int | None, overlap: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Chunking(tokens, overlap, late=True)


def test_settings_are_parsed_as_they_are_recorded() -> None:
    for chunking in (LATE, ORDINARY, Chunking(None), Chunking(256, 32)):
        assert Chunking.parse(f"{chunking} more") == chunking
    encoder = LateEncoder()
    assert Chunking.of(32, None, encoder, late=True) == Chunking(32, 0, late=True)


@pytest.mark.parametrize("late", [True, False])
def test_passages_longer_than_the_encoder_reads_are_refused(index: Index, tmp_path: Path, late: bool) -> None:
    (tmp_path / "a.txt").write_text(words(600))
    for tokens in (65, 100_000):
        with pytest.raises(
            ValueError, match=rf"^tokens: must be at most 64, the tokens that 'short' reads, got {tokens}$"
        ):
            run(index, tmp_path / "a.txt", Chunking(tokens, late=late))
    assert run(index, tmp_path / "a.txt", Chunking(64, late=late)).added
