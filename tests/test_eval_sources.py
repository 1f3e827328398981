"""Collections by name: folders, suites, the hub and ir_datasets, and the errors of each."""

from __future__ import annotations

import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from helpers.eval_cases import FixedSystem, write_beir, write_miracl

from serotine.errors import InputFileError, SerotineError
from serotine.evaluation import (
    EvaluationOptions,
    evaluate_system,
    evaluate_systems,
    find_sources,
    find_suite,
    load_miracl,
    validate_unique_names,
)
from serotine.evaluation.data.benchmarks import BEIR15, FORUMS, MIRACL18, beir_name

QRELS = {"test": {"q": {"d": 1}}}


def small(folder: Path) -> Path:
    return write_beir(folder, {"d": "x"}, {"q": "x"}, QRELS)


def test_names_of_beir() -> None:
    assert [beir_name(name) for name in BEIR15] == list(BEIR15)
    assert [beir_name(name) for name in ("SciFact", "dbpedia", "touche2020", "cqadupstack-tex", "trec_covid")] == [
        "scifact",
        "dbpedia-entity",
        "webis-touche2020",
        "cqadupstack-tex",
        "trec-covid",
    ]
    assert [beir_name(name) for name in ("mine", "tex", "cqadupstack-mine", "scifact-2")] == [None] * 4
    assert (len(BEIR15), len(FORUMS), len(MIRACL18)) == (15, 12, 18)


def test_a_folder_of_collections_is_a_suite(tmp_path: Path) -> None:
    small(tmp_path / "scifact")
    small(tmp_path / "mine")
    for forum in FORUMS:
        small(tmp_path / "cqadupstack" / forum)
    write_miracl(tmp_path, "sw", {"1#0": ("", "x")}, {"q": "x"}, "q Q0 1#0 1\n")
    (tmp_path / "notes").mkdir()
    (tmp_path / ".cache").mkdir()
    sources, skipped = find_suite(str(tmp_path))
    names = [f"cqadupstack-{forum}" for forum in FORUMS] + ["mine", "miracl-sw", "scifact"]
    assert ([source.name for source in sources], skipped) == (names, ["notes"])
    benchmarks = {source.name: source.load().benchmark for source in sources}
    assert (benchmarks["mine"], benchmarks["miracl-sw"], benchmarks["scifact"]) == (None, "miracl", "beir")
    assert {source.group for source in sources} == {"cqadupstack", None}
    with pytest.raises(InputFileError, match=re.escape(f"its subfolders are collections: pass --suite {tmp_path}")):
        find_sources(str(tmp_path))


def test_a_single_forum_and_missing_forums(tmp_path: Path) -> None:
    root = tmp_path / "cqadupstack"
    small(root / "tex")
    assert find_sources(str(root / "tex"))[0].name == "cqadupstack-tex"
    with pytest.raises(InputFileError, match=r"lacks android, .*webmasters, wordpress of CQADupStack's 12 forums"):
        find_sources(str(root))


def test_a_fingerprint_follows_the_contents(tmp_path: Path) -> None:
    folder = small(tmp_path / "c")
    before = find_sources(str(folder))[0].fingerprint()
    assert find_sources(str(folder))[0].fingerprint() == before
    (folder / "qrels" / "test.tsv").write_text("q\td\t2\n")
    regraded = find_sources(str(folder))[0].fingerprint()
    # The language changes the words of BM25.
    (folder / "meta.json").write_text('{"language": "de"}')
    assert len({before, regraded, find_sources(str(folder))[0].fingerprint()}) == 3


def test_two_collections_of_the_same_name_are_rejected(tmp_path: Path) -> None:
    small(tmp_path / "a" / "c")
    small(tmp_path / "b" / "c")
    with pytest.raises(InputFileError, match="c: two collections have this name"):
        validate_unique_names(find_sources(str(tmp_path / "a" / "c")) + find_sources(str(tmp_path / "b" / "c")))


