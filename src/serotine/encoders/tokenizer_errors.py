"""Errors of the tokenizers library as errors of an encoder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serotine.errors import EncoderError, reason

# The library's own class, which is no Exception, for faults that its authors did not expect.
_PANIC = "PanicException"


@contextmanager
def tokenizer_errors(place: str | Path, problem: str = "the tokenizer failed") -> Iterator[None]:
    """Translate errors of a tokenizer.

    Args:
        place: the tokenizer's file, or the encoder's name, for messages.
        problem: what failed, for messages.

    Raises:
        EncoderError: the library failed, as it does where parts of the tokenizer do not fit each other.
    """
    try:
        yield
    except BaseException as error:
        # What it cannot do is a plain Exception.
        if type(error) is Exception or type(error).__name__ == _PANIC:
            raise EncoderError(f"{place}: {problem} ({reason(error)}); get the checkpoint again") from error
        raise
