"""The exceptions Serotine raises, beside ValueError and TypeError for arguments of the wrong kind.

Every message is one line that names what was wrong and what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def reason(error: BaseException) -> str:
    """Return the first line of an error's message, or its class name where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def invalid(name: str, expected: str, value: object) -> ValueError:
    """Return the error for a value that is out of range: "k: must be at least 1, got 0"."""
    return ValueError(f"{name}: must be {expected}, got {value!r}")


def wrong_type(name: str, expected: str, value: object) -> TypeError:
    """Return the error for a value of the wrong type: "ids: must be a list of strings, got int"."""
    return TypeError(f"{name}: must be {expected}, got {type(value).__name__}")


def not_one_of(name: str, options: Iterable[object], value: object) -> ValueError:
    """Return the error for a value outside a closed set: "nbits: must be one of 2, 4, 8, got 3"."""
    return invalid(name, f"one of {', '.join(map(str, options))}", value)


def unknown_key(key: str, valid: Iterable[str]) -> str:
    """Return the message about a key that is not known: "unknown key 'modle'; valid keys: model, output"."""
    return f"unknown key {key!r}; valid keys: {', '.join(valid)}"


def missing_extra(purpose: str, extra: str) -> str:
    """Return the message about libraries of an extra that are not installed, with the command that installs them."""
    return f"{purpose} needs the extra [{extra}]; run: pip install 'serotine[{extra}]'"


def first_and_count(values: Sequence[object]) -> str:
    """Return the first of some values and how many follow: "'a' (and 3 more)"."""
    more = f" (and {len(values) - 1:,} more)" if len(values) > 1 else ""
    return f"{values[0]!r}{more}"


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


class MaintenanceWarning(UserWarning):
    """Documents were stored, but could not be compressed yet."""


class ZeroShotWarning(UserWarning):
    """A dense encoder was loaded: its token states are used as they are, without late-interaction training."""


class UnprovedWarning(UserWarning):
    """An exact search was asked through a framework, and the index could not prove its answer."""