def test_ids_with_spaces_are_rejected_before_the_search(tmp_path: Path) -> None:
    folder = write_beir(tmp_path / "c", {"d 1": "x"}, {"q": "x"}, {"test": {"q": {"d 1": 1}}})
    system = FixedSystem({"q": {"d 1": 1.0}})
    with pytest.raises(InputFileError, match="document id 'd 1' contains a space"):
        list(evaluate_systems([system], find_sources(str(folder)), EvaluationOptions(output=tmp_path / "out")))
    assert system.calls == []
    # Without output files, spaces are allowed.
    assert (
        evaluate_system(system, find_sources(str(folder))[0].load(), EvaluationOptions())[0].metrics["nDCG@10"] == 1.0
    )


@pytest.mark.parametrize("name", ["nowhere", "beir", "miracl/xx", "owner/name", "miracl/"])
def test_an_unknown_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputFileError, match=rf"{re.escape(name)}: no such folder; pass a BEIR or MIRACL folder"):
        find_sources(name)


def test_folders_without_collections(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"contains neither corpus.jsonl, queries.jsonl and qrels/"):
        find_sources(str(tmp_path))
    with pytest.raises(InputFileError, match="contains no collection"):
        find_suite(str(tmp_path))
    with pytest.raises(InputFileError, match="beir14: must be 'beir15', 'miracl18' or a folder of collections"):
        find_suite("beir14")


def test_a_missing_split_is_named_with_the_available_ones(tmp_path: Path) -> None:
    qrels = {"train": {"q": {"d": 1}}, "validation": {"q": {"d": 1}}}
    folder = write_beir(tmp_path / "c", {"d": "x"}, {"q": "x"}, qrels)
    with pytest.raises(InputFileError, match=r"neither test.tsv nor test.tsv.gz; it has train, validation: choose one"):
        find_sources(str(folder))
    with pytest.raises(InputFileError, match=r"neither dev.tsv"):
        find_sources(str(folder), "dev")


@pytest.mark.parametrize("flat", [False, True])
def test_miracl_in_one_folder_or_in_the_layout_of_the_hub(tmp_path: Path, flat: bool) -> None:
    documents = {f"{i}#0": (f"T{i}", "x") for i in range(23)}
    folder = write_miracl(tmp_path, "th", documents, {"1": "ค้างคาว"}, "1 Q0 22#0 1\n")
    corpus = tmp_path / "miracl-corpus-v1.0-th"
    if flat:
        folder = tmp_path / "thai"
        folder.mkdir()
        for path in [*corpus.iterdir(), *(tmp_path / "miracl-v1.0-th").glob("*/*")]:
            shutil.copy(path, folder)
    for root in (folder, tmp_path) if not flat else (folder,):
        collection = find_sources(str(root))[0].load()
        # docs-10 comes after docs-9.
        assert list(collection.documents) == list(documents)
        assert (collection.name, collection.language, collection.queries) == ("miracl-th", "th", {"1": "ค้างคาว"})


@pytest.mark.parametrize(
    ("file", "contents", "words"),
    [
        ("topics/topics.miracl-v1.0-sw-dev.tsv", "1\ta\n2 b\n", r"dev.tsv:2: must be a query id and a query"),
        ("topics/topics.miracl-v1.0-sw-dev.tsv", "1\ta\n1\tb\n", r"dev.tsv:2: duplicate query '1'"),
        ("topics/topics.miracl-v1.0-sw-dev.tsv", "2\ta\n", r"judgements of query '1', which topics.* lacks"),
        ("qrels/qrels.miracl-v1.0-sw-dev.tsv", "1 Q0 1#0 1\n1 Q0 1#0\n", r"dev.tsv:2: must be `query Q0 document rele"),
        ("qrels/qrels.miracl-v1.0-sw-dev.tsv", "1 Q0 1#0 yes\n", r"dev.tsv:1: the score must be a whole number"),
        ("qrels/qrels.miracl-v1.0-sw-dev.tsv", "\n", "contains no judgements"),
    ],
)
def test_a_malformed_line_of_miracl_is_named(tmp_path: Path, file: str, contents: str, words: str) -> None:
    folder = write_miracl(tmp_path, "sw", {"1#0": ("", "x")}, {"1": "a"}, "1 Q0 1#0 1\n")
    (folder / file).write_text(contents)
    with pytest.raises(InputFileError, match=words):
        load_miracl(folder)


