"""Training examples and their files: pairs, triplets, n-tuples and scored lists, in JSON Lines or parquet."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serotine.errors import InputFileError
from serotine.evaluation.records import Record, checked, records
from serotine.training.recipe import Source

_NUMBERED = re.compile(r"negative_(\d+)")


@dataclass(frozen=True, slots=True)
class Example:
    """One question with its documents.

    Attributes:
        query: the question.
        documents: the positive, then any negatives.
        scores: a teacher's scores of the documents, where there are.
    """

    query: str
    documents: tuple[str, ...]
    scores: tuple[float, ...] | None = None


def read_source(source: Source, seed: int) -> list[Example]:
    """The examples of a source that it wants kept, in the file's order.

    Raises:
        InputFileError: what is wrong, naming the file and the line; also where nothing is left.
    """
    kept = [
        _example(record, origin)
        for origin, record in _records(source.path)
        if all(str(record.get(key)) in wanted for key, wanted in source.keep.items())
    ]
    if not kept:
        told = f" with {', '.join(source.keep)} as wanted" if source.keep else ""
        raise InputFileError(f"{source.path}: holds no examples{told}")
    if source.limit is not None and len(kept) > source.limit:
        chosen = sorted(random.Random(f"{seed} {source.name}").sample(range(len(kept)), source.limit))  # noqa: S311
        kept = [kept[i] for i in chosen]
    return kept


def read_examples(path: Path) -> Iterator[Example]:
    """Every example of a file.

    Each has `query` (or `anchor`), and either `documents` (a list, the positive first) with `scores`, or `positive`
    with any of `negative`, `negative_1`, `negative_2`, ..., and `negatives` (a list).

    Raises:
        InputFileError: what is wrong, naming the file and the line.
    """
    for origin, record in _records(path):
        yield _example(record, origin)


def write_examples(examples: list[Example], path: Path) -> None:
    """Writes .jsonl that `read_examples` reads, whole or not at all."""
    scratch = path.with_name(f".{path.name}.tmp")
    with scratch.open("w", encoding="utf-8") as file:
        for example in examples:
            record: dict[str, Any] = {"query": example.query}
            if example.scores is None:
                record["positive"], record["negatives"] = example.documents[0], example.documents[1:]
            else:
                record["documents"], record["scores"] = example.documents, example.scores
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    scratch.replace(path)


def _records(path: Path) -> Iterator[Record]:
    """(Place, record) of every record."""
    if not path.name.removesuffix(".gz").endswith(".jsonl") and path.suffix != ".parquet":
        raise InputFileError(f"{path}: is of no kind that can be trained on; want .jsonl, .jsonl.gz or .parquet")
    return records(path, extra="train")


def _example(record: Mapping[str, Any], origin: str) -> Example:
    query = _text(record, "query" if "query" in record else "anchor", origin)
    if "documents" in record:
        documents = _texts(record["documents"], "documents", origin)
        if not documents:
            raise InputFileError(f"{origin}: 'documents' is empty; want the positive first")
        return Example(query, documents, _scores(record.get("scores"), len(documents), origin))
    documents = (_text(record, "positive", origin),)
    if record.get("negative") is not None:
        documents += (_text(record, "negative", origin),)
    numbered = sorted((int(found[1]), key) for key in record if (found := _NUMBERED.fullmatch(key)))
    documents += tuple(_text(record, key, origin) for _, key in numbered if record[key] is not None)
    if record.get("negatives") is not None:
        documents += _texts(record["negatives"], "negatives", origin)
    scores = record.get("scores")
    return Example(query, documents, None if scores is None else _scores(scores, len(documents), origin))


def _text(record: Mapping[str, Any], key: str, origin: str) -> str:
    value = record.get(key)
    if not isinstance(value, str):
        raise InputFileError(f"{origin}: {key!r} must be text, got {value!r}")
    return checked(value, repr(key), origin)


def _texts(value: Any, key: str, origin: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise InputFileError(f"{origin}: {key!r} must be a list of texts, got {value!r}")
    return tuple(_text({f"{key}[{i}]": one}, f"{key}[{i}]", origin) for i, one in enumerate(value))


def _scores(value: Any, count: int, origin: str) -> tuple[float, ...]:
    numbers = value if isinstance(value, list) else []
    whole = all(isinstance(one, (int, float)) and not isinstance(one, bool) and abs(one) < 1e30 for one in numbers)
    if len(numbers) != count or not whole:
        raise InputFileError(f"{origin}: 'scores' must be {count} numbers, one a document, got {value!r}")
    return tuple(float(one) for one in numbers)
