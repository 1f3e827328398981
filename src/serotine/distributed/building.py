"""Sharded indexes built on a Ray cluster: every shard by a task of its own, from the files to its snapshot."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from serotine.distributed.manifest import (
    MANIFEST_NAME,
    MAX_SHARDS,
    NoShardedIndexError,
    ShardManifest,
    ShardRecord,
    read_manifest,
    repository_url,
    write_manifest,
)
from serotine.distributed.placement import HASH, owner
from serotine.distributed.ray_library import connected_ray
from serotine.distributed.snapshot_cache import shard_folder
from serotine.errors import InputFileError, RepositoryError, SerotineError, invalid, wrong_type
from serotine.index import Index, MissingObjectError, Settings, check_filterable, objects_at, read_settings
from serotine.ingest import Document, batched, read
from serotine.issued_warnings import muted_warnings
from serotine.progress import progress_bar

_BATCH = 1000
# Times that a shard is built again after its process or machine has died.
_RETRIES = 5


@dataclass(frozen=True, slots=True)
class BuildReport:
    """Report of `build`.

    Attributes:
        documents: number of documents, passages of long texts counted one each.
        shards: number of shards.
        built: numbers of the shards that were built; the others had the same documents before.
    """

    documents: int
    shards: int
    built: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ShardOrder:
    """What a task needs to build one shard.

    Attributes:
        sources: files and folders.
        shard: its number.
        shards: number of shards.
        documents: number of documents of the shard, before long ones are split.
        encoder: name of the encoder.
        options: of `Index.create`.
        url: of the shard's snapshots.
        storage_options: as fsspec takes them.
        key: digest of everything that the shard's content depends on.
    """

    sources: tuple[str, ...]
    shard: int
    shards: int
    documents: int
    encoder: str
    options: Mapping[str, Any]
    url: str
    storage_options: Mapping[str, Any] | None
    key: str


@dataclass(slots=True)
class _Content:
    """The content of one shard so far: number and digest of its documents."""

    documents: int = 0
    digest: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=32))

    def add(self, document: Document) -> None:
        self.documents += 1
        content = json.dumps([document.id, document.text, document.metadata], sort_keys=True)
        self.digest.update(content.encode("utf-8", "surrogatepass") + b"\n")


def build(
    source: str | Path | Sequence[str | Path],
    url: str,
    *,
    shards: int,
    encoder: str | None = None,
    nbits: int | None = None,
    keep_vectors: bool | None = None,
    filterable: dict[str, type] | None = None,
    address: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    show_progress: bool = False,
) -> BuildReport:
    """Build a sharded index from files, a Ray task per shard, and write its snapshots and manifest to a URL.

    A document belongs to the shard that the hash of its id names. Long texts are split into passages, as with
    ``long_texts="split"``. Each shard is an ordinary index. The manifest is written last: until then, an index that was
    at the URL before stays what it was.

    The same call resumes a build that was interrupted, and rebuilds only shards whose documents or settings have
    changed. A shard whose process or machine dies is built again, from what it has committed where it starts on the
    same machine.

    Args:
        source: files or folders as `serotine index` reads them, at the same path on every machine.
        url: a URL that fsspec knows, or a folder that every machine has.
        shards: number of shards; each needs the disk and memory of an index of its share of the documents.
        encoder: a name that every machine can load, such as "mini", a folder or a hub id; the default encoder unless
            given.
        nbits: as for `Index.create`.
        keep_vectors: as for `Index.create`; without vectors, scores of different shards are estimates.
        filterable: as for `Index.create`.
        address: of the cluster; by default the one that Ray is connected to or finds, else one on this machine.
        storage_options: for the file system of the URL, as fsspec takes them.
        show_progress: show a progress bar on standard error.

    Raises:
        InputFileError: a file is broken, or two documents have one id; nothing is built.
        RepositoryError: the URL cannot be written, or has an index that was changed after it was built.
        SerotineError: Ray is not installed, or a shard was lost too often.
        ValueError, TypeError: names the argument.
    """
    if isinstance(shards, bool) or not isinstance(shards, int):
        raise wrong_type("shards", "an int of at least 1", shards)
    if not 0 < shards <= MAX_SHARDS:
        raise invalid("shards", f"between 1 and {MAX_SHARDS:,}", shards)
    if encoder is not None and not isinstance(encoder, str):
        raise wrong_type("encoder", "a name that every machine can load", encoder)
    check_filterable(filterable or {})
    paths = [source] if isinstance(source, (str, Path)) else list(source)
    options = {"nbits": nbits, "keep_vectors": keep_vectors, "filterable": filterable}
    given = {name: value for name, value in options.items() if value is not None}
    _refuse_changed(url, storage_options)
    orders = _orders(paths, url, shards, encoder, given, storage_options)
    done = {order.shard: record for order in orders if (record := _built(order)) is not None}
    records = dict(done)
    ray = connected_ray(address)
    task = ray.remote(build_shard).options(num_cpus=1, max_retries=_RETRIES, scheduling_strategy="SPREAD")
    total = sum(order.documents for order in orders)
    with progress_bar(total, "Building shards", enabled=show_progress) as advance:
        advance(sum(orders[shard].documents for shard in done))
        pending = {task.remote(order): order for order in orders if order.shard not in done}
        try:
            while pending:
                (reference,), _ = ray.wait(list(pending), num_returns=1)
                order = pending.pop(reference)
                records[order.shard] = _result(ray, reference, order)
                advance(order.documents)
        except BaseException:
            for reference in pending:
                ray.cancel(reference, force=True)
            raise
    in_order = tuple(records[shard] for shard in range(shards))
    write_manifest(url, ShardManifest(_settings(orders[0]), in_order), storage_options)
    built = tuple(sorted(set(records) - set(done)))
    return BuildReport(sum(record.documents for record in in_order), shards, built)


def build_shard(order: ShardOrder) -> ShardRecord:
    """Build one shard, write its snapshot, and note that it is done; resumes what an earlier attempt committed."""
    folder = shard_folder(order.url) / f"building-{order.key}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (
        muted_warnings(),
        Index.open_or_create(folder, encoder=order.encoder, **order.options) as index,
    ):
        index.add_batches(_batches(order), long_texts="split", expected_documents=max(order.documents, 1))
        index.compact()
        report = index.snapshot(order.url, storage_options=order.storage_options)
    if report.name is None:
        raise RepositoryError(f"{order.url}: not a snapshot repository; give a URL")
    record = ShardRecord(report.name, report.documents)
    note = {**asdict(record), "settings": asdict(read_settings(folder))}
    objects_at(order.url, order.storage_options).write(_note(order), json.dumps(note).encode())
    shutil.rmtree(folder)
    return record


def _batches(order: ShardOrder) -> Iterator[dict[str, list[Any]]]:
    owned = (document for document in read(order.sources) if owner(document.id, order.shards) == order.shard)
    for documents in batched(owned, _BATCH):
        yield {
            "ids": [document.id for document in documents],
            "texts": [document.text for document in documents],
            "metadata": [document.metadata for document in documents],
        }


def _orders(
    paths: Sequence[str | Path],
    url: str,
    shards: int,
    encoder: str | None,
    options: Mapping[str, Any],
    storage_options: Mapping[str, Any] | None,
) -> list[ShardOrder]:
    """Read everything once, before anything is built: what every shard will have, and whether ids are unique."""
    from serotine.encoders import Encoder

    loaded = Encoder(encoder)
    sources = tuple(str(Path(path).absolute()) for path in paths)
    contents = [_Content() for _ in range(shards)]
    ids: set[bytes] = set()
    for document in read(sources):
        digest = hashlib.blake2b(document.id.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if digest in ids:
            raise InputFileError(f"{document.origin}: duplicate id {document.id!r}; ids must be unique")
        ids.add(digest)
        contents[owner(document.id, shards)].add(document)
    named = {**options, "filterable": {name: kind.__name__ for name, kind in options.get("filterable", {}).items()}}
    common = json.dumps([HASH, shards, loaded.name, loaded.fingerprint, named], sort_keys=True).encode()
    return [
        ShardOrder(
            sources, shard, shards, content.documents, loaded.name, options, repository_url(url, shard),
            storage_options, hashlib.blake2b(common + content.digest.digest(), digest_size=16).hexdigest(),
        )
        for shard, content in enumerate(contents)
    ]  # fmt: skip


def _refuse_changed(url: str, storage_options: Mapping[str, Any] | None) -> None:
    """Raise RepositoryError where building would drop changes that were made to the index since it was built."""
    with suppress(NoShardedIndexError):
        manifest = read_manifest(url, storage_options)
        if any(record.changed for record in manifest.shards):
            raise RepositoryError(
                f"{url}: was changed after it was built, which building would undo; "
                f"change it with `ShardedIndex`, build at another URL, or remove its {MANIFEST_NAME}"
            )


def _note(order: ShardOrder) -> str:
    return f"built/{order.key}"


def _read_note(order: ShardOrder) -> dict[str, Any] | None:
    try:
        note: dict[str, Any] = json.loads(objects_at(order.url, order.storage_options).read(_note(order)))
    except (MissingObjectError, ValueError):
        return None
    return note


def _built(order: ShardOrder) -> ShardRecord | None:
    """Return a shard that an earlier build has finished, if its snapshot is still there."""
    note = _read_note(order)
    if note is None:
        return None
    names = [snapshot.name for snapshot in Index.snapshots(order.url, storage_options=order.storage_options)]
    return ShardRecord(note["snapshot"], note["documents"]) if note["snapshot"] in names else None


def _settings(order: ShardOrder) -> Settings:
    note = _read_note(order)
    if note is None:
        raise RepositoryError(f"{order.url}: was built, but is not there; run the same command again")
    return Settings(**note["settings"])


def _result(ray: Any, reference: Any, order: ShardOrder) -> ShardRecord:
    try:
        record: ShardRecord = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        raise SerotineError(
            f"shard {order.shard}: its process or machine died {_RETRIES + 1} times ({type(error).__name__}); "
            "give it more memory, or build more shards, and run the same again"
        ) from error
    return record
