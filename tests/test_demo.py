"""The demo, on a tenth of its collection: its output, and its exit status below BM25."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest
from helpers.scripts import load_script

from serotine import Index
from serotine.evaluation import Collection, load_beir
from serotine.index import Explanation, TokenMatch

SCRIPT = Path(__file__).parent.parent / "examples" / "cranfield_demo.py"


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Load the script as a module, with its index in `tmp_path`, ten queries and the documents judged for them."""
    module = load_script(SCRIPT)
    cranfield = load_beir(SCRIPT.parent / "cranfield")
    qrels = dict(list(cranfield.qrels.items())[:10])
    documents = {id_: cranfield.documents[id_] for grades in qrels.values() for id_ in grades}
    queries = {id_: cranfield.queries[id_] for id_ in qrels}
    monkeypatch.setattr(module, "load_beir", lambda folder: Collection("sample", documents, queries, qrels))
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "INDEX", tmp_path / "cache" / "cranfield.serotine")
    return module


def test_demo_prints_hits_and_the_evaluation(demo: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    demo.INDEX.mkdir(parents=True)
    (demo.INDEX / "stray").touch()
    assert demo.main() in (0, 1)
    output = capsys.readouterr().out
    for query in demo.QUERIES:
        assert query in output
    assert output.count("document ") >= 9
    assert "BM25" in output
    assert "serotine search cache/cranfield.serotine" in output
    with Index.open(demo.INDEX, read_only=True) as index:
        assert index.stats().documents > 50


def test_demo_fails_below_bm25(
    demo: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Perfect:
        def __init__(self, documents: Mapping[str, str]) -> None:
            pass

        def search(self, queries: Mapping[str, str]) -> dict[str, dict[str, float]]:
            qrels = demo.load_beir("").qrels
            return {query: {id_: float(grade) for id_, grade in qrels[query].items()} for query in queries}

    monkeypatch.setattr(demo, "BM25", Perfect)
    assert demo.main() == 1
    assert "below BM25" in capsys.readouterr().out


def test_matched_words_are_colored_and_nothing_is_added(demo: ModuleType) -> None:
    text = "nothing here . " * 40 + "the flutter of a wing" + " nothing here ." * 40
    at = text.index("flutter")
    match = TokenMatch("flutter", 0, 7, "flutter", at, at + 7, 0.9)
    explanation = Explanation("d", 0.9, "flutter", text, (match,))
    excerpt = demo.highlight(explanation)
    assert [excerpt.plain[span.start : span.end] for span in excerpt.spans] == ["flutter"]
    assert "the flutter of a wing" in excerpt.plain
