"""The exceptions and warnings of Serotine, and the wording of their messages.

Arguments of the wrong type or value raise TypeError or ValueError. A message is one line:
``<argument or file:line>: <what is wrong>, got <value>; <what to do>``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeGuard

from serotine.wording import local_fix

_MAX_SHOWN = 80
_MAX_ID = 200


def reason(error: BaseException) -> str:
    """Return the first line of an error's message, or its class name if it has none."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__).strip()


def shown(value: object) -> str:
    """Return a value's repr, cut to 80 characters."""
    return _cut(repr(value), _MAX_SHOWN)


def shown_id(id_: str) -> str:
    """Return the repr of an id, cut to 200 characters: it may have thousands."""
    return _cut(repr(id_), _MAX_ID)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."


def invalid(name: str, expected: str, value: object, *, fix: str = "") -> ValueError:
    """Return the error for a value that is out of range: "k: must be at least 1, got 0"."""
    return ValueError(f"{name}: must be {expected}, got {shown(value)}{_fix(fix)}")


def wrong_type(name: str, expected: str, value: object, *, fix: str = "") -> TypeError:
    """Return the error for a value of the wrong type: "ids: must be a list of strings, got int"."""
    return TypeError(f"{name}: must be {expected}, got {_type_name(value)}{_fix(fix)}")


def check_count(name: str, value: object) -> None:
    """Raise ValueError for a number of things that is no int of at least 1.

    >>> from serotine.errors import check_count
    >>> check_count("k", 0)
    Traceback (most recent call last):
        ...
    ValueError: k: must be an int, at least 1, got 0
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise invalid(name, "an int, at least 1", value)


def check_flags(**flags: object) -> None:
    """Raise TypeError for a flag that is not a bool: any other value, such as "no", would count as true.

    >>> from serotine.errors import check_flags
    >>> check_flags(upsert=True)
    >>> check_flags(upsert="no")
    Traceback (most recent call last):
        ...
    TypeError: upsert: must be True or False, got str 'no'
    """
    for name, value in flags.items():
        # By name: the client needs no NumPy.
        is_numpy_bool = type(value).__module__ == "numpy" and type(value).__name__ in ("bool", "bool_")
        if not isinstance(value, bool) and not is_numpy_bool:
            raise TypeError(f"{name}: must be True or False, got {type(value).__name__} {shown(value)}")


def is_list(value: object) -> TypeGuard[Iterable[Any]]:
    """Return whether `value` can be a list of values: a string is one value, and of a dict the keys would be taken."""
    return not isinstance(value, (str, bytes, Mapping)) and hasattr(value, "__iter__")


def no_list(name: str, items: str, value: object) -> TypeError:
    """Return the error for a value that is not `is_list`, or has no length.

    >>> from serotine.errors import no_list
    >>> no_list("metadata", "dicts", {"lang": "en"})
    TypeError('metadata: must be a list of dicts, got dict; put it in a list')
    """
    if isinstance(value, Mapping) and not items.startswith("dicts"):
        fix = "pass list(...) of its keys, or of its values"
    elif isinstance(value, (str, bytes, Mapping)):
        fix = "put it in a list"
    else:
        fix = "pass list(...)" if hasattr(value, "__iter__") else ""
    return wrong_type(name, f"a list of {items}", value, fix=fix)


def _type_name(value: object) -> str:
    return "None" if value is None else type(value).__name__


def not_one_of(name: str, options: Iterable[object], value: object) -> ValueError:
    """Return the error for a value outside a closed set: "nbits: must be one of 2, 4, 8, got 3"."""
    return invalid(name, f"one of {', '.join(map(repr, options))}", value)


def unknown_key(key: str, valid: Iterable[str]) -> str:
    """Return the message for an unknown key: "unknown key 'modle'; valid keys: model, output"."""
    return f"unknown key {shown(key)}; valid keys: {', '.join(valid)}"


def missing_extra(purpose: str, extra: str) -> str:
    """Return the message for libraries that are not installed, with the command that installs them."""
    fix = local_fix(f"run: pip install 'serotine[{extra}]'")
    return f"{purpose} needs the extra [{extra}]; {fix}"


def first_and_count(values: Sequence[object]) -> str:
    """Return the first of several values and how many follow: "'a' (and 3 more)"."""
    more = f" (and {len(values) - 1:,} more)" if len(values) > 1 else ""
    return f"{shown(values[0])}{more}"


def _fix(fix: str) -> str:
    return f"; {fix}" if fix else ""


class SerotineError(Exception):
    """Base of every error that is not about the type or value of an argument."""

    def __reduce__(self) -> tuple[Callable[..., SerotineError], tuple[Any, ...]]:
        """Pickle the error as it is: exceptions are otherwise made again, from their message alone."""
        return _unpickled, (type(self), self.args, self.__dict__)


def _unpickled(kind: type[SerotineError], arguments: tuple[Any, ...], attributes: dict[str, Any]) -> SerotineError:
    error: SerotineError = kind.__new__(kind, *arguments)
    error.__dict__.update(attributes)
    return error


class NotAnIndexError(SerotineError):
    """A path that is not a Serotine index, or an index of a format this version does not read.

    Attributes:
        missing: the path, where it holds no index at all; else None.
    """

    def __init__(self, message: str, missing: str | None = None) -> None:
        super().__init__(message)
        self.missing = missing


class IndexLockedError(SerotineError):
    """An index whose writer lock another writer holds.

    Attributes:
        path: the index's folder; "" in an error from a server.
    """

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class IndexDamagedError(SerotineError):
    """An index file that is missing, truncated or fails its checksum."""


def index_damaged(problem: str) -> IndexDamagedError:
    """Return the error for damage of an index, with what to do about it."""
    restore = "restore it from a backup, or save what is intact with"
    fix = local_fix(
        f"{restore} Index.salvage (serotine verify --repair -o NEW)",
        command=f"{restore} `serotine verify --repair -o NEW`",
    )
    return IndexDamagedError(f"{problem}; {fix}")


class IndexReplacedError(SerotineError):
    """An open index in whose place on disk there is another, or none."""


class ReadOnlyError(SerotineError):
    """A change to an index opened with ``read_only=True``."""


class UnknownIdError(SerotineError, KeyError):
    """A document id that is not in the index."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class DuplicateIdError(SerotineError, ValueError):
    """A document id that is already in the index, or twice in one call."""


