"""Pooled vectors beside the tokens: stored, carried through every rewrite and copy, found where damaged."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.fakes import DenseEncoder, ShortEncoder, WordEncoder
from helpers.small_engine import THRESHOLDS
from numpy.typing import NDArray

from serotine import Index
from serotine.errors import EmptyTextWarning, EncoderError, IndexDamagedError, IndexExistsError, NotAnIndexError
from serotine.index.store import settings as stored_settings
from serotine.ingest import Chunking, update

TEXTS = {f"d{i}": f"bat {i} of the {('barn', 'cave', 'loft')[i % 3]} {i * i}" for i in range(30)}


def stored(index: Index) -> dict[str, NDArray[np.float16]]:
    """Return the pooled vectors of live documents by id, as segments hold them."""
    snapshot = index._store.snapshot()
    rows = {}
    for view in snapshot.segments.values():
        assert view.segment.pooled is not None
        rows.update(zip(view.numbers.tolist(), np.array(view.segment.pooled), strict=True))
    numbers = index._store.catalog.live_ids(index.ids())
    return {id_: rows[number] for id_, number in numbers.items()}


def expected(texts: Mapping[str, str], encoder: DenseEncoder) -> dict[str, NDArray[np.float16]]:
    rows = encoder.encode_pooled(list(texts.values()), query=False).astype(np.float16)
    return dict(zip(texts, rows, strict=True))


def same(index: Index, texts: Mapping[str, str], encoder: DenseEncoder) -> None:
    index.verify()
    actual, wanted = stored(index), expected(texts, encoder)
    assert actual.keys() == wanted.keys()
    for id_, row in wanted.items():
        np.testing.assert_array_equal(actual[id_], row)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, attribute, value in THRESHOLDS:
        monkeypatch.setattr(module, attribute, value)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("keep_vectors", [True, False])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_vectors_survive_rewrites_copies_and_reopening(tmp_path: Path, keep_vectors: bool, similarity: str) -> None:
    encoder = DenseEncoder(similarity=similarity)
    texts = dict(TEXTS)
    with Index.create(tmp_path / "x", encoder=encoder, pooled=True, keep_vectors=keep_vectors) as index:
        for start in range(0, 30, 4):
            part = list(texts)[start : start + 4]
            index.add(part, [texts[id_] for id_ in part])
        # One pass gives both.
        assert encoder.passes == len(texts)
        same(index, texts, encoder)
        texts["d3"] = "an owl"
        index.add(["d3"], ["an owl"], upsert=True)
        index.update_metadata(["d4"], [{"kind": "bat"}])
        del texts["d7"], texts["d8"]
        index.delete(["d7", "d8"])
        same(index, texts, encoder)
        index.compact()
        same(index, texts, encoder)
        assert index.stats().coded_tokens > 0
        assert index.stats().pooled is not None
        index.set_pooled_weights(1, 0.25)
        index.snapshot(f"file://{tmp_path}/repository")
        index.snapshot(tmp_path / "copy")
    Index.restore(f"file://{tmp_path}/repository", tmp_path / "restored")
    report = Index.salvage(tmp_path / "x", tmp_path / "saved")
    assert (report.damaged, report.without_pooled) == ((), ())
    for name in ("x", "copy", "restored", "saved"):
        with Index.open(tmp_path / name, read_only=True, encoder=encoder) as index:
            same(index, texts, encoder)
            pooled = index.stats().pooled
            assert pooled is not None
            assert (pooled.weights, pooled.fitted, pooled.similarity, pooled.dim) == ((1, 0.25), True, similarity, 32)


def test_another_dense_model_beside_a_late_interaction_encoder(tmp_path: Path) -> None:
    encoder, model = WordEncoder(), DenseEncoder(8)
    with Index.create(tmp_path / "x", encoder=encoder, pooled=model) as index:
        index.add(list(TEXTS), list(TEXTS.values()))
        index.add_batches([{"ids": ["owl"], "texts": ["an owl"]}, {"ids": ["owl"], "texts": ["an owl"]}])
        # Token vectors of the caller's, and pooled vectors of the texts.
        index.add(["fox"], ["a fox"], vectors=[np.ones((2, 16), dtype=np.float32)])
        same(index, {**TEXTS, "owl": "an owl", "fox": "a fox"}, model)
    with Index.open_or_create(tmp_path / "x", encoder=encoder, pooled=model) as index:
        assert len(index) == 32
    with pytest.raises(EncoderError, match=r"pooled vectors of 'dense' .* got 'other'.*use that model"):
        Index.open(tmp_path / "x", pooled=DenseEncoder(8, "other"))
    with pytest.raises(EncoderError, match="was built with pooled vectors"):
        Index.create(tmp_path / "x", encoder=encoder, pooled=DenseEncoder(16), exist_ok=True)
    with pytest.raises(IndexExistsError, match=r"got pooled=8; leave pooled out"):
        Index.create(tmp_path / "x", encoder=encoder, pooled=8, exist_ok=True)
    Index.create(tmp_path / "bare", encoder=encoder).close()
    with pytest.raises(EncoderError, match="stores no pooled vectors; leave pooled out"):
        Index.open(tmp_path / "bare", pooled=model)


def test_vectors_of_the_caller(tmp_path: Path) -> None:
    rows = np.random.default_rng(1).standard_normal((3, 5)).astype(np.float32)
    with Index.create(tmp_path / "x", dim=2, pooled=5) as index:
        index.add(["a", "b"], vectors=[np.eye(2), np.empty((0, 2))], pooled=rows[:2])
        batch = {"ids": ["b", "c"], "vectors": [np.eye(2)] * 2, "pooled": list(rows[1:])}
        assert index.add_batches([batch]) == 1
        np.testing.assert_array_equal(np.stack(list(stored(index).values())), rows.astype(np.float16))
        with pytest.raises(ValueError, match="pooled: needed, because this index stores pooled vectors, which callers"):
            index.add(["d"], vectors=[np.eye(2)])
        for bad, error, message in (
            (rows[:, :4], ValueError, r"pooled: must have shape \(3, 5\), got \(3, 4\)"),
            (rows[:2], ValueError, r"pooled: must have one value per id, 3, got 2"),
            ([rows[0], rows[1], rows[2, :4]], ValueError, "got arrays of several shapes"),
            (np.ones((3, 5), dtype=int), TypeError, "pooled: must be floats"),
            (np.array([[1] * 5, [np.nan] * 5, [1] * 5]), ValueError, r"pooled\[1\]: must be finite"),
            (np.array([[1] * 5, [1] * 5, [1e6] * 5]), ValueError, r"pooled\[2\]: contains values beyond float16"),
            ("abc", TypeError, "pooled: must be a list"),
        ):
            with pytest.raises(error, match=message):
                index.add(["d", "e", "f"], vectors=[np.eye(2)] * 3, pooled=bad)
        assert list(index) == ["a", "b", "c"]
    with pytest.raises(EncoderError, match="given by callers"):
        Index.open(tmp_path / "x", pooled=DenseEncoder())
    with pytest.raises(TypeError, match="pooled: must be a dense model or its name, got int; leave it out"):
        Index.open(tmp_path / "x", pooled=5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"encoder": WordEncoder(), "pooled": True}, EncoderError, r"encoder 'words' has no vector of a whole text"),
        ({"encoder": DenseEncoder(), "pooled": WordEncoder()}, EncoderError, "has no vector of a whole text"),
        ({"dim": 2, "pooled": True}, ValueError, "pooled: True needs an encoder"),
        ({"dim": 2, "pooled": 0}, ValueError, "pooled: must be a dimension from 1 to 262,144, got 0"),
        ({"dim": 2, "pooled": 2.5}, TypeError, "pooled: must be True, the name of a dense model"),
    ],
)
def test_arguments_of_a_new_index(
    tmp_path: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Index.create(tmp_path / "x", **options)
    assert not (tmp_path / "x").exists()


def test_the_default_encoder_has_no_such_vector(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="encoder 'serotine-mini' has no vector of a whole text"):
        Index.create(tmp_path / "x", pooled=True)


def test_texts_without_words_have_zeros(tmp_path: Path) -> None:
    with Index.create(tmp_path / "x", encoder=DenseEncoder(), pooled=True) as index:
        with pytest.warns(EmptyTextWarning):
            index.add(["a", "b"], ["", "bat"])
        rows = stored(index)
        assert not rows["a"].any()
        assert rows["b"].any()
        with pytest.raises(ValueError, match=r"pooled: needed, .* no texts to encode"):
            index.add(["c"], vectors=[np.ones((1, 16))])
        # As the model compares by cosine.
        index.add(["c"], vectors=[np.ones((1, 16))], pooled=np.full((1, 32), 3.0))
        np.testing.assert_allclose(np.linalg.norm(stored(index)["c"].astype(np.float32)), 1, atol=1e-3)
    with Index.create(tmp_path / "y", encoder=DenseEncoder()) as index:
        with pytest.raises(ValueError, match="pooled: this index stores no pooled vectors"):
            index.add(["a"], ["bat"], pooled=np.ones((1, 32)))
        with pytest.raises(ValueError, match="stores no pooled vectors; create the index with them"):
            index.set_pooled_weights(1, 0.1)


class ShortDense(ShortEncoder):
    """Reads twenty words of a document; its vector of a text is of the characters of all of them."""

    pooled_dim, pooled_similarity = 4, "dot"

    def encode_pooled(self, texts: Any, *, query: bool) -> NDArray[np.float32]:
        return np.array([[len(text), text.count("a"), text.count("b"), 1] for text in texts], dtype=np.float32)


def test_passages_have_their_own_vectors(tmp_path: Path) -> None:
    encoder = ShortDense()
    text = " ".join(f"bat{i}" for i in range(60))
    with Index.create(tmp_path / "x", encoder=encoder, pooled=True) as index:
        index.add(["a"], [text], long_texts="split")
        rows = stored(index)
        assert len(rows) > 2
        passages = {hit.id: hit.text or "" for hit in index.get(list(rows))}
        assert rows == {
            id_: pytest.approx(encoder.encode_pooled([passage], query=False)[0]) for id_, passage in passages.items()
        }
        with pytest.raises(ValueError, match="pooled: a text that is split needs a vector for each of its passages"):
            index.add(["b"], [text], long_texts="split", pooled=np.ones((1, 4)))


class LateDense(ShortDense):
    """A `ShortDense` that encodes passages in their context."""

    def __init__(self) -> None:
        super().__init__(document_room=64)

    def encode_passages(
        self, document: str, spans: Sequence[tuple[int, int]], *, allow_empty: bool = False
    ) -> list[NDArray[np.float32]]:
        return [rows + 0.1 for rows in self.encode_documents([document[start:end] for start, end in spans])]


@pytest.mark.parametrize("late", [True, False])
def test_passages_of_files(tmp_path: Path, late: bool) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "one.txt").write_text(" ".join(f"bat{i}" for i in range(60)))
    encoder = LateDense()
    with Index.create(tmp_path / "x", encoder=encoder, pooled=True) as index:
        for text in ("", " the end", " or not"):
            (folder / "one.txt").write_text((folder / "one.txt").read_text() + text)
            update(index, [folder], chunking=Chunking(16, late=True) if late else Chunking(16, 0))
            index.verify()
            rows = stored(index)
            texts = {hit.id: hit.text or "" for hit in index.get(list(rows))}
            assert len(texts) > 3
            # Of their own texts, whatever the tokens' context.
            assert rows == {id_: pytest.approx(encoder.encode_pooled([texts[id_]], query=False)[0]) for id_ in texts}


def test_weights_are_checked(tmp_path: Path) -> None:
    with Index.create(tmp_path / "x", dim=2, pooled=2) as index:
        stats = index.stats().pooled
        assert stats is not None
        assert (stats.weights, stats.fitted, stats.encoder) == ((1.0, 0.1), False, None)
        for weights in ((-1, 0.1), (0, 0), (np.nan, 1)):
            with pytest.raises(ValueError, match="weights"):
                index.set_pooled_weights(*weights)
        with pytest.raises(TypeError, match="weights"):
            index.set_pooled_weights("1", 0.1)  # type: ignore[arg-type]
        index.set_pooled_weights(1, 0)
        stats = index.stats().pooled
        assert stats is not None
        assert (stats.weights, stats.fitted) == ((1.0, 0.0), True)


def damage(path: Path) -> None:
    """Change a byte of a vector."""
    data = bytearray(path.read_bytes())
    data[70] ^= 0x40
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("harm", [damage, cut, Path.unlink])
def test_damage_is_found_and_the_rest_saved(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    encoder = DenseEncoder()
    with Index.create(tmp_path / "x", encoder=encoder, pooled=True) as index:
        index.add(["a", "b"], ["alpha bat", "beta owl"])
        index.add(["c"], ["gamma fox"])
        first = index._store.snapshot().records[0].pooled
    assert first is not None
    harm(tmp_path / "x" / "segments" / first.name)
    with pytest.raises(IndexDamagedError, match=first.name), Index.open(tmp_path / "x", encoder=encoder) as index:
        index.verify()
    if harm is damage:
        # Never copied into a file whose checksum would match.
        with Index.open(tmp_path / "x", encoder=encoder) as index, pytest.raises(IndexDamagedError, match=first.name):
            index.compact()
    report = Index.salvage(tmp_path / "x", tmp_path / "saved")
    assert (report.documents, report.lost, report.rebuilt) == (3, (), ())
    assert report.without_pooled == ("a", "b")
    assert len(report.damaged) == 1
    with Index.open(tmp_path / "saved", encoder=encoder) as index:
        index.verify()
        rows = stored(index)
        assert not rows["a"].any()
        assert not rows["b"].any()
        np.testing.assert_array_equal(rows["c"], expected({"c": "gamma fox"}, encoder)["c"])


def test_a_segment_without_its_file_of_pooled_vectors_is_damage(tmp_path: Path) -> None:
    with Index.create(tmp_path / "x", encoder=DenseEncoder(), pooled=True) as index:
        index.add(["a"], ["alpha bat"])
    connection = sqlite3.connect(tmp_path / "x" / "catalog.sqlite")
    connection.execute("UPDATE segments SET pooled_file = NULL")
    # Their checksums count for nothing after a commit of another program.
    connection.execute("DELETE FROM meta WHERE key = 'record_checksums'")
    connection.commit()
    connection.close()
    with pytest.raises(IndexDamagedError, match="segment 1: has no file of pooled vectors"):
        Index.open(tmp_path / "x")


def test_earlier_versions_refuse_the_index_and_others_stay_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, pooled in (("with", True), ("without", None)):
        Index.create(tmp_path / name, encoder=DenseEncoder(), pooled=pooled).close()
    rows, columns = {}, {}
    for name in ("with", "without"):
        connection = sqlite3.connect(tmp_path / name / "catalog.sqlite")
        rows[name] = dict(connection.execute("SELECT key, value FROM meta"))
        columns[name] = [row[1] for row in connection.execute("PRAGMA table_info(segments)")]
        connection.close()
    assert rows["with"]["format_version"] == "3"
    assert rows["without"]["format_version"] == "2"
    assert "pooled" not in rows["without"]
    assert columns["with"][:10] == columns["without"]
    assert [name for name in columns["with"] if name.startswith("pooled")] == columns["with"][10:]
    # What an earlier version knows.
    monkeypatch.setattr(stored_settings, "POOLED_FORMAT_VERSION", 2)
    with pytest.raises(NotAnIndexError, match=r"index format must be 2 .*got 3; open it with the version"):
        Index.open(tmp_path / "with")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Index.open(tmp_path / "without").close()
