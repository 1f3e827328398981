"""BEIR and MIRACL collections from the Hugging Face hub, downloaded once into its cache."""

from __future__ import annotations

from pathlib import Path

from serotine.encoders import hub_error
from serotine.errors import InputFileError
from serotine.evaluation.data.beir import BeirFiles
from serotine.evaluation.data.benchmarks import default_split
from serotine.evaluation.data.miracl import MiraclFiles, find_miracl

_CORPUS = ("corpus.jsonl*", "queries.jsonl*", "corpus/*.parquet", "queries/*.parquet", "qrels/*.tsv")


def beir(name: str, split: str | None) -> BeirFiles:
    """Download a BEIR collection: `BeIR/<name>`, judgements from `BeIR/<name>-qrels`.

    The forums of CQADupStack, a single repository there, come from MTEB's repository of each forum.

    Raises:
        InputFileError: the collection does not exist, or the hub cannot be reached.
    """
    if name.startswith("cqadupstack-"):
        folder = _snapshot(f"mteb/{name}", _CORPUS, f"beir/{name}")
        return BeirFiles.find(folder, split, name=name)
    folder = _snapshot(f"BeIR/{name}", _CORPUS, f"beir/{name}")
    qrels = _snapshot(f"BeIR/{name}-qrels", ("*.tsv",), f"beir/{name}")
    return BeirFiles.find(folder, split or default_split(name, "beir"), name=name, qrels=qrels)


def miracl(language: str, split: str | None) -> MiraclFiles:
    """Download a language of MIRACL: topics and judgements from `miracl/miracl`, corpus from `miracl/miracl-corpus`.

    Raises:
        InputFileError: as in `beir`; access to the topics requires agreeing to their terms.
    """
    name = f"miracl/{language}"
    topics = _snapshot("miracl/miracl", (f"miracl-v1.0-{language}/topics/*", f"miracl-v1.0-{language}/qrels/*"), name)
    corpus = _snapshot("miracl/miracl-corpus", (f"miracl-corpus-v1.0-{language}/*",), name)
    return find_miracl(topics, language, split, corpus=corpus)


def _snapshot(repository: str, patterns: tuple[str, ...], name: str) -> Path:
    import huggingface_hub

    try:
        return Path(huggingface_hub.snapshot_download(repository, repo_type="dataset", allow_patterns=list(patterns)))
    # huggingface_hub raises its own errors, and passes on those of its HTTP library.
    except Exception as error:
        raise InputFileError(f"{name}: {repository}: {hub_error(error, repository, 'dataset')}") from None
