"""Training examples and their files: pairs, triplets, n-tuples and scored lists, in JSON Lines or Parquet."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from serotine.errors import InputFileError
from serotine.evaluation import Record, read_records, validate_text
from serotine.files import atomic_file
from serotine.training.recipe import Source

_NUMBERED = re.compile(r"negative_(\d+)")


@dataclass(frozen=True, slots=True)
class Example:
    """One query with its documents.

    Attributes:
        query: its text.
        documents: the positive, then any negatives.
        scores: a teacher's scores of the documents, if any.
        teacher: what teachers read in place of these texts, if not the texts themselves: the same query and documents
            in another language.
    """

    query: str
    documents: tuple[str, ...]
    scores: tuple[float, ...] | None = None
    teacher: Example | None = None

    @property
    def read_by_teacher(self) -> Example:
        """The query and the documents that teachers read."""
        return self.teacher or self

    def with_documents(self, positions: Iterable[int]) -> Example:
        """Return this example with the documents at some positions only."""
        chosen = list(positions)
        return replace(
            self,
            documents=tuple(self.documents[i] for i in chosen),
            scores=None if self.scores is None else tuple(self.scores[i] for i in chosen),
            teacher=None if self.teacher is None else self.teacher.with_documents(chosen),
        )


def read_source(source: Source, seed: int) -> list[Example]:
    """Return the examples of a source that pass its filter and limit, in the file's order.

    Raises:
        InputFileError: a record is invalid, or no example passes; names the file and the line.
    """
    examples = [
        _example(record, location)
        for location, record in _records(source.path)
        if all(str(record.get(key)) in values for key, values in source.filter.items())
    ]
    if not examples:
        condition = f" that match the filter on {', '.join(source.filter)}" if source.filter else ""
        raise InputFileError(f"{source.path}: no examples{condition}; add some, or correct the path or filter")
    if source.limit is not None and len(examples) > source.limit:
        rng = random.Random(f"{seed} {source.name}")  # noqa: S311
        examples = [examples[i] for i in sorted(rng.sample(range(len(examples)), source.limit))]
    return examples


def read_examples(path: Path) -> Iterator[Example]:
    """Yield every example of a file.

    A record has `query` (or `anchor`), and either `documents` (a list, the positive first) with `scores`, or `positive`
    with any of `negative`, `negative_1`, `negative_2`, ..., and `negatives` (a list).

    Raises:
        InputFileError: a record is invalid; names the file and the line.
    """
    for location, record in _records(path):
        yield _example(record, location)


def write_examples(examples: list[Example], path: Path) -> None:
    """Write .jsonl that `read_examples` reads, atomically."""
    with atomic_file(path) as file:
        for example in examples:
            record = _record(example)
            if example.teacher is not None:
                record["teacher"] = _record(example.teacher)
            file.write(f"{json.dumps(record, ensure_ascii=False)}\n".encode())


def _record(example: Example) -> dict[str, Any]:
    if example.scores is not None:
        return {"query": example.query, "documents": example.documents, "scores": example.scores}
    return {"query": example.query, "positive": example.documents[0], "negatives": example.documents[1:]}


def _records(path: Path) -> Iterator[Record]:
    """Yield the location and the values of every record."""
    if not path.name.removesuffix(".gz").endswith(".jsonl") and path.suffix != ".parquet":
        raise InputFileError(f"{path}: unsupported file type; valid types: .jsonl, .jsonl.gz, .parquet")
    return read_records(path, extra="train")


def _example(record: Mapping[str, Any], location: str) -> Example:
    example = _texts_and_scores(record, location)
    if record.get("teacher") is None:
        return example
    if not isinstance(record["teacher"], Mapping):
        raise InputFileError(f"{location}: 'teacher' must be an object, got {record['teacher']!r}")
    teacher = _texts_and_scores(record["teacher"], f"{location}: teacher")
    if len(teacher.documents) != len(example.documents):
        raise InputFileError(
            f"{location}: 'teacher' must have as many documents as the example, {len(example.documents)}, "
            f"got {len(teacher.documents)}"
        )
    return replace(example, teacher=teacher)


def _texts_and_scores(record: Mapping[str, Any], location: str) -> Example:
    query = _text(record, "query" if "query" in record else "anchor", location)
    if "documents" in record:
        documents = _texts(record["documents"], "documents", location)
        if not documents:
            raise InputFileError(f"{location}: 'documents' must not be empty; the positive comes first")
        return Example(query, documents, _scores(record.get("scores"), len(documents), location))
    documents = (_text(record, "positive", location),)
    if record.get("negative") is not None:
        documents += (_text(record, "negative", location),)
    numbered = sorted((int(match[1]), key) for key in record if (match := _NUMBERED.fullmatch(key)))
    documents += tuple(_text(record, key, location) for _, key in numbered if record[key] is not None)
    if record.get("negatives") is not None:
        documents += _texts(record["negatives"], "negatives", location)
    scores = record.get("scores")
    return Example(query, documents, None if scores is None else _scores(scores, len(documents), location))


def _text(record: Mapping[str, Any], key: str, location: str) -> str:
    if key not in record:
        raise InputFileError(f"{location}: {key!r} is missing, got {', '.join(map(repr, record))}; rename or add it")
    value = record[key]
    if not isinstance(value, str):
        raise InputFileError(f"{location}: {key!r} must be a string, got {value!r}")
    return validate_text(value, repr(key), location)


def _texts(value: Any, key: str, location: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise InputFileError(f"{location}: {key!r} must be a list of strings, got {value!r}")
    return tuple(_text({f"{key}[{i}]": text}, f"{key}[{i}]", location) for i, text in enumerate(value))


def _scores(value: Any, count: int, location: str) -> tuple[float, ...]:
    numbers = value if isinstance(value, list) else []
    valid = all(isinstance(x, (int, float)) and not isinstance(x, bool) and abs(x) < 1e30 for x in numbers)
    if len(numbers) != count or not valid:
        raise InputFileError(f"{location}: 'scores' must be {count} numbers, one per document, got {value!r}")
    return tuple(float(number) for number in numbers)