class EncoderError(SerotineError):
    """An encoder that cannot be loaded or run, or is not the one the index was built with."""


class InputFileError(SerotineError):
    """An input file that cannot be read; the message names the file and, where possible, the line."""


class MissingExtraError(InputFileError):
    """An input file that the libraries of an extra read, which is not installed.

    Attributes:
        extra: the name of the extra.
    """

    def __init__(self, name: str, purpose: str, extra: str) -> None:
        super().__init__(f"{name}: {missing_extra(purpose, extra)}")
        self.extra = extra


class RecipeError(SerotineError, ValueError):
    """A training recipe that is not valid; the message names the file and the key."""


class TrainingError(SerotineError):
    """A training run that cannot start or continue."""


class IndexExistsError(SerotineError, FileExistsError):
    """A path where an index was to be created, but which already exists."""


class RepositoryError(SerotineError):
    """A snapshot repository that cannot be reached, read or written, or has no such snapshot."""


class ShardUnavailableError(SerotineError):
    """A shard of a sharded index that a request needs is down, or did not answer before the deadline."""


class ServerError(SerotineError):
    """A server that could not be reached, or that refused a request: authorization, limits, load, time.

    Attributes:
        status: the HTTP status, or None without a response.
        code: the error's code, such as "unauthorized", "too_large" or "overloaded".
    """

    def __init__(self, message: str, *, status: int | None = None, code: str = "unreachable") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class SerotineWarning(UserWarning):
    """Base of every warning.

    Warnings are equal where class and message are. `warnings.filterwarnings` with a subclass selects one kind.

    >>> warning = TruncatedTextWarning("query: longer than the 30 tokens that 'mini' reads")
    >>> str(warning), warning.to_dict()["kind"]
    ("query: longer than the 30 tokens that 'mini' reads", 'TruncatedTextWarning')
    """

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, SerotineWarning) and self.args == other.args

    def __hash__(self) -> int:
        return hash((type(self), self.args))

    def to_dict(self) -> dict[str, str]:
        """Return the warning as JSON represents it: the name of its class as "kind", and "message"."""
        return {"kind": type(self).__name__, "message": str(self)}


class EmptyTextWarning(SerotineWarning):
    """Empty texts that were added: they are stored, but no search returns them."""


class TruncatedTextWarning(SerotineWarning):
    """Texts longer than the encoder reads: what follows is not searched, or, of a query, not searched for."""


class ReplacedPassageWarning(SerotineWarning):
    """Documents that replace passages of a long text that was split, while its other passages stay."""


class UnknownTextWarning(SerotineWarning):
    """Texts of which the encoder's vocabulary lacks more than a fifth: their vectors say little about them."""


class UnknownFieldWarning(SerotineWarning):
    """Fields of a filter that no document has, or none with values of the kind they are compared with."""


class WeakMatchWarning(SerotineWarning):
    """Hits of which even the best scores like those for queries that the documents do not answer.

    An answer, not a fault: it is in `Hits.warnings`, and is not issued as a Python warning.
    """


class PartialResultWarning(SerotineWarning):
    """Shards of a sharded index were down or late: the hits are those of the others."""


class WaitingForClusterWarning(SerotineWarning):
    """A Ray cluster has no room for processes of a sharded index, which wait for it."""


class UnfinishedUpdateWarning(SerotineWarning):
    """An update of an index from files was interrupted: hits may be missing."""


class MaintenanceWarning(SerotineWarning):
    """Documents that were stored but could not be compressed, or segments that could not be merged, yet."""


class PackageNameWarning(SerotineWarning):
    """A name that is taken as an installed encoder's, although a folder of that name holds an encoder too."""


class ZeroShotWarning(SerotineWarning):
    """A dense encoder whose token states are used without late-interaction training."""


class RefusedVectorsWarning(SerotineWarning):
    """Vectors that a function in SQLite's SQL refused: SQLite itself only reports that a function raised."""


class IgnoredParameterWarning(SerotineWarning):
    """A parameter of PyLate's that has no effect on this engine was set."""


class UntrainedProjectionWarning(SerotineWarning):
    """A checkpoint opened as PyLate's `models.ColBERT` lacks a projection: a random one was added, to be trained."""


class UnprovedWarning(SerotineWarning):
    """An exact search, made through a framework, whose result the index could not prove."""
