"""The exceptions Serotine raises, beside ValueError and TypeError for arguments of the wrong kind.

Every message is one line that names what was wrong and what to do about it.
"""

from __future__ import annotations


def reason(error: BaseException) -> str:
    """The first line of what an error says, for a message of one line; its kind where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


class SerotineError(Exception):
    """Base of every error that is about the state of the world rather than about an argument."""


class NotAnIndexError(SerotineError):
    """The path is not a Serotine index, or is one of a format this version does not read."""


class IndexLockedError(SerotineError):
    """Another process holds the index's writer lock."""


class IndexDamagedError(SerotineError):
    """A file of the index is missing, truncated or fails its checksum."""


class ReadOnlyError(SerotineError):
    """A change was asked of an index opened with ``read_only=True``."""


class UnknownIdError(SerotineError, KeyError):
    """A document id that the index does not hold."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class DuplicateIdError(SerotineError, ValueError):
    """A document id that the index, or the same call, holds already."""


class EncoderError(SerotineError):
    """An encoder cannot be loaded, or does not match what the index was built with."""


class InputFileError(SerotineError):
    """An input file cannot be read; the message names the file and, where it can, the line."""


class RecipeError(SerotineError, ValueError):
    """A training recipe is wrong; the message names the file and the key."""


class TrainingError(SerotineError):
    """A training run cannot start or go on."""


class IndexExistsError(SerotineError, FileExistsError):
    """Something stands already where an index was to be created."""


class ServerError(SerotineError):
    """A server could not be reached, or refused a request for a reason of its own: rights, limits, load, time.

    Attributes:
        status: the HTTP status, or None where there was no answer.
        code: the error's code, such as "unauthorised", "too_large" or "overloaded".
    """

    def __init__(self, message: str, *, status: int | None = None, code: str = "unreachable") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class EmptyTextWarning(UserWarning):
    """A text without words was added: it is kept, but only its id can find it."""


class HousekeepingWarning(UserWarning):
    """Documents were stored, but could not be compressed yet."""


class ZeroShotWarning(UserWarning):
    """A dense encoder was loaded: its token states are used as they are, without late-interaction training."""


class UnprovedWarning(UserWarning):
    """An exact search was asked through a framework, and the index could not prove its answer."""
