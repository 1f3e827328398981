"""Collections of the ir_datasets library (MacAvaney et al. 2021), by id."""

from __future__ import annotations

import hashlib
import importlib.metadata
from typing import Any

from serotine.errors import InputFileError, SerotineError, missing_extra, reason
from serotine.evaluation.data.benchmarks import MIRACL18, beir_name
from serotine.evaluation.data.collection import Collection, join_title
from serotine.evaluation.metrics import Qrels

_MISSING = missing_extra("ir_datasets", "datasets")


def collection_name(id_: str) -> str:
    """Return the name of a collection: for BEIR and MIRACL the same as from other sources, otherwise its id."""
    family, _, rest = id_.partition("/")
    first, _, others = rest.partition("/")
    if family == "beir" and first == "cqadupstack":
        return f"cqadupstack-{others.split('/')[0]}"
    if family == "beir" and beir_name(first):
        return beir_name(first) or first
    if family == "miracl" and first in MIRACL18:
        return f"miracl-{first}"
    return id_.replace("/", "-")


def fingerprint(id_: str) -> str:
    """Return a hash of the id and the library's version, which determine the contents."""
    try:
        version = importlib.metadata.version("ir_datasets")
    except importlib.metadata.PackageNotFoundError:
        raise SerotineError(_MISSING) from None
    return hashlib.blake2b(f"{id_} {version}".encode(), digest_size=16).hexdigest()


def load(id_: str) -> Collection:
    """Load a collection, downloading it first if necessary.

    Args:
        id_: the id of a dataset with documents, queries and judgements, such as "beir/scifact/test".

    Raises:
        SerotineError: ir_datasets is not installed.
        InputFileError: the dataset does not exist, lacks documents, queries or judgements, or cannot be downloaded.
    """
    try:
        import ir_datasets
    except ImportError:
        raise SerotineError(_MISSING) from None
    source = f"ir_datasets:{id_}"
    try:
        dataset = ir_datasets.load(id_)
    except KeyError:
        raise InputFileError(f"{source}: ir_datasets has no such id") from None
    for kind in ("docs", "queries", "qrels"):
        if not getattr(dataset, f"has_{kind}")():
            raise InputFileError(f"{source}: has no {kind}; name one of its splits")
    try:
        documents = {document.doc_id: _text(document) for document in dataset.docs_iter()}
        queries = {query.query_id: query.default_text() for query in dataset.queries_iter()}
        qrels: Qrels = {}
        for judgement in dataset.qrels_iter():
            qrels.setdefault(judgement.query_id, {})[judgement.doc_id] = int(judgement.relevance)
    except (OSError, RuntimeError) as error:
        raise InputFileError(f"{source}: cannot be read or downloaded ({reason(error)})") from None
    missing = [query for query in qrels if query not in queries]
    if missing:
        raise InputFileError(f"{source}: judgements of query {missing[0]!r}, which is not among its queries")
    name = collection_name(id_)
    is_miracl = name.startswith("miracl-")
    benchmark = "miracl" if is_miracl else "beir" if beir_name(name) else None
    language = name.removeprefix("miracl-") if is_miracl else "en" if benchmark else None
    split = id_.rsplit("/", 1)[-1]
    return Collection(name, documents, {query: queries[query] for query in qrels}, qrels, split, language, benchmark)


def _text(document: Any) -> str:
    text = getattr(document, "text", None)
    if not isinstance(text, str):
        return str(document.default_text()).strip()
    return join_title(getattr(document, "title", None) or "", text)
