"""Collections by their id in the ir_datasets library (MacAvaney et al. 2021), where that is installed."""

from __future__ import annotations

import hashlib
import importlib.metadata
from typing import Any

from serotine.errors import InputFileError, SerotineError, reason
from serotine.evaluation.data.benchmarks import MIRACL18, beir_name
from serotine.evaluation.data.collection import Collection, join_title
from serotine.evaluation.metrics import Qrels

_MISSING = "ids of ir_datasets need that library; run: pip install 'serotine[datasets]'"


def collection_name(id_: str) -> str:
    """What a collection is called here: BEIR's and MIRACL's as from anywhere else, others by their id."""
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
    """Of the id and the library: it fixes the contents."""
    try:
        version = importlib.metadata.version("ir_datasets")
    except importlib.metadata.PackageNotFoundError:
        raise SerotineError(_MISSING) from None
    return hashlib.blake2b(f"{id_} {version}".encode(), digest_size=16).hexdigest()


def load(id_: str) -> Collection:
    """Read a collection, downloading it where need be.

    Args:
        id_: of a dataset with documents, queries and judgements, such as "beir/scifact/test".

    Raises:
        SerotineError: ir_datasets is not installed.
        InputFileError: there is no such dataset, it lacks a part, or it cannot be downloaded.
    """
    try:
        import ir_datasets
    except ImportError:
        raise SerotineError(_MISSING) from None
    told = f"ir_datasets:{id_}"
    try:
        dataset = ir_datasets.load(id_)
    except KeyError:
        raise InputFileError(f"{told}: the library knows no such id") from None
    for part in ("docs", "queries", "qrels"):
        if not getattr(dataset, f"has_{part}")():
            raise InputFileError(f"{told}: has no {part}; name one of its splits")
    try:
        documents = {document.doc_id: _text(document) for document in dataset.docs_iter()}
        asked = {query.query_id: query.default_text() for query in dataset.queries_iter()}
        qrels: Qrels = {}
        for judged in dataset.qrels_iter():
            qrels.setdefault(judged.query_id, {})[judged.doc_id] = int(judged.relevance)
    except (OSError, RuntimeError) as error:
        raise InputFileError(f"{told}: cannot be read or downloaded ({reason(error)})") from None
    missing = [query for query in qrels if query not in asked]
    if missing:
        raise InputFileError(f"{told}: judges query {missing[0]!r}, which it does not hold")
    name = collection_name(id_)
    is_miracl = name.startswith("miracl-")
    benchmark = "miracl" if is_miracl else "beir" if beir_name(name) else None
    language = name.removeprefix("miracl-") if is_miracl else "en" if benchmark else None
    split = id_.rsplit("/", 1)[-1]
    return Collection(name, documents, {query: asked[query] for query in qrels}, qrels, split, language, benchmark)


def _text(document: Any) -> str:
    text = getattr(document, "text", None)
    if not isinstance(text, str):
        return str(document.default_text()).strip()
    return join_title(getattr(document, "title", None) or "", text)
