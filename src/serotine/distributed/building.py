"""Sharded indexes built on a Ray cluster: every shard by an actor, from its documents to its snapshot."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serotine.distributed.cluster_room import wait_for_room
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
from serotine.distributed.placement import HASH
from serotine.distributed.ray_data import Pipelines
from serotine.distributed.ray_library import connected_ray, described_cluster
from serotine.distributed.reading import (
    Collection,
    Share,
    Target,
    list_sources,
    read_collection,
    read_documents,
    remove_documents,
    write_documents,
)
from serotine.distributed.snapshot_cache import shard_folder
from serotine.errors import RepositoryError, SerotineWarning, invalid, wrong_type
from serotine.index import Index, MissingObjectError, Objects, Settings, check_filterable, objects_at, read_settings
from serotine.ingest import Ignored, Skipped, SkippedRows, batched
from serotine.issued_warnings import by_kind, collected_warnings, issue_warning
from serotine.progress import progress_bar

if TYPE_CHECKING:
    from serotine.encoders import Encoder

_BATCH = 1000


@dataclass(frozen=True, slots=True)
class BuildReport:
    """Report of `build`.

    Attributes:
        documents: number of documents, passages of long texts counted one each.
        shards: number of shards.
        built: numbers of the shards that were built; the others had the same documents before.
        unknown: number of documents that are more than 20% outside the encoder's vocabulary.
        scripts: number of such documents by their main script.
        ignored: files of folders that are not read, such as those of unknown types.
        unread: how many images, attachments and the like of the files are not read, by kind.
        problems: lines that may not be read as they were meant, such as encodings that are guesses.
        skipped_rows: bad rows, which are not indexed, while the rest of their files is.
        skipped: files that are not indexed: broken ones, and those without text.
    """

    documents: int
    shards: int
    built: tuple[int, ...]
    unknown: int = 0
    scripts: Mapping[str, int] = field(default_factory=dict)
    ignored: Ignored = field(default_factory=Ignored)
    unread: Mapping[str, int] = field(default_factory=dict)
    problems: SkippedRows = field(default_factory=SkippedRows)
    skipped_rows: SkippedRows = field(default_factory=SkippedRows)
    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True, slots=True)
class ShardOrder:
    """What an actor needs to build one shard.

    Attributes:
        shard: its number.
        share: its documents.
        source: where the objects are that contain them.
        encoder: name of the encoder.
        options: of `Index.create`.
        url: of the shard's snapshots.
        key: digest of everything that the shard's content depends on.
    """

    shard: int
    share: Share
    source: Target
    encoder: str
    options: Mapping[str, Any]
    url: str
    key: str


@dataclass(frozen=True, slots=True)
class BuiltShard:
    """A shard that is at the URL.

    Attributes:
        record: for the manifest.
        unknown: number of its documents that are outside the encoder's vocabulary.
        scripts: number of such documents by their main script.
        warnings: what building it now has warned of.
    """

    record: ShardRecord
    unknown: int
    scripts: Mapping[str, int]
    warnings: tuple[SerotineWarning, ...] = ()


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
    start_timeout: float = 600.0,
    storage_options: Mapping[str, Any] | None = None,
    show_progress: bool = False,
) -> BuildReport:
    """Build a sharded index from files on a Ray cluster, and write its snapshots and manifest to a URL.

    A document belongs to the shard that the hash of its id names. Files are read in tasks of some 32 MB, twice: to
    count and check their documents, and to write those of the shards that are to be built to the URL, compressed, until
    the build ends. Actors, which load the encoder once, build one shard after the other: an ordinary index, on a GPU
    where the cluster has any and the encoder runs on torch. Long texts are split into passages, as with
    ``long_texts="split"``. The manifest is written last: until then, an index that was at the URL before stays what it
    was.

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
        start_timeout: seconds to wait until the cluster has room for a task; after ten, a WaitingForClusterWarning says
            what it lacks.
        storage_options: for the file system of the URL, as fsspec takes them.
        show_progress: show a progress bar on standard error.

    Raises:
        InputFileError: a source has no documents, two documents have one id, or a file breaks off; nothing is built.
        RepositoryError: the URL cannot be written, or has an index that was changed after it was built.
        SerotineError: Ray is not installed, the cluster has no room in time, or a shard was lost too often.
        ValueError, TypeError: names the argument.
    """
    from serotine.encoders import Encoder

    if isinstance(shards, bool) or not isinstance(shards, int):
        raise wrong_type("shards", "an int of at least 1", shards)
    if not 0 < shards <= MAX_SHARDS:
        raise invalid("shards", f"between 1 and {MAX_SHARDS:,}", shards)
    if encoder is not None and not isinstance(encoder, str):
        raise wrong_type("encoder", "a name that every machine can load", encoder)
    if not start_timeout > 0:
        raise invalid("start_timeout", "above 0", start_timeout)
    check_filterable(filterable or {})
    if str(url).startswith("memory:"):
        # Every task would have a memory of its own.
        raise invalid("url", "a bucket, or a folder that every machine has", url)
    paths = [source] if isinstance(source, (str, Path)) else list(source)
    options = {"nbits": nbits, "keep_vectors": keep_vectors, "filterable": filterable}
    given = {name: value for name, value in options.items() if value is not None}
    _refuse_changed(url, storage_options)
    loaded = Encoder(encoder)
    listed = list_sources(paths)
    ray = connected_ray(address)
    if show_progress:
        # Without an address, it is whichever was found.
        sys.stderr.write(f"Ray cluster: {described_cluster(ray)}\n")
    with Pipelines(ray) as pipelines:
        resources = _resources(ray, loaded)
        wait_for_room(ray, url, resources, start_timeout)
        collection = read_collection(pipelines, listed, shards, show_progress=show_progress)
        orders = _orders(collection.shares, url, loaded, given, storage_options)
        done = {order.shard: built for order in orders if (built := _built(order)) is not None}
        shards_built = dict(done)
        if len(done) < shards:
            waiting = [order for order in orders if order.shard not in done]
            target = replace(orders[0].source, wanted=frozenset(order.shard for order in waiting))
            shares = write_documents(pipelines, collection, target, show_progress=show_progress)
            waiting = [replace(order, share=shares[order.shard]) for order in waiting]
            with progress_bar(
                sum(share.documents for share in shares),
                "Building shards",
                enabled=show_progress,
                completed=sum(shares[shard].documents for shard in done),
            ) as advance:
                for order, built in pipelines.map(ShardBuilder, waiting, resources=resources, lost=_lost):
                    shards_built[order.shard] = built
                    advance(order.share.documents)
    _issue_warnings({shard: built for shard, built in shards_built.items() if shard not in done})
    in_order = [shards_built[shard] for shard in range(shards)]
    write_manifest(url, ShardManifest(_settings(orders[0]), tuple(built.record for built in in_order)), storage_options)
    remove_documents(url, storage_options)
    return _report(in_order, collection, sorted(set(shards_built) - set(done)))


class ShardBuilder:
    """Builds shards, one after the other, with an encoder that is loaded once."""

    def __init__(self) -> None:
        self._encoder: Encoder | None = None

    def __call__(self, order: ShardOrder) -> BuiltShard:
        """Build a shard, write its snapshot, and note that it is done; resumes what an earlier attempt committed."""
        with collected_warnings() as warnings:
            if self._encoder is None:
                from serotine.encoders import Encoder

                self._encoder = Encoder(order.encoder)
            built = build_shard(order, self._encoder)
        return replace(built, warnings=tuple(warnings))


def build_shard(order: ShardOrder, encoder: Encoder) -> BuiltShard:
    """Build a shard with the encoder that it names; see `ShardBuilder`."""
    folder = shard_folder(order.url) / f"building-{order.key}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with Index.open_or_create(folder, encoder=encoder, **order.options) as index:
        index.add_batches(_batches(order), long_texts="split", expected_documents=max(order.share.documents, 1))
        index.compact()
        stats = index.stats()
        report = index.snapshot(order.url, storage_options=order.source.storage_options)
    if report.name is None:
        raise RepositoryError(f"{order.url}: not a snapshot repository; give a URL")
    record = ShardRecord(report.name, report.documents)
    built = BuiltShard(record, stats.unknown, dict(stats.unknown_scripts))
    note = {
        "snapshot": report.name,
        "documents": report.documents,
        "unknown": built.unknown,
        "scripts": built.scripts,
        "settings": read_settings(folder).values(),
    }
    _objects(order).write(_note(order), json.dumps(note).encode())
    shutil.rmtree(folder)
    return built


def _batches(order: ShardOrder) -> Iterator[dict[str, list[Any]]]:
    for documents in batched(read_documents(order.source, order.share.objects), _BATCH):
        yield {
            "ids": [document.id for document in documents],
            "texts": [document.text for document in documents],
            "metadata": [document.metadata for document in documents],
        }


def _orders(
    shares: Sequence[Share],
    url: str,
    encoder: Encoder,
    options: Mapping[str, Any],
    storage_options: Mapping[str, Any] | None,
) -> list[ShardOrder]:
    named = {**options, "filterable": {name: kind.__name__ for name, kind in options.get("filterable", {}).items()}}
    common = [HASH, len(shares), encoder.name, encoder.fingerprint, named]
    keys = [_digest([*common, share.documents, f"{share.digest:x}"]) for share in shares]
    source = Target(url, storage_options, _digest(keys), frozenset())
    return [
        ShardOrder(shard, share, source, encoder.name, options, repository_url(url, shard), key)
        for shard, (share, key) in enumerate(zip(shares, keys, strict=True))
    ]


def _digest(content: Sequence[Any]) -> str:
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=16).hexdigest()


def _resources(ray: Any, encoder: Encoder) -> dict[str, float]:
    """Return what an actor needs: a GPU where the cluster has any, unless the encoder runs on the CPU only."""
    on_gpu = ray.cluster_resources().get("GPU", 0) >= 1 and encoder.spec.model is None
    return {"num_cpus": 1, "num_gpus": 1} if on_gpu else {"num_cpus": 1}


def _issue_warnings(shards: Mapping[int, BuiltShard]) -> None:
    """Issue one warning per kind: the first shard's that has it, with the number of other shards that have it."""
    first_of_shards = [
        kind(f"shard {number}: {first}")
        for number, shard in sorted(shards.items())
        for kind, (first, *_) in by_kind(shard.warnings)
    ]
    for kind, (first, *others) in by_kind(first_of_shards):
        more = f" (and {len(others):,} more shards)" if len(others) > 1 else " (and one more shard)" if others else ""
        issue_warning(kind(f"{first}{more}"))


