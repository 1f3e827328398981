"""Texts that an index has under another id are not encoded again: of files that were moved, copied or changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.fakes import DenseEncoder, WordEncoder
from test_ingest_late import LATE, LateEncoder

from serotine import Index
from serotine.index import SourceRecord, SourceUpdate, same_texts
from serotine.index.files import SEGMENT_FOLDER
from serotine.ingest import Chunking, Ingest, IngestReport, commits, encoded_texts, update

NAMES = ("ash", "birch", "cedar", "elm", "fir")
CUT = Chunking(16, 0)


class CountingEncoder(WordEncoder):
    """An encoder that counts the texts it encodes."""

    encoded = 0

    def encode_documents(self, texts: Any) -> Any:
        self.encoded += len(texts)
        return super().encode_documents(texts)


def written(*names: str) -> str:
    """Return a text of which every section becomes a passage."""
    return "\n\n".join(f"# {name}\n\nOf the {name}, the {name} tree alone, and no other." for name in names) + "\n"


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "trees.md").write_text(written(*NAMES))
    (folder / "plain.txt").write_text("owl")
    return folder


@pytest.fixture
def index(tmp_path: Path) -> Any:
    with Index.create(tmp_path / "i", encoder=CountingEncoder()) as created:
        yield created


def run(index: Index, folder: Path, chunking: Chunking = CUT) -> tuple[IngestReport, int]:
    """Update an index; return the report, and how many texts were encoded."""
    encoder: Any = index.encoder
    before = encoder.encoded if isinstance(encoder, CountingEncoder) else encoder.passes
    report = update(index, [folder], chunking=chunking)
    index.verify()
    return report, (encoder.encoded if isinstance(encoder, CountingEncoder) else encoder.passes) - before


def answers(index: Index, **options: Any) -> list[tuple[str, str | None, float]]:
    hits = index.search("the birch tree of an owl", k=len(index), **options)
    return sorted((hit.id, hit.text, hit.score) for hit in hits)


def assert_like_new(index: Index, folder: Path, tmp_path: Path, **options: Any) -> None:
    """Assert that an index answers as one does that has just been built from the files."""
    pooled = DenseEncoder() if index.stats().pooled is not None else None
    with Index.create(tmp_path / "new", encoder=pooled or CountingEncoder(), pooled=pooled) as new:
        update(new, [folder], chunking=CUT)
        assert answers(index, **options) == answers(new, **options)


def test_a_moved_folder(index: Index, notes: Path, tmp_path: Path) -> None:
    first, encoded = run(index, notes)
    assert (first.added, first.reused, encoded) == (6, 0, 6)
    (notes / "deep").mkdir()
    for name in ("trees.md", "plain.txt"):
        (notes / name).rename(notes / "deep" / name)
    moved, encoded = run(index, notes)
    assert (moved.added, moved.reused, moved.removed, encoded) == (6, 6, 6, 0)
    assert moved.to_json()["reused"] == 6
    assert all("/deep/" in id_ for id_ in index.ids())
    assert_like_new(index, notes, tmp_path, exact=True)


def test_a_copied_file(index: Index, notes: Path, tmp_path: Path) -> None:
    run(index, notes)
    (notes / "copy.md").write_text(written(*NAMES))
    report, encoded = run(index, notes)
    assert (report.added, report.reused, encoded) == (5, 5, 0)
    assert_like_new(index, notes, tmp_path, exact=True)


def test_a_section_is_inserted(index: Index, notes: Path, tmp_path: Path) -> None:
    run(index, notes)
    (notes / "trees.md").write_text(written("yew", *NAMES))
    report, encoded = run(index, notes)
    assert (report.added, report.replaced, report.reused, encoded) == (6, 5, 5, 1)
    assert_like_new(index, notes, tmp_path, exact=True)


def test_documents_that_are_stored_in_several_commits(
    index: Index, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits, "_FIRST_COMMIT", 1)
    monkeypatch.setattr(commits, "_MAX_COMMIT", 1)
    run(index, notes)
    (notes / "trees.md").write_text(written("yew", *reversed(NAMES)))
    (notes / "plain.txt").rename(notes / "other.txt")
    report, encoded = run(index, notes)
    assert (report.added, report.reused, encoded) == (7, 6, 1)
    assert_like_new(index, notes, tmp_path, exact=True)


def test_pooled_vectors_are_copied_too(notes: Path, tmp_path: Path) -> None:
    encoder = DenseEncoder()
    with Index.create(tmp_path / "i", encoder=encoder, pooled=encoder) as index:
        run(index, notes)
        (notes / "trees.md").write_text(written("yew", *NAMES))
        report, encoded = run(index, notes)
        assert (report.reused, encoded) == (5, 1)
        assert_like_new(index, notes, tmp_path, mode="pooled", exact=True)


def test_codes_do_not_give_the_vectors_back(notes: Path, tmp_path: Path) -> None:
    with Index.create(tmp_path / "i", encoder=CountingEncoder(), keep_vectors=False) as index:
        run(index, notes)
        (notes / "trees.md").rename(notes / "forest.md")
        report, encoded = run(index, notes)
        assert (report.added, report.reused, encoded) == (5, 0, 5)


def test_a_text_that_the_index_has_no_more_is_encoded(index: Index) -> None:
    """What names another document's vectors is checked against its text."""
    index.add(ids=["x", "y"], texts=["owl", "fox"])
    same = {"a": "x", "b": "y", "c": "z"}
    record = SourceRecord("/a", "digest", "", "")
    texts = ["owl", "emu", "bat"]
    index.update_sources([SourceUpdate(record, ["a", "b", "c"], texts, [{}, {}, {}], same_texts=same)])
    encoder = CountingEncoder()
    for id_, text in zip("abc", texts, strict=True):
        (vectors,) = encoder.encode_documents([text])
        np.testing.assert_array_equal(index.vectors(id_), vectors.astype(np.float16))


