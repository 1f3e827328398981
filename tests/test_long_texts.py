"""Texts beyond the encoder's length are reported: split, warned about, refused, never lost in silence."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.fakes import ShortEncoder, WordEncoder

from serotine import Encoder, Index
from serotine.cutting import passage_metadata
from serotine.errors import DuplicateIdError, EncoderError, ReplacedPassageWarning, TruncatedTextWarning, UnknownIdError

FILLER = " ".join(f"word{i}" for i in range(60))
LONG = f"{FILLER} zebra"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index.create(tmp_path / "short", encoder=ShortEncoder()) as opened:
        yield opened


def contents(index: Index) -> dict[str, tuple[str | None, dict[str, Any]]]:
    return {hit.id: (hit.text, hit.metadata) for hit in index.get(index.ids())}


def test_a_long_text_warns_once_a_call_with_counts_and_the_first_id(index: Index) -> None:
    expected = (
        r"^texts: 2 of 3 longer than the 20 tokens that 'short' reads, the first is 'b' with 61; the rest is ignored: "
        r'pass long_texts="split" to store passages$'
    )
    with pytest.warns(TruncatedTextWarning, match=expected) as caught:
        index.add(ids=["a", "b", "c"], texts=["bats", LONG, LONG])
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert index.stats().truncated == 2
    with pytest.warns(TruncatedTextWarning, match="2 of 4") as caught:
        index.add_batches([{"ids": ["d", "e"], "texts": [LONG, "owls"]}, {"ids": ["f", "g"], "texts": [LONG, "owls"]}])
    assert len(caught) == 1
    assert index.stats().truncated == 4


def test_truncate_is_counted_and_does_not_warn(index: Index) -> None:
    index.add(ids=["a"], texts=[LONG], long_texts="truncate")
    assert index.stats().truncated == 1
    index.add(ids=["a"], texts=["bats"], upsert=True)
    assert index.stats().truncated == 0


def test_error_adds_nothing_and_names_the_first(index: Index) -> None:
    with pytest.raises(
        ValueError, match=r"texts: 1 of 2 longer than the 20 tokens .* the first is 'b' with 61; nothing"
    ):
        index.add(ids=["a", "b"], texts=["bats", LONG], long_texts="error")
    assert index.ids() == []
    with pytest.raises(ValueError, match="long_texts: must be one of 'split', 'warn', 'error', 'truncate', got 'cut'"):
        index.add(ids=["a"], texts=["bats"], long_texts="cut")  # type: ignore[arg-type]


def test_split_stores_passages_with_document_and_offsets(index: Index) -> None:
    index.add(ids=["a", "b"], texts=["bats", LONG], metadata=[{"n": 1}, {"n": 2, "start": "here"}], long_texts="split")
    stored = contents(index)
    assert list(stored) == ["a", "b#1", "b#2", "b#3", "b#4"]
    assert stored["a"] == ("bats", {"n": 1})
    for id_, (text, metadata) in list(stored.items())[1:]:
        assert text == LONG[metadata["start"] : metadata["end"]]
        assert metadata == metadata | {"n": 2, "document": "b", "document_start": "here"}
        assert id_.startswith("b#")
    assert index.search("zebra", k=1)[0].id == "b#4"
    assert index.stats().truncated == 0


@pytest.mark.parametrize("long_texts", ["split", "warn"])
def test_upsert_replaces_every_passage_of_the_document(index: Index, long_texts: Any) -> None:
    index.add(ids=["a", "a#9"], texts=[LONG, "not a passage of a"], long_texts="split")
    index.add(ids=["a"], texts=[" ".join(LONG.split()[:30])], upsert=True, long_texts="split")
    assert index.ids() == ["a#9", "a#1", "a#2"]
    index.add(ids=["a"], texts=["short again"], upsert=True, long_texts=long_texts)
    assert index.ids() == ["a#9", "a"]
    index.add(ids=["a"], texts=[LONG], upsert=True, long_texts="split")
    assert index.ids() == ["a#9", "a#1", "a#2", "a#3", "a#4"]
    index.verify()


def test_a_document_stored_as_passages_is_in_the_index(index: Index) -> None:
    index.add(ids=["a"], texts=[LONG], long_texts="split")
    with pytest.raises(DuplicateIdError, match="'a' is already in the index"):
        index.add(ids=["a"], texts=["bats"])
    assert index.add_batches([{"ids": ["a", "b"], "texts": [LONG, "owls"]}], long_texts="split") == 1
    index.delete(["a"])
    assert index.ids() == ["b"]
    with pytest.raises(UnknownIdError):
        index.delete(["a"])


def test_a_passage_may_not_take_the_id_of_another_document(index: Index) -> None:
    index.add(ids=["a#2"], texts=["bats"])
    with pytest.raises(DuplicateIdError, match="'a#2' is already in the index"):
        index.add(ids=["a"], texts=[LONG], long_texts="split")
    with pytest.raises(DuplicateIdError, match="duplicate id 'a#2'"):
        index.add(ids=["a", "a#2"], texts=[LONG, "bats"], long_texts="split", upsert=True)
    assert index.ids() == ["a#2"]


def test_splitting_never_replaces_a_document_of_its_own(index: Index) -> None:
    index.add(ids=["a#1"], texts=["bats"])
    before = contents(index)
    with pytest.raises(DuplicateIdError, match="ids: 'a#1' is a document of its own, and would become a passage"):
        index.add(ids=["a"], texts=[LONG], long_texts="split", upsert=True)
    assert contents(index) == before


def test_an_encoder_that_does_not_report_its_length_cannot_split(tmp_path: Path) -> None:
    with Index.create(tmp_path / "words", encoder=WordEncoder()) as index:
        index.add(ids=["a"], texts=[LONG])
        with pytest.raises(EncoderError, match=r"does not report .* which long_texts=.split. needs"):
            index.add(ids=["b"], texts=[LONG], long_texts="split")


def test_a_long_query_warns_and_its_hits_say_so(index: Index) -> None:
    index.add(ids=["a", "b"], texts=["bats", "owls"])
    message = "query: longer than the 5 tokens that 'short' reads, got 6; the rest is ignored: shorten it"
    with pytest.warns(TruncatedTextWarning, match=f"^{message}$") as caught:
        hits = index.search("one two three four five bats")
    assert caught[0].filename == __file__
    assert hits.warnings == (TruncatedTextWarning(message),)
    with pytest.warns(TruncatedTextWarning, match=r"\(and 1 more queries\)$"):
        results = index.search_batch([LONG, "bats", LONG])
    assert [len(hits.warnings) for hits in results] == [1, 0, 1]
    assert index.search(LONG, mode="bm25").warnings == ()


def test_the_default_encoder_reports_what_it_does_not_read(tmp_path: Path) -> None:
    encoder = Encoder()
    fact = "The zebra of the quarry is called Umbra."
    text = "Bats hunt moths at night. " * 220 + fact
    with Index.create(tmp_path / "mini", encoder=encoder) as index:
        with pytest.warns(TruncatedTextWarning, match="1 of 2 longer than the 510 tokens"):
            index.add(ids=["a", "b"], texts=[text, "Owls hunt mice."])
        index.add(ids=["a"], texts=[text], upsert=True, long_texts="split")
        hit = index.search("what is the zebra called?", k=1)[0]
        assert hit.metadata["document"] == "a"
        assert fact in (hit.text or "")
    query = "budget " * 300 + "zebra"
    with pytest.warns(
        TruncatedTextWarning, match=r"^queries: 1 of 2 longer than the 62 tokens .* queries\[1\] with 301"
    ):
        encoder.encode_queries(["bats", query])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder.encode_queries([" ".join(["budget"] * encoder.query_room)])


def test_renamed_fields_of_passages_never_replace_others() -> None:
    metadata = {"start": 1, "document_start": 2, "document_document_start": 3, "n": 4}
    assert passage_metadata(metadata, "b", 0, 9) == {
        "document_document_document_start": 1,
        "document_start": 2,
        "document_document_start": 3,
        "n": 4,
        "document": "b",
        "start": 0,
        "end": 9,
    }


def test_replacing_one_passage_warns(index: Index) -> None:
    index.add(["a", "b"], [LONG, "bats"], long_texts="split")
    expected = (
        r"^ids: 1 of 2 replace a passage of a long text, the first is 'a#2' of 'a'; to replace the whole text, add"
    )
    with pytest.warns(ReplacedPassageWarning, match=expected) as caught:
        index.add(["a#2", "c"], ["owls", "bats"], upsert=True)
    assert caught[0].filename == __file__
    # Neither the whole text nor a document that only looks like a passage.
    index.add(["a"], [LONG], long_texts="split", upsert=True)
    index.add(["x#1"], ["bats"])
    index.add(["x#1"], ["owls"], upsert=True)


def test_a_replaced_passage_stays_a_passage_of_its_text(index: Index) -> None:
    index.add(["a", "b"], [LONG, "bats"], metadata=[{"n": 1}, {}], long_texts="split")
    before = index["a#2"].metadata
    with pytest.warns(ReplacedPassageWarning):
        index.add(["a#2"], ["hawks and owls"], metadata=[{"start": "noon", "end": before["end"]}], upsert=True)
    fields = {name: before[name] for name in ("document", "start", "end")}
    assert index["a#2"].metadata == {"document_start": "noon", **fields}
    passages = index.ids(where={"document": "a"})
    assert len(passages) > 2
    assert sorted(passages) == sorted(index.ids())[:-1]
    assert "\n\nhawks and owls\n\n" in (index["a"].text or "")
    assert (index["a"].text or "").endswith(index[f"a#{len(passages)}"].text or "?")
    assert [hit.id for hit in index.search("hawks", mode="bm25")] == ["a#2"]
    index.add(["a"], ["short"], upsert=True)
    assert index.ids() == ["b", "a"]
    # Where the whole text is replaced in the same call, it has no such passage.
    index.add(["a"], [LONG], long_texts="split", upsert=True)
    index.add(["a", "a#2"], ["short", "owls"], upsert=True)
    assert index["a#2"].metadata == {}


def test_a_replaced_passage_of_vectors_keeps_what_it_is(tmp_path: Path) -> None:
    metadata = [{"source": "guide.md", "start": start, "end": start + 4} for start in (0, 5)]
    with Index.create(tmp_path / "i", dim=2) as index:
        index.add(["guide.md#1", "guide.md#2"], vectors=[np.eye(2)] * 2, metadata=metadata)
        with pytest.warns(ReplacedPassageWarning):
            index.add(["guide.md#2"], vectors=[np.eye(2)[:1]], metadata=[{"lang": "en"}], upsert=True)
        assert index["guide.md#2"].metadata == {"lang": "en", **metadata[1]}
        assert index.delete(["guide.md"]) == 2


@pytest.mark.parametrize("separator", [" ", "\n\n"])
def test_the_id_of_a_split_text_stands_for_its_passages(tmp_path: Path, separator: str) -> None:
    text = separator.join(f"Bat number {i} flies late, over pastures and hedges." for i in range(150))
    with Index.create(tmp_path / "i") as index:
        index.add(["long", "short"], [text, "An owl."], metadata=[{"start": 5, "lang": "en"}, {}], long_texts="split")
        passages = index.ids(where={"document": "long"})
        assert len(passages) > 5
        assert "long" in index
        whole = index["long"]
        assert (whole.id, whole.text) == ("long", text)
        assert whole.metadata == {"document_start": 5, "lang": "en"}
        query = "bat number 90"
        best = index.search(query, 1)[0].id
        assert best in passages[1:]
        explained = index.explain(query, "long")
        assert (explained.id, explained) == (best, index.explain(query, best))
        # After one passage is replaced by itself, its number is the highest.
        second = index[passages[1]]
        with pytest.warns(ReplacedPassageWarning):
            index.add([second.id], [second.text or ""], metadata=[second.metadata], upsert=True)
        found = index.get(["short", "long", "none"], missing="none")
        assert [hit and hit.text for hit in found] == ["An owl.", text, None]
        np.testing.assert_array_equal(index.vectors("long"), np.concatenate([index.vectors(id_) for id_ in passages]))
        assert not index.vectors("long").flags.writeable
        index.update_metadata(["long"], [{"lang": "fr"}])
        index.update_metadata([passages[0]], [{"first": True}])
        assert index["long"].metadata == {"document_start": 5, "lang": "fr"}
        index.delete([passages[1]])
        assert "long" in index
        with pytest.raises(
            UnknownIdError, match=r"'long' is not whole, only \d+ of its passages are left: 'long#1', 'l"
        ):
            index["long"]
        for read in (lambda: index.vectors("long"), lambda: index.explain(query, "long")):
            with pytest.raises(UnknownIdError, match="'long' is not whole"):
                read()
        index.delete(["long"])
        assert "long" not in index
        assert index.get("long", missing="none") is None