def _report(shards: Sequence[BuiltShard], collection: Collection, built: Sequence[int]) -> BuildReport:
    scripts: Counter[str] = Counter()
    for shard in shards:
        scripts.update(shard.scripts)
    return BuildReport(
        sum(shard.record.documents for shard in shards),
        len(shards),
        tuple(built),
        sum(shard.unknown for shard in shards),
        dict(scripts.most_common()),
        collection.ignored,
        collection.unread,
        collection.problems,
        collection.skipped_rows,
        collection.skipped,
    )


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


def _objects(order: ShardOrder) -> Objects:
    return objects_at(order.url, order.source.storage_options)


def _read_note(order: ShardOrder) -> dict[str, Any] | None:
    try:
        note: dict[str, Any] = json.loads(_objects(order).read(_note(order)))
    except (MissingObjectError, ValueError):
        return None
    return note


def _built(order: ShardOrder) -> BuiltShard | None:
    """Return a shard that an earlier build has finished, if its snapshot is still there."""
    note = _read_note(order)
    if note is None:
        return None
    names = [snapshot.name for snapshot in Index.snapshots(order.url, storage_options=order.source.storage_options)]
    if note["snapshot"] not in names:
        return None
    return BuiltShard(ShardRecord(note["snapshot"], note["documents"]), note["unknown"], note["scripts"])


def _settings(order: ShardOrder) -> Settings:
    note = _read_note(order)
    if note is None:
        raise RepositoryError(f"{order.url}: was built, but is not there; run the same command again")
    return Settings(**note["settings"])


def _lost(order: ShardOrder) -> tuple[str, str]:
    return f"shard {order.shard}", "give it more memory, or build more shards, and run the same again"