def test_missing_files_of_miracl_are_named(tmp_path: Path) -> None:
    folder = write_miracl(tmp_path, "sw", {"1#0": ("", "x")}, {"1": "a"}, "1 Q0 1#0 1\n", split="train")
    # The only split is the default.
    assert load_miracl(folder).split == "train"
    with pytest.raises(InputFileError, match=r"contains no topics.miracl-v1.0-sw-dev.tsv; it has train"):
        load_miracl(folder, split="dev")
    (folder / "qrels" / "qrels.miracl-v1.0-sw-train.tsv").unlink()
    with pytest.raises(InputFileError, match=r"contains no qrels.miracl-v1.0-sw-train.tsv"):
        load_miracl(folder)
    shutil.rmtree(tmp_path / "miracl-corpus-v1.0-sw")
    (folder / "qrels" / "qrels.miracl-v1.0-sw-train.tsv").write_text("1 Q0 1#0 1\n")
    with pytest.raises(InputFileError, match=r"contains no docs-\*.jsonl.gz of 'sw'"):
        load_miracl(folder)


def test_a_malformed_document_of_miracl_is_named(tmp_path: Path) -> None:
    folder = write_miracl(tmp_path, "sw", {"1#0": ("", "x")}, {"1": "a"}, "1 Q0 1#0 1\n")
    file = tmp_path / "miracl-corpus-v1.0-sw" / "docs-1.jsonl"
    file.write_text('{"docid": "2#0", "title": "", "text": "x"}\n{"_id": "3#0", "text": "x"}\n')
    with pytest.raises(InputFileError, match=r"docs-1.jsonl:2: 'docid' must be a string, got None"):
        load_miracl(folder)


def hub(monkeypatch: pytest.MonkeyPatch, repositories: dict[str, Path]) -> list[str]:
    """Replace the hub's downloads by local folders, and return the list of requested repositories."""
    import huggingface_hub
    from huggingface_hub import errors

    requests = []

    def snapshot_download(repository: str, *, repo_type: str, allow_patterns: list[str]) -> str:
        assert repo_type == "dataset"
        requests.append(repository)
        if repository not in repositories:
            raise errors.LocalEntryNotFoundError("no network")
        return str(repositories[repository])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return requests


def test_a_collection_of_beir_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = small(tmp_path / "snapshot")
    (folder / "qrels").rename(tmp_path / "judgements")
    requests = hub(monkeypatch, {"BeIR/scifact": folder, "BeIR/scifact-qrels": tmp_path / "judgements"})
    (source,) = find_sources("beir/scifact")
    # Nothing is downloaded before it is loaded: a resumed suite skips finished collections.
    assert requests == []
    collection = source.load()
    assert (collection.name, collection.benchmark, collection.documents) == ("scifact", "beir", {"d": "x"})
    source.fingerprint()
    assert requests == ["BeIR/scifact", "BeIR/scifact-qrels"]


def test_a_collection_of_beir_in_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "c"
    (folder / "qrels").mkdir(parents=True)
    (folder / "qrels" / "test.tsv").write_text("q\td\t1\n")
    for name, rows in (("corpus", [{"_id": "d", "title": "T", "text": "x"}]), ("queries", [{"_id": "q", "text": "?"}])):
        (folder / name).mkdir()
        file = folder / name / f"{name}-00000-of-00001.parquet"
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            file.write_bytes(b"PAR1")
        else:
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    if "pyarrow" in sys.modules:
        assert find_sources(str(folder))[0].load().documents == {"d": "T x"}
        (folder / "corpus" / "corpus-00000-of-00001.parquet").write_bytes(b"no Parquet at all")
        with pytest.raises(InputFileError, match=r"corpus-00000-of-00001.parquet: cannot be read as Parquet"):
            find_sources(str(folder))[0].load()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        InputFileError, match=r"reading Parquet needs the extra \[datasets\]; run: pip install 'serotine\[datasets\]'"
    ):
        find_sources(str(folder))[0].load()


def test_a_language_of_miracl_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_miracl(tmp_path, "sw", {"1#0": ("", "x")}, {"1": "a"}, "1 Q0 1#0 1\n")
    for name, parts in (("miracl", "miracl-v1.0-sw"), ("corpus", "miracl-corpus-v1.0-sw")):
        (tmp_path / name).mkdir()
        (tmp_path / parts).rename(tmp_path / name / parts)
    hub(monkeypatch, {"miracl/miracl": tmp_path / "miracl", "miracl/miracl-corpus": tmp_path / "corpus"})
    assert find_sources("miracl/sw")[0].load().documents == {"1#0": "x"}


