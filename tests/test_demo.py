"""The demo, on a tenth of its collection: it answers, it judges, and it fails when it should."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest

from serotine import Index
from serotine.evaluation import Collection, load_beir
from serotine.index import Explanation, TokenMatch

SCRIPT = Path(__file__).parent.parent / "examples" / "cranfield_demo.py"


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, its index elsewhere, with ten questions and the documents judged for them."""
    found = importlib.util.spec_from_file_location("cranfield_demo", SCRIPT)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    whole = load_beir(SCRIPT.parent / "cranfield")
    qrels = dict(list(whole.qrels.items())[:10])
    documents = {id_: whole.documents[id_] for judged in qrels.values() for id_ in judged}
    queries = {id_: whole.queries[id_] for id_ in qrels}
    monkeypatch.setattr(module, "load_beir", lambda folder: Collection("part", documents, queries, qrels))
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "INDEX", tmp_path / "cache" / "cranfield.serotine")
    return module


def test_it_answers_and_judges(demo: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    demo.INDEX.mkdir(parents=True)
    (demo.INDEX / "left over").touch()
    assert demo.main() in (0, 1)
    shown = capsys.readouterr().out
    for question in demo.QUESTIONS:
        assert question in shown
    assert shown.count("document ") >= 9
    assert "BM25" in shown
    assert "serotine search cache/cranfield.serotine" in shown
    with Index.open(demo.INDEX, read_only=True) as index:
        assert index.stats().documents > 50


def test_below_bm25_it_fails(
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


def test_matched_words_are_marked_in_colour_or_with_asterisks(demo: ModuleType) -> None:
    text = "nothing here . " * 40 + "the flutter of a wing" + " nothing here ." * 40
    at = text.index("flutter")
    match = TokenMatch("flutter", 0, 7, "flutter", at, at + 7, 0.9)
    explanation = Explanation("d", 0.9, "flutter", text, (match,))
    shown = demo.marked(explanation, colour=True)
    assert [shown.plain[span.start : span.end] for span in shown.spans] == ["flutter"]
    assert "the **flutter** of a wing" in demo.marked(explanation, colour=False).plain
