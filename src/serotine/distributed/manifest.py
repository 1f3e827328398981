"""The manifest of a sharded index: which snapshot every shard is. It is written last, as a whole."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from serotine.distributed.placement import HASH
from serotine.errors import IndexDamagedError, RepositoryError, reason
from serotine.index import MissingObjectError, Settings, objects_at
from serotine.wording import worded

FORMAT_VERSION = 1
MANIFEST_NAME = "shards.json"
SNAPSHOT_NAME = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9]{6}")
# A machine's name, and a folder of `writing_folder`.
_UNSAVED = re.compile(r"[^/]+/writing-[0-9a-f]{32}")
MAX_SHARDS = 10_000


class NoShardedIndexError(RepositoryError):
    """A URL without a manifest."""


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """One shard.

    Attributes:
        snapshot: name of its snapshot.
        documents: number of the snapshot's documents.
        changed: whether documents were changed since it was built.
        unsaved: where changes are that no snapshot has yet, as "machine/folder"; "" where there are none.
    """

    snapshot: str
    documents: int
    changed: bool = False
    unsaved: str = ""


@dataclass(frozen=True, slots=True)
class ShardManifest:
    """A sharded index.

    Attributes:
        settings: of every shard.
        shards: by number.
    """

    settings: Settings
    shards: tuple[ShardRecord, ...]


def repository_url(url: str, shard: int) -> str:
    """Return the URL of the snapshots of a shard."""
    place = url if re.match(r"[A-Za-z][A-Za-z0-9+.-]+(://|::)", url) else f"file://{Path(url).absolute()}"
    return f"{place.rstrip('/')}/shard-{shard:05}"


def write_manifest(url: str, manifest: ShardManifest, storage_options: Mapping[str, Any] | None) -> None:
    """Write the manifest at a URL, replacing an earlier one at once."""
    content = {"format": FORMAT_VERSION, "hash": HASH, **asdict(manifest), "settings": manifest.settings.values()}
    objects_at(url, storage_options).write(MANIFEST_NAME, json.dumps(content, indent=1).encode())


def read_manifest(url: str, storage_options: Mapping[str, Any] | None) -> ShardManifest:
    """Read the manifest at a URL.

    Raises:
        RepositoryError: the URL cannot be read, or has no manifest.
        IndexDamagedError: the manifest is not valid, or of another format.
    """
    objects = objects_at(url, storage_options)
    try:
        data = objects.read(MANIFEST_NAME)
    except MissingObjectError:
        writer = worded("`serotine.distributed.build`", http="who runs the server", command="`serotine cluster build`")
        raise NoShardedIndexError(
            f"{objects.url}: no sharded index (it has no {MANIFEST_NAME}); {writer} writes one"
        ) from None
    try:
        content = json.loads(data)
        if (content["format"], content["hash"]) != (FORMAT_VERSION, HASH):
            raise ValueError(f"format {content['format']!r} with hash {content['hash']!r} is unknown")
        shards = tuple(ShardRecord(**record) for record in content["shards"])
        if not 0 < len(shards) <= MAX_SHARDS or not all(_is_valid(shard) for shard in shards):
            raise ValueError("the list of shards is not valid")
        return ShardManifest(Settings(**content["settings"]), shards)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise IndexDamagedError(
            f"{objects.url}/{MANIFEST_NAME}: {reason(error)}; build the sharded index again"
        ) from error


def shard_records(url: str, *, storage_options: Mapping[str, Any] | None = None) -> tuple[ShardRecord, ...]:
    """Return the shards of the sharded index at a URL, by number, without a cluster; errors as for `read_manifest`."""
    return read_manifest(url, storage_options).shards


def shard_settings(url: str, *, storage_options: Mapping[str, Any] | None = None) -> Settings:
    """Return the settings of every shard of the sharded index at a URL; see `shard_records`."""
    return read_manifest(url, storage_options).settings


def _is_valid(shard: ShardRecord) -> bool:
    return (
        SNAPSHOT_NAME.fullmatch(shard.snapshot) is not None
        and isinstance(shard.documents, int)
        and isinstance(shard.changed, bool)
        and (not shard.unsaved or _UNSAVED.fullmatch(shard.unsaved) is not None)
    )
