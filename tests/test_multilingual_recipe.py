"""The data and the recipe of serotine-multi, on a harvest of a few made-up documents."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from helpers.multilingual import MODEL, script

from serotine.evaluation import load_beir

pytest.importorskip("yaml", reason="PyYAML is not installed")

from serotine.training import Recipe, load_recipe, read_examples
from serotine.training.recipe import Stage

WORDS = {
    "en": ("the package {} sorts files", "sorts", "by size"),
    "de": ("das Paket {} sortiert Dateien", "sortiert", "nach Umfang"),
    "fr": ("le paquet {} classe des fichiers", "classe", "selon la taille"),
    "ja": ("パッケージ {} はファイルを並べ替えます", "並べ替え", "大きさで"),
}


def record(code: str, number: int, source: str, **changes: str) -> dict[str, str]:
    sentence, verb, how = WORDS[code]
    text = " ".join(f"{sentence.format(f'p{number}')} {verb} {part} {how}." for part in range(5))
    values = {"query": f"{sentence.format(f'p{number}')} {how}", "positive": text, "lang": code, "doc_lang": code}
    return values | {"source": source, "id": f"doc{number}#h1"} | changes


@pytest.fixture
def harvest(tmp_path: Path) -> Path:
    folder = tmp_path / "pairs"
    folder.mkdir()

    def write(source: str, rows: list[dict[str, str]]) -> None:
        with gzip.open(folder / f"{source}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)

    for source in ("debian-descriptions", "libreoffice-help", "tldr"):
        write(source, [record(code, number, source) for number in range(120) for code in WORDS])
    for source in ("medquad", "wordnet-glosses", "manpages", "debian-reference"):
        write(source, [record("en", number, source) for number in range(20)])
    write("python-docstrings", [record("en", n, "python-docstrings", doc_lang="python") for n in range(20)])
    return folder


@pytest.fixture
def prepare(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, Path], Any]:
    module = script("prepare")
    monkeypatch.setattr(module, "MIN_PARALLEL", 50)
    monkeypatch.setattr(module, "MIN_CLOZE", 20)
    monkeypatch.setattr(module, "LANGUAGE_QUERIES", 10)

    def run(pairs: Path, work: Path) -> Any:
        monkeypatch.setattr("sys.argv", ["prepare.py", str(pairs), str(work)])
        assert module.main() == 0
        return module

    return run


def test_texts_in_other_languages_carry_their_english_version(
    harvest: Path, prepare: Callable[[Path, Path], Any], tmp_path: Path
) -> None:
    prepare(harvest, tmp_path / "work")
    names = {path.stem for path in (tmp_path / "work").glob("*.jsonl")}
    assert names == {"code", "crossed", "english"} | {
        f"{k}-{c}" for k in ("parallel", "cloze") for c in WORDS if (k, c) != ("parallel", "en")
    }
    german = list(read_examples(tmp_path / "work/parallel-de.jsonl"))
    assert len(german) > 200
    for example in german:
        assert example.teacher is not None
        number = next(word for word in example.teacher.query.split() if word.startswith("p") and word[1:].isdigit())
        assert number in example.query.split()
        assert number in example.documents[0].split()
        assert "sortiert" in example.documents[0]
        assert "sorts" in example.teacher.documents[0]
    rows = [json.loads(line) for line in (tmp_path / "work/crossed.jsonl").read_text("utf-8").splitlines()]
    assert {(row["lang"], row["doc_lang"]) for row in rows} >= {("de", "fr"), ("ja", "en"), ("en", "ja")}
    assert all(("teacher" in row) != (row["lang"] == row["doc_lang"] == "en") for row in rows)
    # Most sentences leave the passage that they are a query for.
    cloze = list(read_examples(tmp_path / "work/cloze-fr.jsonl"))
    assert all(example.teacher is None for example in cloze)
    assert 0 < sum(example.query in example.documents[0] for example in cloze) < 0.6 * len(cloze)


def test_documents_held_back_for_development_are_in_no_other_file(
    harvest: Path, prepare: Callable[[Path, Path], Any], tmp_path: Path
) -> None:
    prepare(harvest, tmp_path / "work")
    dev = load_beir(tmp_path / "work/dev", "dev")
    assert len(dev.queries) == len(dev.documents) == len(dev.qrels) > 5

    def numbers(texts: Iterable[str]) -> set[str]:
        return {word for text in texts for word in text.split() if word.startswith("p") and word[1:].isdigit()}

    held_back = numbers(dev.documents.values())
    for source in ("debian-descriptions", "libreoffice-help", "tldr"):
        names = {f"p{n}" for n in range(120) if script("prepare").Concept(source, f"doc{n}", {}).held_back}
        assert 0 < len(names) < 40
        for file in (tmp_path / "work").glob("parallel-*.jsonl"):
            rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
            texts = [row["positive"] for row in rows if row["source"] == source]
            assert texts
            assert numbers(texts).isdisjoint(names)
        held_back -= names
    assert not held_back
    # The same concepts by pairs of languages, numbered alike, so that figures of two pairs can be compared.
    folders = {path.name for path in (tmp_path / "work/languages").iterdir()}
    assert folders == {"en-en"} | {name for c in WORDS if c != "en" for name in (f"{c}-{c}", f"{c}-en", f"en-{c}")}
    same, crossed = (load_beir(tmp_path / f"work/languages/{name}", "dev") for name in ("de-de", "en-de"))
    assert len(same.queries) == 10 < len(same.documents)
    assert same.documents == crossed.documents
    for query, text in crossed.queries.items():
        assert numbers([text]) == numbers([same.queries[query]])
        assert "package" in text
        assert same.qrels[query] == crossed.qrels[query] == {query.replace("q", "d"): 1}
    # Program code is held back by source too.
    assert {path.name for path in (tmp_path / "work/english").iterdir()} >= {"medquad", "python-docstrings"}
    code = load_beir(tmp_path / "work/english/python-docstrings", "dev")
    assert len(code.queries) == len(code.documents) > 0
    rows = [json.loads(line) for line in (tmp_path / "work/code.jsonl").read_text("utf-8").splitlines()]
    texts = {row["positive"] for row in rows if row["source"] == "python-docstrings"}
    assert len(texts) + len(code.documents) == 20
    assert texts.isdisjoint(code.documents.values())
    # The same seed writes the same files.
    prepare(harvest, tmp_path / "again")
    for file in (tmp_path / "work").rglob("*.jsonl"):
        assert file.read_bytes() == (tmp_path / "again" / file.relative_to(tmp_path / "work")).read_bytes()


def test_untranslated_texts_are_left_out(harvest: Path) -> None:
    module = script("prepare")
    rows = [record(code, 7, "tldr") for code in WORDS]
    english = rows[0]["positive"]
    rows[1]["positive"] = english.replace("by size", "nach Umfang")
    with gzip.open(harvest / "tldr.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    (concept,) = module.translated_concepts(harvest, "tldr")
    assert sorted(concept.versions) == ["en", "fr", "ja"]
    assert (concept.source, concept.document) == ("tldr", "doc7")


def recipe_of_one_stage(name: str) -> tuple[Recipe, Stage]:
    """Load a recipe of the model, whose only stage trains on all of its sources."""
    recipe = load_recipe(MODEL / name)
    (stage,) = recipe.stages
    assert set(stage.sources) == {source.name for source in recipe.sources}
    return recipe, stage


def test_the_recipe_is_valid() -> None:
    recipe, stage = recipe_of_one_stage("recipe.yaml")
    names = set(stage.sources)
    # What has no English version, and code, is scored by the base alone; code is not scored by its words.
    for name in names:
        scored_by = [teacher for teacher in stage.teachers if teacher.scores(name)]
        alone = name == "code" or (name.startswith("cloze-") and name != "cloze-en")
        assert len(scored_by) == (1 if alone else 2), name
    assert names - set(stage.bm25_sources) == {"code"}
    assert {"。", "▁(", "؟", "।"} <= set(recipe.tokenization.skiplist)
    assert "▁" not in recipe.tokenization.skiplist


def test_the_recipe_that_refines_is_valid() -> None:
    recipe, stage = recipe_of_one_stage("refine.yaml")
    names = set(stage.sources)
    for name in names:
        scored_by = [Path(teacher.encoder).name for teacher in stage.teachers if teacher.scores(name)]
        assert "me5-native" in scored_by, name
        # A teacher of English scores what has an English version.
        assert ("serotine-mini" in scored_by) == (name != "code" and name in stage.teachers[0].sources), name
    assert names - set(stage.bm25_sources) == {"code"}
    assert stage.pool_factors == (3,)
    first = load_recipe(MODEL / "recipe.yaml")
    assert names == {source.name for source in first.sources}
    assert recipe.freeze_embeddings
    assert recipe.cleaning == first.cleaning


def test_half_of_the_code_queries_are_short(
    harvest: Path, prepare: Callable[[Path, Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    prepare(harvest, work)
    functions = [
        {"query": f"Return the {n}th item, if any.", "positive": f"def item_{n}(a, b): x{n} = a + {n} return b + x{n}"}
        for n in range(200)
    ]
    held_back = json.loads((work / "english/python-docstrings/corpus.jsonl").read_text().splitlines()[0])["text"]
    functions.append({"query": "Held back.", "positive": held_back})
    with gzip.open(harvest / "python-docstrings.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in functions)
    module = script("short_code_queries")
    monkeypatch.setattr("sys.argv", ["short_code_queries.py", str(harvest), str(work)])
    module.main()
    written = (work / "short-code.jsonl").read_text()
    module.main()
    assert (work / "short-code.jsonl").read_text() == written
    rows = [row for row in map(json.loads, written.splitlines()) if row.get("source") == "python-docstrings"]
    assert {row["positive"] for row in rows} == {row["positive"] for row in functions[:-1]}
    short = [row["query"] for row in rows if row["query"].islower() and "," not in row["query"]]
    assert 70 <= len(short) <= 130
    assert all(len(query.split()) <= 11 and query[-1] not in ".,!?" for query in short)
    assert 0 < sum(query.startswith("python ") for query in short) < len(short)
    commands = [json.loads(line) for line in written.splitlines()][len(rows) :]
    assert all(set(row) == {"query", "positive"} for row in commands)


def test_the_pages_of_the_demo_are_held_back_from_training() -> None:
    prepare = script("prepare")
    pages = load_beir(Path(__file__).parents[1] / "examples" / "languages").documents
    # "en:common-base64" is "common/base64" in the harvest.
    commands = {page.partition(":")[2].replace("-", "/", 1) for page in pages}
    assert len(commands) > 60
    assert [name for name in commands if not prepare.Concept("tldr", name, {}).held_back] == []
