"""Errors in other processes: each arrives as what it was."""

from __future__ import annotations

import pickle

import pytest

from serotine.errors import (
    IndexDamagedError,
    IndexLockedError,
    InputFileError,
    MissingExtraError,
    NotAnIndexError,
    SerotineError,
    ServerError,
    UnknownIdError,
)
from serotine.ingest.listing import NoFilesError
from serotine.ingest.rows import BadRowError, SkippedRow
from serotine.ingest.walk import FolderFiles, Ignored

ERRORS = [
    SerotineError("a: is wrong; mend it"),
    IndexDamagedError("a: is damaged"),
    UnknownIdError("'x' is not in the index"),
    NotAnIndexError("a: no index", "a"),
    IndexLockedError("a: is locked", "a"),
    ServerError("a: failed", status=503, code="busy"),
    MissingExtraError("a.parquet", "reading Parquet", "ingest"),
    NoFilesError("a: no files", "check the path", FolderFiles([], Ignored(hidden=2))),
    BadRowError(SkippedRow("a.csv", 3, "must have 2 columns, got 3")),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_is_the_same_after_pickling(error: SerotineError) -> None:
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert type(again) is type(error)
    assert (str(again), again.args, again.__dict__) == (str(error), error.args, error.__dict__)
    with pytest.raises(InputFileError if isinstance(error, InputFileError) else type(error)):
        raise again
