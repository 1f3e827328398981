"""Lines and rows of a collection's files, with the file and line that error messages name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from serotine.errors import InputFileError, reason
from serotine.evaluation.data.collection import join_title
from serotine.evaluation.metrics import Qrels
from serotine.ingest import parquet_batches, read_lines
from serotine.nesting import check_nesting
from serotine.texts import is_text

Record = tuple[str, dict[str, Any]]
"""`file:line` and the object on that line."""


def numbered_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield `file:line` and the line without its end; blank lines are skipped."""
    return ((f"{path}:{number}", line.rstrip("\r\n")) for number, line in read_lines(path) if line.strip())


def read_records(path: Path, *, extra: str = "datasets") -> Iterator[Record]:
    """Yield the objects of a .jsonl, .jsonl.gz or .parquet file; `extra` is the extra that installs pyarrow.

    Raises:
        InputFileError: a line is not a JSON object, or pyarrow is not installed.
    """
    if path.suffix == ".parquet":
        yield from _rows(path, extra)
        return
    for place, line in numbered_lines(path):
        try:
            check_nesting(line)
            record = json.loads(line)
        except ValueError as error:
            raise InputFileError(f"{place}: not valid JSON ({reason(error)})") from None
        if not isinstance(record, dict):
            raise InputFileError(f"{place}: must be a JSON object, got {type(record).__name__}")
        yield place, record


def _rows(path: Path, extra: str) -> Iterator[Record]:
    with parquet_batches(path, str(path), extra, "cannot be read as Parquet ({})") as (_, batches):
        rows = (row for batch in batches for row in batch)
        for number, row in enumerate(rows, start=1):
            yield f"{path}: row {number}", row


def text_field(record: dict[str, Any], key: str, place: str) -> str:
    """Return a field that must be a string."""
    value = record.get(key)
    if not isinstance(value, str):
        raise InputFileError(f"{place}: {key!r} must be a string, got {value!r}")
    return validate_text(value, repr(key), place)


def validate_text(value: str, what: str, place: str) -> str:
    """Return `value`, or raise InputFileError if it cannot be encoded as UTF-8."""
    if not is_text(value):
        raise InputFileError(f"{place}: {what} contains a lone surrogate, which is not valid Unicode text")
    return value


def documents(records: Iterable[Record], id_key: str) -> dict[str, str]:
    """Return text by id, with titles joined to texts. Some collections leave the title out, others write null."""

    def text(record: dict[str, Any], place: str) -> str:
        title = text_field(record, "title", place) if record.get("title") is not None else ""
        return join_title(title, text_field(record, "text", place))

    return _by_id(records, id_key, "document", text)


def queries(records: Iterable[Record], id_key: str) -> dict[str, str]:
    """Return query text by id."""
    return _by_id(records, id_key, "query", lambda record, place: text_field(record, "text", place))


def _by_id(
    records: Iterable[Record], id_key: str, kind: str, text: Callable[[dict[str, Any], str], str]
) -> dict[str, str]:
    texts: dict[str, str] = {}
    for place, record in records:
        id_ = _record_id(record, id_key, place)
        if id_ in texts:
            raise InputFileError(f"{place}: duplicate {kind} {id_!r}")
        texts[id_] = text(record, place)
    return texts


def _record_id(record: dict[str, Any], id_key: str, place: str) -> str:
    """Return a record's id as an index of the same file has it: a whole number, or `id` without `_id`, too."""
    key = "id" if id_key == "_id" and id_key not in record and "id" in record else id_key
    value = record.get(key)
    id_ = str(value) if isinstance(value, int) and not isinstance(value, bool) else text_field(record, key, place)
    if not id_:
        raise InputFileError(f"{place}: {key!r} is empty")
    return id_


def add_judgement(qrels: Qrels, query: str, document: str, score: str, place: str) -> None:
    """Add one judgement; zeros count: the document was judged not relevant."""
    try:
        grade = int(score)
    except ValueError:
        raise InputFileError(f"{place}: the score must be a whole number, got {score!r}") from None
    if qrels.setdefault(query, {}).setdefault(document, grade) != grade:
        raise InputFileError(f"{place}: query {query!r} and document {document!r} have two different judgements")


def judged_queries(qrels: Qrels, texts: dict[str, str], qrels_file: Path, queries_file: Path) -> dict[str, str]:
    """Return the text of each query with judgements, in the order of the judgements.

    Raises:
        InputFileError: there are no judgements, or one of their queries has no text.
    """
    if not qrels:
        raise InputFileError(f"{qrels_file}: contains no judgements")
    missing = [id_ for id_ in qrels if id_ not in texts]
    if missing:
        lacking = f"judgements of query {missing[0]!r}, which {queries_file.name} lacks"
        raise InputFileError(f"{qrels_file}: {lacking}; add the query, or remove its judgements")
    return {id_: texts[id_] for id_ in qrels}