def test_damage_is_not_copied(index: Index, notes: Path, tmp_path: Path) -> None:
    """A copy of damaged vectors would get a checksum that matches."""
    run(index, notes)
    (file,) = (tmp_path / "i" / SEGMENT_FOLDER).glob("*.vectors")
    content = bytearray(file.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 64] = bytes(64)
    file.write_bytes(content)
    (notes / "trees.md").rename(notes / "forest.md")
    report = update(index, [notes], chunking=CUT)
    assert (report.added, report.reused) == (5, 0)
    encoder = CountingEncoder()
    for id_ in index.ids():
        if "forest" in id_:
            (vectors,) = encoder.encode_documents([index.get(id_).text])
            np.testing.assert_array_equal(index.vectors(id_), vectors.astype(np.float16))


def test_files_are_not_checked_for_a_few_documents(index: Index, notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(same_texts, "_LEAST_SHARE", 0.5)
    run(index, notes)
    (notes / "plain.txt").rename(notes / "other.txt")
    report, encoded = run(index, notes)
    assert (report.reused, encoded) == (0, 1)
    (notes / "trees.md").rename(notes / "forest.md")
    report, encoded = run(index, notes)
    assert (report.reused, encoded) == (5, 0)


@pytest.mark.parametrize(("before", "after"), [(LATE, CUT), (CUT, LATE)])
def test_vectors_of_passages_in_their_context_are_not_those_of_their_text(
    notes: Path, tmp_path: Path, before: Chunking, after: Chunking
) -> None:
    with Index.create(tmp_path / "i", encoder=LateEncoder()) as index:
        update(index, [notes], chunking=before)
        (notes / "trees.md").rename(notes / "forest.md")
        assert update(index, [notes], chunking=after).reused == 0


def test_deleted_documents_stay_deleted(index: Index, notes: Path) -> None:
    run(index, notes)
    deleted = index.ids()[1]
    index.delete([deleted])
    (notes / "trees.md").rename(notes / "forest.md")
    report, encoded = run(index, notes)
    assert (report.added, report.reused, encoded) == (4, 4, 0)


def test_a_file_that_is_skipped_is_not_counted(index: Index, notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(index, notes)
    (notes / "trees.md").rename(notes / "forest.md")
    monkeypatch.setattr(commits, "read_state", lambda _: "another")
    report, encoded = run(index, notes)
    assert (len(report.skipped), report.added, report.reused, encoded) == (1, 0, 0, 0)


def test_names_that_rotate(index: Index, notes: Path, tmp_path: Path) -> None:
    run(index, notes)
    (notes / "trees.md").rename(notes / "trees-1.md")
    (notes / "trees.md").write_text(written("yew", "oak"))
    report, encoded = run(index, notes)
    assert encoded == report.added - report.reused
    assert report.added == 7
    assert_like_new(index, notes, tmp_path, exact=True)


def test_the_estimate_counts_what_will_be_encoded(index: Index, notes: Path) -> None:
    run(index, notes)
    (notes / "trees.md").write_text(written("yew", *NAMES))
    assert Ingest([notes], index.encoder, chunking=CUT).estimate(index).documents == 1


def test_a_very_long_file_is_encoded(index: Index, notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoded_texts, "_MAX_DOCUMENTS", 4)
    run(index, notes)
    (notes / "trees.md").write_text(written("yew", *NAMES))
    report, encoded = run(index, notes)
    assert (report.reused, encoded) == (0, 6)
