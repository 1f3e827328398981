"""Updates that are interrupted: what was encoded is not encoded again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from helpers.fakes import WordEncoder

from serotine import Index
from serotine.ingest import Chunking, IngestReport, commits, update

CHUNKING = Chunking(32, 0)


class StoppedEncoder(WordEncoder):
    """An encoder that counts texts, and raises KeyboardInterrupt after `limit` of them, as Ctrl-C does."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self.encoded = 0
        self.limit: int | None = None
        self.seconds = seconds

    def encode_documents(self, texts: Sequence[str]) -> Any:
        for _ in texts:
            time.sleep(self.seconds)
            self.encoded += 1
            if self.limit is not None and self.encoded > self.limit:
                raise KeyboardInterrupt
        return super().encode_documents(texts)


def write(path: Path, word: str, passages: int = 300) -> Path:
    path.write_text("\n\n".join(f"{word} {number} " + "hunts at night " * 9 for number in range(passages)))
    return path


def run(index: Index, file: Path) -> IngestReport:
    return update(index, [file], chunking=CHUNKING)


def words(index: Index) -> set[str]:
    return {(hit.text or "").split()[0] for hit in index.get(index.ids())}


@pytest.mark.parametrize("changed", [False, True])
def test_an_interrupted_update_of_one_large_file_continues(tmp_path: Path, changed: bool) -> None:
    encoder = StoppedEncoder()
    file = write(tmp_path / "a.txt", "bat")
    with Index.create(tmp_path / "i", encoder=encoder) as index:
        if changed:
            run(index, file)
            write(file, "owl")
        total = 300
        encoder.encoded, encoder.limit = 0, 250
        with pytest.raises(KeyboardInterrupt):
            run(index, file)
        # Readers see all of the old version until all of the new one is there.
        assert words(index) == {"bat"}
        assert len(index) == 300 or not changed
    index = Index.open(tmp_path / "i", encoder=encoder)
    with index:
        assert index.verify().stray_files == ()
        first, encoder.encoded, encoder.limit = encoder.encoded - 1, 0, None
        report = run(index, file)
        # At most one commit is encoded again.
        assert total <= first + encoder.encoded <= total + 128
        assert encoder.encoded < 200
        assert len(index) == 300
        assert words(index) == {"owl" if changed else "bat"}
        assert (report.files_replaced, report.files_added) == (1, 0)
        assert report.removed == 0
        hits = index.search("owl 7 hunts" if changed else "bat 7 hunts", k=3, mode="bm25")
        assert hits[0].text is not None
        assert hits[0].text.split()[1] == "7"
        index.verify()
        index.compact()
        assert index.stats().deleted == 0


def test_staged_documents_of_a_version_that_changed_again_are_dropped(tmp_path: Path) -> None:
    encoder = StoppedEncoder()
    file = write(tmp_path / "a.txt", "bat")
    with Index.create(tmp_path / "i", encoder=encoder) as index:
        run(index, file)
        write(file, "owl")
        encoder.encoded, encoder.limit = 0, 200
        with pytest.raises(KeyboardInterrupt):
            run(index, file)
        write(file, "fox", 20)
        encoder.limit = None
        run(index, file)
        assert (len(index), words(index)) == (20, {"fox"})
        assert not index.sources.has_staged()
        index.verify()


def test_a_commit_of_a_slow_encoder_takes_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Ctrl-C loses is what was encoded since the last commit."""
    times = [time.monotonic()]
    store = Index.update_sources

    def timed(self: Index, changes: Any, **named: Any) -> Any:
        result = store(self, changes, **named)
        times.append(time.monotonic())
        return result

    monkeypatch.setattr(Index, "update_sources", timed)
    monkeypatch.setattr(commits, "_COMMIT_SECONDS", 0.5)
    file = write(tmp_path / "a.txt", "bat", 20)
    encoder = StoppedEncoder()
    with Index.create(tmp_path / "i", encoder=encoder) as index:
        run(index, file)
        write(file, "owl", 200)
        encoder.seconds = 0.02
        times[:] = [time.monotonic()]
        run(index, file)
    seconds = [later - earlier for earlier, later in pairwise(times)]
    assert len(seconds) > 5
    # Twice the aim, as ten seconds are twice the five of a real run, and what a busy machine adds.
    assert max(seconds) < 2 * 0.5 + 1
