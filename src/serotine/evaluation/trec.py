"""TREC run files: `query Q0 document rank score tag`, between spaces, one line a document."""

from __future__ import annotations

from pathlib import Path

from serotine.errors import InputFileError
from serotine.evaluation.metrics import Run
from serotine.ingest import read_lines

_FIELDS = 6


def write_run(run: Run, file: Path, *, tag: str) -> None:
    """Writes a run, best documents first, ties in trec_eval's order (document id, descending).

    Raises:
        ValueError: an id holds a space, which the format cannot tell apart.
    """
    word = "_".join(tag.split()) or "run"
    lines = []
    for query, found in run.items():
        ranking = sorted(found.items(), key=lambda one: (one[1], one[0]), reverse=True)
        for rank, (document, score) in enumerate(ranking, start=1):
            for id_ in (query, document):
                if not id_ or any(letter.isspace() for letter in id_):
                    raise ValueError(f"id {id_!r} cannot stand in a TREC run file, whose fields are parted by spaces")
            lines.append(f"{query} Q0 {document} {rank} {score!r} {word}\n")
    file.write_text("".join(lines), encoding="utf-8")


def read_run(file: Path) -> Run:
    """Reads a run file; ranks are ignored, as trec_eval ignores them.

    Raises:
        InputFileError: the file is missing or a line is malformed; names the line.
    """
    run: Run = {}
    for number, line in read_lines(file):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != _FIELDS:
            raise InputFileError(f"{file}:{number}: want `query Q0 document rank score tag`, got {line.rstrip()!r}")
        query, _, document, _, score, _ = fields
        try:
            value = float(score)
        except ValueError:
            raise InputFileError(f"{file}:{number}: the score must be a number, got {score!r}") from None
        if document in run.setdefault(query, {}):
            raise InputFileError(f"{file}:{number}: document {document!r} stands twice for query {query!r}")
        run[query][document] = value
    return run