def test_an_unreachable_hub_is_reported_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    hub(monkeypatch, {})
    for name, repository in (("beir/nq", "BeIR/nq"), ("miracl/sw", "miracl/miracl")):
        with pytest.raises(InputFileError, match=rf"{name}: {repository}: not on this machine"):
            find_sources(name)[0].load()
    # The libraries below huggingface_hub raise errors that are not OSErrors.
    for error in (RuntimeError("peer closed connection\nmore"), RuntimeError()):
        monkeypatch.setattr("huggingface_hub.snapshot_download", Mock(side_effect=error))
        with pytest.raises(InputFileError, match=r"cannot be downloaded \((peer closed connection|RuntimeError)\)$"):
            find_sources("beir/nq")[0].load()
    sources, _ = find_suite("beir15")
    assert len(sources) == 26
    assert [source.name for source in find_suite("miracl18")[0]] == [f"miracl-{language}" for language in MIRACL18]


def ir_datasets_module(**contents: list[Any]) -> ModuleType:
    """Return a module like ir_datasets with one dataset, of the given docs, queries and qrels."""
    dataset = SimpleNamespace()
    for kind in ("docs", "queries", "qrels"):
        setattr(dataset, f"has_{kind}", lambda kind=kind: kind in contents)
        setattr(dataset, f"{kind}_iter", lambda kind=kind: iter(contents[kind]))
    module = ModuleType("ir_datasets")

    def load(id_: str) -> SimpleNamespace:
        if "known" not in id_ and "scifact" not in id_:
            raise KeyError(id_)
        return dataset

    module.load = load  # type: ignore[attr-defined]
    return module


def test_ids_of_ir_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = find_spec("ir_datasets") is not None
    documents = [
        SimpleNamespace(doc_id="1", title="T", text="x"),
        SimpleNamespace(doc_id="2", text=" y "),
        SimpleNamespace(doc_id="3", default_text=lambda: "z"),
    ]
    queries = [SimpleNamespace(query_id=str(i), default_text=lambda i=i: f"query {i}") for i in range(3)]
    qrels = [
        SimpleNamespace(query_id="1", doc_id="1", relevance=2),
        SimpleNamespace(query_id="1", doc_id="2", relevance=0),
    ]
    monkeypatch.setitem(sys.modules, "ir_datasets", ir_datasets_module(docs=documents, queries=queries, qrels=qrels))
    (source,) = find_sources("ir_datasets:beir/scifact/test")
    collection = source.load()
    assert (collection.name, collection.split, collection.benchmark) == ("scifact", "test", "beir")
    assert collection.documents == {"1": "T x", "2": "y", "3": "z"}
    assert (collection.queries, collection.qrels) == ({"1": "query 1"}, {"1": {"1": 2, "2": 0}})
    assert find_sources("ir_datasets:known/thing")[0].name == "known-thing"
    assert find_sources("ir_datasets:beir/cqadupstack/tex")[0].name == "cqadupstack-tex"
    assert find_sources("ir_datasets:miracl/sw/dev")[0].name == "miracl-sw"
    with pytest.raises(InputFileError, match=r"ir_datasets:nothing: ir_datasets has no such id"):
        find_sources("ir_datasets:nothing")[0].load()
    with pytest.raises(InputFileError, match="an id of ir_datasets includes its split; pass the id of split 'dev'"):
        find_sources("ir_datasets:beir/scifact/test", "dev")
    if not installed:
        with pytest.raises(
            SerotineError, match=r"ir_datasets needs the extra \[datasets\]; run: pip install 'serotine\[datasets\]'"
        ):
            source.fingerprint()
    monkeypatch.setitem(sys.modules, "ir_datasets", ir_datasets_module(docs=documents))
    with pytest.raises(InputFileError, match=r"ir_datasets:known: has no queries; name one of its splits"):
        find_sources("ir_datasets:known")[0].load()
    monkeypatch.setitem(sys.modules, "ir_datasets", None)
    with pytest.raises(SerotineError, match=r"pip install 'serotine\[datasets\]'"):
        find_sources("ir_datasets:known")[0].load()
