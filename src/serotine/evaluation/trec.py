"""TREC run files: `query Q0 document rank score tag`, separated by spaces, one line per document."""

from __future__ import annotations

from pathlib import Path

from serotine.errors import InputFileError
from serotine.evaluation.metrics import Run
from serotine.files import write_atomically
from serotine.ingest import read_lines

_FIELDS = 6


def write_run(run: Run, file: Path, *, tag: str) -> None:
    """Write a run, best documents first, ties in trec_eval's order (document id, descending).

    Raises:
        ValueError: an id contains a space, which separates fields.
    """
    tag = "_".join(tag.split()) or "run"
    lines = []
    for query, scores in run.items():
        ranking = sorted(scores.items(), key=lambda item: (item[1], item[0]), reverse=True)
        for rank, (document, score) in enumerate(ranking, start=1):
            for id_ in (query, document):
                if not id_ or any(letter.isspace() for letter in id_):
                    raise ValueError(f"run: id {id_!r} contains a space, which separates the fields of a TREC run file")
            lines.append(f"{query} Q0 {document} {rank} {score!r} {tag}\n")
    write_atomically(file, "".join(lines))


def read_run(file: Path) -> Run:
    """Read a run file; ranks are ignored, as by trec_eval.

    Raises:
        InputFileError: the file is missing or a line is malformed; names the line.
    """
    run: Run = {}
    for number, line in read_lines(file):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != _FIELDS:
            raise InputFileError(f"{file}:{number}: must be `query Q0 document rank score tag`, got {line.rstrip()!r}")
        query, _, document, _, score, _ = fields
        try:
            value = float(score)
        except ValueError:
            raise InputFileError(f"{file}:{number}: the score must be a number, got {score!r}") from None
        if document in run.setdefault(query, {}):
            raise InputFileError(f"{file}:{number}: duplicate document {document!r} for query {query!r}")
        run[query][document] = value
    return run
