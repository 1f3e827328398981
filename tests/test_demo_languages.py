"""The demo of many languages: its collection, its output, and its exit status."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from helpers.fakes import WordEncoder
from helpers.scripts import load_script

from serotine.errors import EncoderError
from serotine.evaluation import load_beir
from serotine.languages import detect_language

SCRIPT = Path(__file__).parent.parent / "examples" / "languages_demo.py"


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = load_script(SCRIPT)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "INDEX", tmp_path / "cache" / "languages.serotine")
    monkeypatch.setattr(sys, "argv", ["languages_demo.py"])
    return module


def test_the_collection_is_in_ten_languages_and_judged_across_them(demo: ModuleType) -> None:
    collection = load_beir(SCRIPT.parent / "languages")
    assert collection.missing_relevant == 0
    languages = Counter(id_.split(":")[0] for id_ in collection.documents)
    assert sorted(languages) == ["de", "en", "es", "fr", "id", "it", "ko", "nl", "ru", "zh"]
    assert set(languages.values()) == {40}
    for language in languages:
        texts = [text for id_, text in collection.documents.items() if id_.startswith(f"{language}:")]
        detected = Counter(map(detect_language, texts))
        assert detected[language] > 20, (language, detected)
    for query, relevant in collection.qrels.items():
        assert query.removeprefix("q:") in relevant
        # The answer does not repeat the query.
        assert collection.queries[query] not in collection.documents[query.removeprefix("q:")]


def test_the_output_has_a_row_for_every_language(
    demo: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "Encoder", lambda name: WordEncoder(64))
    assert demo.main() in (0, 1)
    output = capsys.readouterr().out
    for text in (*demo.QUERIES, "Indonesian", "mean", "serotine search cache/languages.serotine"):
        assert text in output


def test_recall_across_languages_decides_the_exit_status(demo: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    console = demo.Console()
    figures = {("de", "de"): 1.0, ("de", "fr"): 0.25, ("fr", "fr"): 0.5, ("fr", "de"): 0.5}
    assert demo.report({1: figures, 10: figures}, console) == pytest.approx(0.5)
    assert "German" in capsys.readouterr().out


def test_without_the_encoder_it_says_how_to_install_it(
    demo: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(name: str) -> None:
        raise EncoderError(f"encoder {name!r}: not installed")

    monkeypatch.setattr(demo, "Encoder", missing)
    assert demo.main() == 1
    assert "error: encoder 'multilingual': not installed" in capsys.readouterr().out
