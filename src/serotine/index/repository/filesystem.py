"""Objects on a file system of fsspec: S3, Google Storage, Azure, SFTP, memory. The only module that knows fsspec."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

from serotine.errors import RepositoryError, missing_extra, reason, shown
from serotine.index.repository.objects import MissingObjectError
from serotine.wording import local_fix

# An object appears under its name when all of it has arrived; elsewhere it is written beside and renamed.
_OBJECT_STORES = frozenset(
    {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "oss", "tos", "tosfs", "hf", "memory"}
)
_ATTEMPTS = 3
_WAIT = 0.5
# Trying again changes nothing.
_FINAL = (FileNotFoundError, PermissionError, NotImplementedError, TypeError, ValueError, ImportError)
_SECRET = re.compile(r"key|secret|token|pass|credential|connection_string", re.IGNORECASE)
# Of the userinfo and the query of a URL, either may be a credential.
_USERINFO = re.compile(r"(?<=://)[^/@\s]*@")
_QUERY = re.compile(r"(?<=[^\s?])\?[^\s'\")]*")
_MIN_SECRET = 4
Result = TypeVar("Result")


class FilesystemObjects:
    """Objects below a URL; see `Objects` for its methods.

    Raises:
        RepositoryError: fsspec or the library for this URL is not installed, or the URL is not valid.
    """

    def __init__(self, url: str, storage_options: Mapping[str, Any]) -> None:
        self.url = _without_credentials(url).rstrip("/")
        self._secrets = _secrets(url, storage_options)
        try:
            from fsspec.core import url_to_fs
        except ImportError:
            raise RepositoryError(missing_extra(self.url, "cloud")) from None
        try:
            # Listings change while a snapshot is written: another process may prune.
            filesystem, root = url_to_fs(url, **storage_options)
        except ImportError as error:
            raise RepositoryError(f"{self.url}: {self._missing_library(url, error)}") from error
        except Exception as error:
            if "Protocol not known" in str(error):
                raise RepositoryError(
                    f"{self.url}: unknown protocol {shown(_protocol(url))}; "
                    f"install the package that adds it to fsspec, or use one of {_known_protocols()}"
                ) from None
            raise RepositoryError(f"{self.url}: cannot be opened ({self._reason(error)})") from error
        self._filesystem = filesystem
        self._root = root.rstrip("/")
        protocols = (filesystem.protocol,) if isinstance(filesystem.protocol, str) else filesystem.protocol
        self._atomic = not _OBJECT_STORES.isdisjoint(protocols)

    def sizes(self, folder: str) -> dict[str, int]:
        """See `Objects`."""

        def read() -> dict[str, int]:
            self._filesystem.invalidate_cache()
            listed = self._filesystem.find(f"{self._root}/{folder}", detail=True)
            return {path.rsplit("/", 1)[1]: int(entry["size"]) for path, entry in listed.items()}

        return self._attempt(read, "listed")

    def read(self, name: str) -> bytes:
        """See `Objects`."""

        def read() -> bytes:
            return bytes(self._filesystem.cat_file(f"{self._root}/{name}"))

        try:
            return self._attempt(read, "read")
        except RepositoryError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise MissingObjectError(name) from None
            raise

    def write(self, name: str, data: bytes) -> None:
        """See `Objects`."""
        path = f"{self._root}/{name}"

        def write() -> None:
            if self._atomic:
                self._filesystem.pipe_file(path, data)
                return
            self._filesystem.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            temporary = f"{path}.{uuid.uuid4().hex}.tmp"
            self._filesystem.pipe_file(temporary, data)
            self._filesystem.mv(temporary, path)

        self._attempt(write, "written")

    def remove(self, names: Sequence[str]) -> None:
        """See `Objects`."""

        def remove() -> None:
            try:
                self._filesystem.rm([f"{self._root}/{name}" for name in names])
            except FileNotFoundError:
                for name in names:
                    if self._filesystem.exists(f"{self._root}/{name}"):
                        self._filesystem.rm_file(f"{self._root}/{name}")

        if names:
            self._attempt(remove, "changed")

    def _attempt(self, action: Callable[[], Result], verb: str) -> Result:
        """Run an action, again after an error that may pass; any error of a file system is a RepositoryError."""
        for attempt in range(_ATTEMPTS):
            try:
                return action()
            except Exception as error:
                if attempt + 1 < _ATTEMPTS and not isinstance(error, _FINAL):
                    time.sleep(_WAIT * 2**attempt)
                    continue
                raise RepositoryError(f"{self.url}: {self._failure(error, verb)}") from error
        raise AssertionError("unreachable")

    def _failure(self, error: Exception, verb: str) -> str:
        text = self._reason(error)
        if isinstance(error, FileNotFoundError):
            return f"does not exist ({text}); create the bucket first, or check its name"
        if isinstance(error, PermissionError) or "credentials" in text.lower():
            return f"access denied ({text}); check the credentials that fsspec uses"
        return f"cannot be {verb} ({text}); run the same again when the storage can be reached"

    def _reason(self, error: BaseException) -> str:
        """Return an error's reason without credentials."""
        text = reason(error)
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return _without_credentials(text)

    def _missing_library(self, url: str, error: ImportError) -> str:
        from fsspec.registry import known_implementations

        module = known_implementations.get(_protocol(url), {}).get("class", "").split(".", 1)[0]
        if module == "s3fs":
            return missing_extra("s3", "cloud")
        if module in ("", "fsspec"):
            # An implementation of fsspec's own, which imports the library.
            module = getattr(error.__cause__, "name", None) or error.name or ""
        install = f"; {local_fix(f'run: pip install {module}')}" if module else ""
        return f"a library is missing ({self._reason(error)}){install}"


def _protocol(url: str) -> str:
    return re.split("::|://", url, maxsplit=1)[0]


def _known_protocols() -> str:
    from fsspec.registry import known_implementations

    return ", ".join(name for name in ("s3", "gs", "abfs", "sftp", "memory", "file") if name in known_implementations)


def _without_credentials(text: str) -> str:
    return _QUERY.sub("", _USERINFO.sub("", text))


def _secrets(url: str, options: Mapping[str, Any]) -> list[str]:
    """Return values that no message may contain, the longest first."""
    values = [value for name, value in options.items() if _SECRET.search(name)]
    values += [value for value in options.values() if isinstance(value, Mapping)]
    secrets: list[str] = []
    for value in values:
        if isinstance(value, Mapping):
            secrets += _secrets("", value)
        elif isinstance(value, str) and len(value) >= _MIN_SECRET:
            secrets.append(value)
    try:
        password = urlsplit(url).password
    except ValueError:
        password = None
    return sorted({*secrets, *([password] if password else [])}, key=len, reverse=True)
