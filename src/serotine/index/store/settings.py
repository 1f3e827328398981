"""The settings of an index in the catalog: rows of JSON values, with a checksum over all of them."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from serotine.errors import NotAnIndexError, index_damaged, reason, shown, shown_id


@dataclass(frozen=True, slots=True)
class PooledSettings:
    """The pooled vectors of an index: one per document, beside its token vectors.

    Attributes:
        dim: dimension of a pooled vector.
        encoder: name of the dense model, or None where callers give the vectors.
        fingerprint: the model's fingerprint.
        options: options that the model was loaded with.
        similarity: how vectors are compared: "cosine", whose vectors have length 1, or "dot".
    """

    dim: int
    encoder: str | None = None
    fingerprint: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    similarity: str = "dot"


_POOLED_KINDS: dict[str, Any] = {
    "dim": int,
    "encoder": str | None,
    "fingerprint": str | None,
    "options": dict,
    "similarity": str,
}
_decode_json = json.JSONDecoder().raw_decode
FORMAT_VERSION = 2
# With pooled vectors: earlier versions would lose them in a rewrite.
POOLED_FORMAT_VERSION = 3
# The checksum is no signature: a setting may be forged.
_KINDS: dict[str, Any] = {
    "dim": int,
    "encoder": str | None,
    "fingerprint": str | None,
    "encoder_options": dict,
    "nbits": int,
    "keep_vectors": bool,
    "filterable": dict,
    "centroids": int | None,
    "pooled": PooledSettings | None,
}
# The row of the checksum, absent from indexes of earlier versions: {"keys": [...], "checksum": "..."}.
_CHECKSUM = "settings_checksum"


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings fixed when the index was created.

    Attributes:
        dim: dimension of a token vector.
        encoder: name of the encoder, or None for an index of vectors.
        fingerprint: the encoder's fingerprint.
        encoder_options: options that the encoder was loaded with.
        nbits: bits per dimension of the residual codes: 2, 4 or 8.
        keep_vectors: whether float16 vectors stay beside the codes.
        filterable: type names of the metadata fields that filters look up in an SQL index.
        centroids: number of centroids of a codebook, or None to derive it from the collection's size.
        pooled: the pooled vectors beside the tokens, or None.
    """

    dim: int
    encoder: str | None = None
    fingerprint: str | None = None
    encoder_options: dict[str, Any] = field(default_factory=dict)
    nbits: int = 4
    keep_vectors: bool = True
    filterable: dict[str, str] = field(default_factory=dict)
    centroids: int | None = None
    pooled: PooledSettings | None = None

    @property
    def format_version(self) -> int:
        """Version of the format on disk."""
        return FORMAT_VERSION if self.pooled is None else POOLED_FORMAT_VERSION

    @property
    def pooled_dim(self) -> int:
        """Dimension of a pooled vector; 0 where none are stored."""
        return 0 if self.pooled is None else self.pooled.dim

    def values(self) -> dict[str, Any]:
        """Return the settings as values that JSON can represent, as versions without pooled vectors know them."""
        values = asdict(self)
        if self.pooled is None:
            del values["pooled"]
        return values


def settings_rows(settings: Settings) -> list[tuple[str, str]]:
    """Return the rows (key, value as JSON) that store settings."""
    rows = {
        key: json.dumps(value)
        for key, value in {"format_version": settings.format_version, **settings.values()}.items()
    }
    checksum = {"keys": sorted(rows), "checksum": _checksum(rows, sorted(rows))}
    return [*rows.items(), (_CHECKSUM, json.dumps(checksum))]


def read_settings(connection: sqlite3.Connection, path: Path) -> Settings:
    """Return the settings of the catalog at `path`.

    Raises:
        NotAnIndexError: the database is no catalog, or one of another format.
        IndexDamagedError: a value has changed since it was written.
    """
    has_meta = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone()
    meta = dict(connection.execute("SELECT key, value FROM meta")) if has_meta else {}
    # One changed bit makes a blob of a text.
    if not all(isinstance(text, str) for row in meta.items() for text in row):
        raise index_damaged(f"{path}: a setting is no text")
    version = meta.get("format_version")
    if version is None:
        raise NotAnIndexError(f"{path.parent}: {path.name} is not a Serotine catalog")
    versions = (str(FORMAT_VERSION), str(POOLED_FORMAT_VERSION))
    if version not in versions:
        raise NotAnIndexError(
            f"{path.parent}: index format must be {' or '.join(versions)}, got {version}; "
            "open it with the version of Serotine that wrote it, or rebuild the index"
        )
    if _CHECKSUM in meta:
        _check(meta, path)
    # Settings added by a later version have their defaults.
    names = [setting.name for setting in fields(Settings)]
    values = {name: decoded(meta[name], path, f"the setting {name!r}") for name in names if name in meta}
    settings = Settings(**{**values, "pooled": _pooled(values.get("pooled"))})
    for name, kinds in _KINDS.items():
        value = getattr(settings, name)
        if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
            raise index_damaged(f"{path}: the setting {name!r} is damaged (it is {shown(value)})")
    if str(settings.format_version) != version:
        raise index_damaged(f"{path}: the setting 'format_version' is {version}, and pooled vectors say otherwise")
    return settings


def _pooled(value: Any) -> Any:
    """Return the settings of pooled vectors, or the value itself where it describes none."""
    if not isinstance(value, dict) or set(value) != set(_POOLED_KINDS):
        return value
    valid = all(isinstance(value[name], kinds) for name, kinds in _POOLED_KINDS.items()) and value["dim"] >= 1
    return PooledSettings(**value) if valid else value


def decoded(text: str, path: Path, name: str) -> Any:
    """Return a JSON value of the catalog at `path`.

    Raises:
        IndexDamagedError: it is not valid JSON; the message has `name`.
    """
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise index_damaged(f"{path}: {name} is damaged ({reason(error)})") from error


def decoded_object(text: str, path: Path, name: str) -> dict[str, Any]:
    """Return a JSON object of the catalog at `path`; errors as for `decoded`."""
    value = decoded(text, path, name)
    if not isinstance(value, dict):
        raise index_damaged(f"{path}: {name} is damaged (not a JSON object)")
    return value


def decoded_metadata(text: str, path: Path, id_: str) -> dict[str, Any]:
    """Return the metadata of a document; errors as for `decoded`."""
    # `json.loads` looks for white space around the value, which takes longer than parsing most metadata.
    try:
        value, end = _decode_json(text)
        if end == len(text) and isinstance(value, dict):
            return value
    except (ValueError, TypeError, RecursionError):
        pass
    return decoded_object(text, path, f"the metadata of document {shown_id(id_)}")


def _check(meta: Mapping[str, str], path: Path) -> None:
    recorded = decoded_object(meta[_CHECKSUM], path, "the checksum of its settings")
    keys = recorded.get("keys")
    if not isinstance(keys, list) or recorded.get("checksum") != _checksum(meta, [str(key) for key in keys]):
        raise index_damaged(f"{path}: the settings do not match their checksum")


def _checksum(values: Mapping[str, str], keys: list[str]) -> str:
    pairs = json.dumps([[key, values.get(key)] for key in keys])
    return hashlib.blake2b(pairs.encode(), digest_size=16).hexdigest()
