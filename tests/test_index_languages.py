"""BM25 stems every text in its own language, and finds it by any inflection; older indexes keep their words."""
# ruff: noqa: RUF001

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from py3langid import langid

from serotine import Index, stemmers
from serotine import languages as language_detection
from serotine.index.store import lexical

TEXTS = {
    "en": "The bats are hunting for beetles over the meadows at dusk.",
    "de": "Die Fledermäuse jagten in der Dämmerung Käfer über den Wiesen und Häusern.",
    "fr": "Les chauves-souris chassaient les insectes au-dessus des prairies.",
    "ru": "Летучие мыши охотились на насекомых над лугами и реками.",
    "fi": "Lepakot saalistivat hämärässä hyönteisiä niittyjen ja järvien yllä.",
    "tr": "Yarasalar alacakaranlıkta çayırların ve nehirlerin üzerinde böcek avladılar.",
    "ar": "كانت الخفافيش تصطاد الحشرات فوق المروج عند الغسق.",
    "th": "ค้างคาวบินออกหากินตอนกลางคืน และกินแมลงเป็นอาหาร",
    "zh": "蝙蝠是唯一能够真正飞行的哺乳动物，多数种类在夜间捕食昆虫。",
    "code": "def area(radius): return 3.14 * radius ** 2",
}
# Inflections that the texts do not have.
QUERIES = {
    "en": "hunted beetle",
    "de": "Haus Wiese Fledermaus",
    "fr": "prairie chasser",
    "ru": "река насекомое",
    "fi": "järvessä niitty",
    "tr": "nehir yarasa",
    "ar": "حشرة مرج",
    "th": "ค้างคาว",
    "zh": "蝙蝠",
    "code": "radius",
}


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index.create(tmp_path / "index", dim=2) as opened:
        add(opened, *TEXTS)
        yield opened


def add(index: Index, *languages: str) -> None:
    texts = [TEXTS[language] for language in languages]
    index.add(ids=languages, texts=texts, vectors=[np.ones((1, 2), np.float16)] * len(texts))


def first(index: Index, query: str) -> str | None:
    hits = index.search(query, mode="bm25", k=1)
    return hits[0].id if hits else None


@pytest.mark.parametrize("language", QUERIES)
def test_an_inflection_finds_the_text_of_its_language(index: Index, language: str) -> None:
    assert first(index, QUERIES[language]) == language


def test_texts_are_removed_and_replaced_with_their_language(index: Index) -> None:
    index.delete(["de", "ru"])
    assert first(index, QUERIES["de"]) is None
    assert first(index, QUERIES["ru"]) is None
    index.compact()
    add(index, "de")
    assert first(index, QUERIES["de"]) == "de"
    assert languages(index.path) == ["ar", "de", "fi", "fr", "tr"]
    index.verify()


def test_another_version_of_the_stemmers_indexes_the_texts_again(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a library that leaves German words alone would: what the present one wrote is gone."""
    real = stemmers.stemmer
    monkeypatch.setattr(lexical, "stemmer_version", lambda: "0")
    monkeypatch.setattr(lexical, "stemmer", lambda language: str if language == "de" else real(language))
    index.delete(["fr"])
    assert first(index, "Häusern") == "de"
    assert first(index, "Haus") is None
    assert first(index, QUERIES["ru"]) == "ru"
    index.delete(["de"])
    assert first(index, "Häusern") is None


def test_an_older_index_keeps_its_words(tmp_path: Path) -> None:
    with Index.create(tmp_path / "old", dim=2):
        pass
    with sqlite3.connect(tmp_path / "old" / "catalog.sqlite") as connection:
        connection.execute("DROP TABLE lexical_languages")
    connection.close()
    with Index.open(tmp_path / "old") as index:
        add(index, "de", "en")
        assert first(index, "Haus") is None
        assert first(index, "häusern") == "de"
        assert first(index, QUERIES["en"]) == "en"
        index.delete(["de"])
        assert first(index, "häusern") is None


def test_a_word_is_counted_in_all_its_forms(index: Index) -> None:
    catalog = index._store.catalog
    assert catalog.word_count("Wiese") == (10, 1)
    assert catalog.word_count("hunts") == (10, 1)
    assert catalog.word_count("chauve-souris") == (10, 1)
    assert catalog.word_count("chauve-Haus") == (10, 0)


def test_a_lone_text_in_another_language_does_not_win_by_its_rare_stems(tmp_path: Path) -> None:
    """Of forty French texts one is German: "dans" and "les" are not rare words because one text has them in German."""
    with Index.create(tmp_path / "index", dim=2) as index:
        french = [f"Les chauves-souris chassaient dans la prairie numéro {i} de la région." for i in range(40)]
        texts = [*french, "Die Fledermäuse jagten dans la prairie über den Häusern und Wiesen."]
        index.add(ids=[str(i) for i in range(41)], texts=texts, vectors=[np.ones((1, 2), np.float16)] * 41)
        assert languages(index.path) == ["de"] + ["fr"] * 40
        assert first(index, "chasser dans les prairies") == "0"
        assert first(index, "Häusern") == "40"


def languages(path: Path) -> list[str]:
    with sqlite3.connect(path / "catalog.sqlite") as connection:
        rows = connection.execute("SELECT language FROM lexical_languages ORDER BY language").fetchall()
    connection.close()
    return [language for (language,) in rows]


def test_a_language_without_a_stemmer_is_explained() -> None:
    assert stemmers.without_stemmer("de") is None
    assert stemmers.without_stemmer("yo") == "no stemmer for Yoruba; words match as they are written, in any case"
    assert (
        stemmers.without_stemmer("th") == "no stemmer for Thai; pairs of neighboring characters match instead of words"
    )


def test_the_model_of_languages_is_loaded_before_the_transaction(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[bool] = []

    def load(*arguments: object, **options: object) -> object:
        loaded.append(index._store.catalog._connection.in_transaction)
        return from_model_file(*arguments, **options)

    from_model_file = langid.LanguageIdentifier.from_model_file
    monkeypatch.setattr(langid.LanguageIdentifier, "from_model_file", load)
    language_detection._identifier.cache_clear()
    index.add(
        ids=["new"], texts=["die fledermaus jagt nachts im wald nach insekten"], vectors=[np.eye(2, dtype=np.float32)]
    )
    assert loaded == [False]
