"""What a search returns: sequences that can be shown, sliced, stored and turned into tables."""

from __future__ import annotations

import copy
import gc
import html.parser
import json
import pickle
import subprocess
import sys
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.fakes import WordEncoder

from serotine import Index
from serotine.index import Certificate, Hit, Hits, SearchStats

TEXTS = {
    "bat": "The serotine bat flies late.",
    "owl": "An owl hunts at night, silently.",
    "fox": "A fox runs through the night.",
    "<script>alert(1)</script>": "A bat & <b>an owl</b> at night: </td><script>alert('x')</script>",
}


@pytest.fixture
def index(tmp_path: Path) -> Any:
    with Index.create(tmp_path / "small.serotine", encoder=WordEncoder()) as index:
        index.add(ids=list(TEXTS), texts=list(TEXTS.values()), metadata=[{"n": n, "a": "x"} for n in range(4)])
        yield index


class Cells(html.parser.HTMLParser):
    """The tags of a document, the text of its cells, and the marked words with their styles."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.cells: list[str] = []
        self.marked: dict[str, str] = {}
        self._style = ""
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag in ("td", "th", "caption"):
            self.cells.append("")
        self._style = dict(attrs).get("style") or "" if tag == "mark" else ""

    def handle_data(self, data: str) -> None:
        self.cells[-1] += data
        if self._style:
            self.marked[data] = self._style
            self._style = ""


def test_a_page_of_hits_equals_the_slice_of_a_larger_search(index: Index) -> None:
    options: list[dict[str, Any]] = [
        {},
        {"mode": "bm25"},
        {"mode": "hybrid"},
        {"mode": "hybrid", "fusion": "sum"},
        {"exact": True},
    ]
    for option in options:
        larger = index.search("bat at night", 4, **option)
        for offset in range(6):
            page = index.search("bat at night", 2, offset=offset, **option)
            assert page.items == larger.items[offset : offset + 2], option
    assert index.search_batch(["owl", "fox"], 1, offset=1)[1].items == index.search("fox", 2).items[1:]
    with pytest.raises(ValueError, match="offset: must be at least 0, got -1"):
        index.search("bat", offset=-1)
    with pytest.raises(TypeError, match="offset: must be an int of at least 0, got str"):
        index.search("bat", offset="1")  # type: ignore[arg-type]


def test_pages_go_beyond_the_documents_a_search_scores_by_default(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with Index.create(tmp_path / "large", dim=8, centroids=64) as index:
        index.add([f"d{n:04}" for n in range(9000)], vectors=list(rng.standard_normal((9000, 20, 8)).astype("float32")))
        assert index.stats().coded_tokens
        query = rng.standard_normal((4, 8)).astype("float32")
        larger = [hit.id for hit in index.search(query, 800)]
        assert larger[700:] == [hit.id for hit in index.search(query, 100, offset=700)]
        assert len(index.search(query, 10, offset=8995)) == 5
        assert len(index.search(query, 10, offset=9000)) == 0


def test_a_slice_is_hits_of_the_same_search(index: Index) -> None:
    hits = index.search("bat at night", 4)
    assert isinstance(hits[1:3], Hits)
    assert [hit.id for hit in hits[1:3]] == [hit.id for hit in hits][1:3]
    assert hits[1:3].stats is hits.stats
    assert hits[1:3].spans(0) == hits.spans(1)
    assert hits[-1] == hits.items[-1]


def test_hits_are_pickled_and_copied_without_the_index(index: Index) -> None:
    hits = index.search("bat at night", 4, exact=True)
    for copied in (pickle.loads(pickle.dumps(hits)), copy.copy(hits), copy.deepcopy(hits)):  # noqa: S301
        assert copied == hits
        assert (copied.query, copied.certificate) == ("bat at night", hits.certificate)
        assert "<mark" in copied._repr_html_()
    assert pickle.loads(pickle.dumps(hits[0])) == hits[0]  # noqa: S301


def test_hits_do_not_hold_an_index_open(tmp_path: Path) -> None:
    index = Index.create(tmp_path / "dropped", encoder=WordEncoder())
    index.add(ids=["bat"], texts=[TEXTS["bat"]])
    hits = index.search("bats or a bat")
    alive = weakref.ref(index)
    del index
    gc.collect()
    assert alive() is None
    assert [hits[0].text[start:end] for start, end, _ in hits.spans(0)] == ["bat"]
    Index.open(tmp_path / "dropped").close()


def test_dictionaries_are_json(index: Index) -> None:
    result = json.loads(json.dumps(index.search("bat", 2, exact=True).to_dict(), allow_nan=False))
    assert (result["query"], len(result["hits"]), result["stats"]["plan"]) == ("bat", 2, "flat")
    assert result["hits"][0]["text"] == TEXTS[result["hits"][0]["id"]]
    assert result["certificate"]["exact"] is True
    infinite = Certificate(True, float("-inf"), float("-inf"), 0, 0, "Exact.")
    stats = SearchStats("flat", 1, 0, {}, {})
    result = Hits((Hit("empty", float("-inf"), "", {}),), stats, infinite).to_dict()
    assert (result["query"], result["hits"][0]["score"], result["certificate"]["bound"]) == (None, None, None)


def test_a_representation_fits_a_terminal(index: Index) -> None:
    hits = index.search("bat at night", 4)
    lines = repr(hits).splitlines()
    assert lines[0] == "4 hits for 'bat at night', plan flat"
    assert len(lines) == 5
    assert all(len(line) <= 96 for line in lines)
    assert hits[0].id[:23] in lines[1]
    wide = Hit("文書" * 40, 12.345678, "長い文章\n" * 90, {"key": "value" * 30})
    assert "\n" not in repr(wide)
    columns = sum(2 if ord(character) > 0x3000 else 1 for character in repr(wide))
    assert columns <= 96
    assert repr(Hit("apple", 1.5, None, {})) == "Hit('apple', score=1.5, text=None)"
    # A document that was read by its id has no score.
    assert repr(Hit("apple", float("nan"), None, {})) == "Hit('apple', text=None)"
    assert "score" not in Hit("apple", float("nan"), None, {})._repr_html_()
    assert repr(hits[:0]).splitlines() == ["0 hits for 'bat at night', plan flat"]
    many = Hits(tuple(Hit(str(n), 1.0, "\x1b[31mred", {}) for n in range(80)), hits.stats)
    assert repr(many).splitlines()[-1] == "    and 30 more"
    assert "\x1b" not in repr(many)


def test_a_notebook_shows_matched_words_and_no_markup_of_documents(index: Index) -> None:
    hits = index.search("bat at night", 4)
    document = hits._repr_html_()
    cells = Cells(document)
    assert cells.tags <= {"table", "caption", "thead", "tbody", "tr", "th", "td", "mark"}
    assert "<script" not in document
    assert "<script>alert(1)</script>" in cells.cells
    assert TEXTS["<script>alert(1)</script>"] in cells.cells
    assert {"bat", "night"} <= set(cells.marked)
    assert all("background:rgba(" in style and "color:inherit" in style for style in cells.marked.values())
    assert document.count("<tr>") == 5
    with Index.open(index.path, read_only=True, encoder=WordEncoder()) as reader:
        (vectors,) = WordEncoder().encode_queries(["bat at night"])
        by_vectors = reader.search(vectors)
        by_words = reader.search("bat at night", mode="bm25")
        late = reader.search("BAT", 1)
    assert "<mark" not in by_vectors._repr_html_()
    assert by_vectors.query is None
    assert set(Cells(by_words._repr_html_()).marked) == {"bat", "at", "night"}
    # Closed meanwhile: the words of the query.
    assert {late[0].text[start:end] for start, end, _ in late.spans(0)} == {"bat"}


def test_spans_of_a_document_changed_since_are_those_of_the_words(index: Index) -> None:
    hits = index.search("bat", 1)
    index.add(ids=[hits[0].id], texts=["completely different, bat"], upsert=True)
    assert all(hits[0].text[start:end].casefold() == "bat" for start, end, _ in hits.spans(0))
    index.delete([hits[0].id])
    assert hits.spans(0) == []


def test_hits_become_a_data_frame(index: Index) -> None:
    pandas = pytest.importorskip("pandas")
    index.add(ids=["plain"], texts=["A bat."])
    hits = index.search("bat", 5)
    frame = hits.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame["id"]) == [hit.id for hit in hits]
    assert list(frame["rank"]) == [1, 2, 3, 4, 5]
    assert list(frame["score"]) == [hit.score for hit in hits]
    (row,) = frame[frame["id"] == "owl"].to_dict("records")
    assert (row["metadata.n"], row["metadata.a"], row["text"]) == (1, "x", TEXTS["owl"])
    assert pandas.isna(frame[frame["id"] == "plain"]["metadata.n"].iloc[0])
    assert list(hits[:0].to_pandas().columns)[:3] == ["rank", "id", "score"]


def test_data_frames_need_pandas() -> None:
    code = (
        "import sys; sys.modules['pandas'] = None; from serotine.index import Hits, SearchStats\n"
        "try: Hits((), SearchStats('flat', 0, 0, {}, {})).to_pandas()\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("to_pandas needs pandas; run: pip install pandas")


def test_representations_say_what_was_left_out_and_what_to_know(index: Index) -> None:
    hits = index.search("bat", 4, min_score=2)
    assert repr(hits) == "0 hits for 'bat', 4 below min_score, plan flat"
    assert "4 below min_score" in hits._repr_html_()
    warned = replace(hits, warnings=("query: longer than <64> tokens " * 9,))
    assert repr(warned).splitlines()[1].startswith("warning: query: longer than <64> tokens")
    assert max(map(len, repr(warned).splitlines())) <= 96
    assert "<p>warning: query: longer than &lt;64&gt; tokens" in warned._repr_html_()


def test_one_hit_is_a_table_in_a_notebook(index: Index) -> None:
    for hit in index.search("bat at night", 4):
        cells = Cells(hit._repr_html_())
        assert cells.tags <= {"table", "tbody", "tr", "th", "td", "i"}
        assert {hit.id, f"{hit.score:.4g}", f"{hit.score_per_token:.3f}", hit.text or "no text"} <= set(cells.cells)
    assert "<script" not in Hit("<script>", 1.0, None, {"<b>": "<script>"})._repr_html_()


def test_a_position_without_a_hit_says_how_many_there_are(index: Index) -> None:
    hits = index.search("bat", 2)
    with pytest.raises(IndexError, match=r"^hits: there are 2 hits, got position 99$"):
        hits[99]
    with pytest.raises(TypeError, match=r"^hits: must be indexed by a position or a slice, got str$"):
        hits["a"]  # type: ignore[call-overload]
    assert hits[-1] == hits[1]
