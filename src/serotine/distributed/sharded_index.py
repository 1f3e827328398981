"""A sharded index: the searches and changes of `Index`, over shards that Ray serves."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any, Literal, Unpack, overload

import numpy as np
from numpy.typing import NDArray

from serotine.distributed.manifest import read_manifest, repository_url
from serotine.distributed.placement import owner
from serotine.distributed.ray_library import connected_ray, processors_each
from serotine.distributed.ray_shards import RayShards
from serotine.distributed.ray_writers import RayWriters
from serotine.distributed.reports import merged_reports, merged_stats
from serotine.distributed.snapshot_cache import ShardSource
from serotine.errors import ShardUnavailableError, check_flags, invalid, is_list, no_list, wrong_type
from serotine.index import (
    Explanation,
    Hit,
    Hits,
    IndexStats,
    LongTexts,
    Missing,
    OpenSearch,
    Query,
    SearchKeywords,
    SearchOptions,
    ShardedChanges,
    ShardedSearch,
    VerifyReport,
    check_missing,
    check_query_list,
    unknown_id,
)
from serotine.text_encoder import AnyEncoder, TextEncoder


class ShardedIndex:
    """A collection of documents in shards, searched and changed like one `Index`.

    Hits, scores and their order are those of one index to which the documents of the shards were added, one shard after
    the other, where searches are exact; others keep their recall in every shard. A shard that is down or late is left
    out: `Hits.partial` then names the shards that were searched, and a `PartialResultWarning` says so.

    Every document belongs to the shard that the hash of its id names, and one process per shard changes it. When a
    change returns, it is committed on the machines of its shards, and searches of this object see it; others see it
    when its snapshot is at the URL and they `refresh`. With ``snapshot=True`` the change returns when that snapshot is
    there, which the loss of a machine does not undo; `snapshot` writes those of earlier changes. Changes that no
    snapshot has survive the end of every process, and whoever opens the index next begins with them. A change is
    checked in all its shards before it is made in any: what is wrong with it leaves all of them as they were. A shard
    that fails later is named by the error, with those that have changed. One process at a time may change an index.

    Open one with `ShardedIndex.open`. All methods are thread-safe.
    """

    def __init__(self, shards: RayShards, writers: RayWriters, encoder: AnyEncoder | None = None) -> None:
        self._shards = shards
        self._writers = writers
        self._settings = settings = writers.manifest.settings
        self._search = ShardedSearch(shards, settings, encoder)
        self._changes = ShardedChanges(
            writers, settings, self._search.filter_checks, lambda id_: owner(id_, shards.count)
        )  # fmt: skip
        self._changing = threading.Lock()

    @classmethod
    def open(
        cls,
        url: str,
        *,
        address: str | None = None,
        replicas: int = 1,
        deadline: float = 10.0,
        cpus: float | None = None,
        start_timeout: float = 600.0,
        encoder: AnyEncoder | None = None,
        discard_changes: bool = False,
        storage_options: Mapping[str, Any] | None = None,
    ) -> ShardedIndex:
        """Start the shards of a sharded index on a Ray cluster, and open it.

        Every shard is restored from its snapshot to the local disk of its machine: below the folder that the
        environment variable SEROTINE_SHARDS names there, or the one for temporary files.

        Args:
            url: what `serotine.distributed.build` wrote: a URL that fsspec knows, or a folder that every machine has.
            address: of the cluster; by default the one that Ray is connected to or finds, else one on this machine.
            replicas: processes per shard, each of which can answer for it.
            deadline: seconds to wait for shards, in each of the two or three requests of a search.
            cpus: processors that Ray reserves for every process; by default 1, or 0 where the cluster has not so many
                free, and they share them. With more than it has, opening waits for them until `start_timeout`.
            start_timeout: seconds to wait until all shards are open, have opened a new snapshot, or can be changed.
                After ten, a WaitingForClusterWarning says what the cluster lacks.
            encoder: encodes queries; by default the one the index was built with.
            discard_changes: open the index also where a machine is lost that has changes which no snapshot has: without
                them.
            storage_options: for the file system of the URL, as fsspec takes them.

        Raises:
            SerotineError: Ray is not installed.
            RepositoryError: the URL cannot be read, or has no sharded index.
            ShardUnavailableError: a shard cannot be opened, or not in `start_timeout` seconds.
        """
        if isinstance(replicas, bool) or not isinstance(replicas, int):
            raise wrong_type("replicas", "an int of at least 1", replicas)
        if replicas < 1:
            raise invalid("replicas", "at least 1", replicas)
        if not deadline > 0:
            raise invalid("deadline", "above 0", deadline)
        if not start_timeout > 0:
            raise invalid("start_timeout", "above 0", start_timeout)
        if cpus is not None and not cpus >= 0:
            raise invalid("cpus", "at least 0", cpus)
        check_flags(discard_changes=discard_changes)
        manifest = read_manifest(url, storage_options)
        sources = [
            ShardSource(repository_url(url, shard), record.snapshot, storage_options)
            for shard, record in enumerate(manifest.shards)
        ]
        ray = connected_ray(address)
        if cpus is None:
            cpus = processors_each(ray, len(sources) * replicas)
        shards = RayShards(ray, url, sources, replicas=replicas, deadline=deadline, cpus=cpus)
        writers = RayWriters(ray, shards, url, manifest, storage_options, start_timeout)
        try:
            shards.wait_until_ready(start_timeout)
            writers.recover(discard=discard_changes)
            return cls(shards, writers, encoder)
        except BaseException:
            writers.close()
            shards.close()
            raise

    def close(self) -> None:
        """End the processes of the shards; changes that no snapshot has stay on their machines."""
        with self._changing:
            self._writers.close()
        self._shards.close()

    def __enter__(self) -> ShardedIndex:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"ShardedIndex({self._shards.place!r}, {self._shards.count:,} shards)"

    @property
    def shards(self) -> int:
        """Number of shards."""
        return self._shards.count

    @property
    def dim(self) -> int:
        """Dimension of a token vector."""
        return self._settings.dim

    @property
    def encoder(self) -> TextEncoder:
        """The encoder of its texts, loaded when first needed; raises EncoderError where it cannot be."""
        return self._search.encoder

    def search(self, query: Query, k: int = 10, **options: Unpack[SearchKeywords]) -> Hits:
        """Return the k best documents for a query; see `Index.search`.

        `candidates` and `recall` are of every shard.

        Raises:
            ShardUnavailableError: no shard answered.
            ValueError: mode "xtr" or `k_token`, whose scores depend on which tokens a whole index has.
        """
        return self._search.search([query], SearchOptions(k, **options), self)[0]

    def search_batch(self, queries: Sequence[Query], k: int = 10, **options: Unpack[SearchKeywords]) -> list[Hits]:
        """Return the hits of many queries, encoded together; options as for `search`."""
        check_query_list(queries)
        return self._search.search(list(queries), SearchOptions(k, **options), self)

    def add(
        self,
        ids: Sequence[str],
        texts: Sequence[str] | None = None,
        vectors: Sequence[NDArray[np.floating[Any]]] | None = None,
        metadata: Sequence[dict[str, Any]] | None = None,
        *,
        upsert: bool = False,
        long_texts: LongTexts = "warn",
        snapshot: bool = False,
    ) -> None:
        """Add documents, which their shards encode; see `Index.add` for all arguments but `snapshot`.

        With ``snapshot=True`` it returns when a snapshot of the changed shards is at the URL too.

        Raises:
            Every error of `Index.add`; nothing was added then.
            ShardUnavailableError, SerotineError: a shard failed, or another process has changed the index; names the
                shard, and those that have changed. The same call with ``upsert=True`` completes it.
        """
        with self._change(snapshot=snapshot):
            self._changes.add(ids, texts, vectors, metadata, upsert, long_texts)

    def add_batches(
        self,
        batches: Iterable[Mapping[str, Any]],
        *,
        upsert: bool = False,
        long_texts: LongTexts = "warn",
        snapshot: bool = False,
    ) -> int:
        """Add a stream of documents, without those that are in the index; see `Index.add_batches`.

        `snapshot` is written once, at the end.
        """
        check_flags(upsert=upsert)
        if not is_list(batches):
            raise no_list("batches", "dicts", batches)
        with self._change(snapshot=snapshot):
            return self._changes.add_batches(batches, upsert, long_texts)

    def delete(
        self, ids: Sequence[str] | None = None, *, where: Mapping[str, Any] | None = None, snapshot: bool = False
    ) -> int:
        """Delete documents, by id or by a filter; return how many. See `Index.delete`, and `add` for `snapshot`."""
        with self._change(snapshot=snapshot):
            return self._changes.delete(ids, where)

    def update_metadata(
        self, ids: Sequence[str], metadata: Sequence[dict[str, Any]], *, replace: bool = False, snapshot: bool = False
    ) -> None:
        """Change the metadata of documents; see `Index.update_metadata`, and `add` for `snapshot`."""
        with self._change(snapshot=snapshot):
            self._changes.update_metadata(ids, metadata, replace)

    def compact(self, *, snapshot: bool = False) -> None:
        """Rewrite all shards without deleted documents; see `Index.compact`, and `add` for `snapshot`."""
        with self._change(snapshot=snapshot):
            self._changes.compact()

    def snapshot(self) -> None:
        """Write snapshots of all changes that none has to the URL; then replicas answer for them.

        Raises:
            SerotineError: a snapshot cannot be written; names the shard, whose changes stay on its machine.
        """
        with self._changing:
            self._writers.publish()

    def refresh(self) -> int:
        """Let searches see the snapshots that are at the URL now; return the number of shards that are replaced.

        The replicas of a shard open its snapshot one after the other, while they answer for the former. Then all
        searches that begin see the new snapshots, of all shards at once, and those under way end with the former ones.

        Raises:
            ShardUnavailableError: a snapshot cannot be opened; searches see the former ones.
            SerotineError: the index has other settings or another number of shards now, or changes here are not in it.
        """
        with self._changing:
            return self._writers.refresh()

    @contextmanager
    def _change(self, *, snapshot: bool) -> Iterator[None]:
        check_flags(snapshot=snapshot)
        with self._changing:
            yield
            if snapshot:
                self._writers.publish()

    def _open_search(self) -> AbstractContextManager[OpenSearch]:
        """Return the shards as one search reads them; see `search_several`."""
        return self._search.open_search(self)

    def explain(self, query: str, id_: str) -> Explanation:
        """Return the document token that each query token matches best; see `Index.explain`.

        How rare a word is, is counted in the document's shard.

        Raises:
            UnknownIdError: `id_` is not in the index.
            ShardUnavailableError: its shard is down.
        """
        if not isinstance(id_, str):
            raise wrong_type("id", "a string", id_)
        shard = owner(id_, self._shards.count)
        explanation: Explanation = self._required("explain", {shard: (query, id_)})[shard]
        return explanation

    def __len__(self) -> int:
        return sum(self._of_all("documents").values())

    def __contains__(self, id_: object) -> bool:
        return isinstance(id_, str) and self.get(id_, missing="none") is not None

    def __getitem__(self, id_: str) -> Hit:
        """Return a document by id; see `get`."""
        if not isinstance(id_, str):
            raise wrong_type("id", "a string", id_)
        return self.get(id_)

    @overload
    def get(self, ids: str, *, missing: Literal["error"] = "error") -> Hit: ...  # type: ignore[overload-overlap]
    @overload
    def get(self, ids: str, *, missing: Missing) -> Hit | None: ...  # type: ignore[overload-overlap]
    @overload
    def get(self, ids: Sequence[str], *, missing: Literal["error"] = "error") -> list[Hit]: ...
    @overload
    def get(self, ids: Sequence[str], *, missing: Missing) -> list[Hit | None]: ...
    def get(self, ids: str | Sequence[str], *, missing: Missing = "error") -> Hit | list[Hit] | list[Hit | None] | None:
        """Return documents by id; see `Index.get`.

        Raises:
            UnknownIdError: an id is not in the index.
            ShardUnavailableError: the shard of an id is down.
        """
        check_missing(missing)
        wanted = [ids] if isinstance(ids, str) else list(ids)
        owned: dict[int, list[str]] = {}
        for id_ in wanted:
            if not isinstance(id_, str):
                raise wrong_type("ids", "strings", id_)
            owned.setdefault(owner(id_, self._shards.count), []).append(id_)
        answers = self._required("get", {shard: (of_shard,) for shard, of_shard in owned.items()})
        hits = {
            id_: hit for shard, of_shard in owned.items() for id_, hit in zip(of_shard, answers[shard], strict=True)
        }
        if missing == "error":
            for id_ in wanted:
                if hits[id_] is None:
                    raise unknown_id(id_)
        found = [hits[id_] for id_ in wanted]
        return found[0] if isinstance(ids, str) else found

    def count(self, *, where: Mapping[str, Any] | None = None) -> int:
        """Return the number of documents that pass a filter, as for `search`."""
        self._search.filter_checks.validate(where)
        self._search.filter_checks.warn(where)
        return sum(self._of_all("count", where).values())

    def ids(self, *, where: Mapping[str, Any] | None = None) -> list[str]:
        """Return the ids of all documents, or of those that pass a filter: shard by shard, in the order of addition."""
        self._search.filter_checks.validate(where)
        self._search.filter_checks.warn(where)
        return [id_ for _, of_shard in sorted(self._of_all("ids", where).items()) for id_ in of_shard]

    def vectors(self, id_: str) -> NDArray[np.float16]:
        """Return the token vectors of a document; see `Index.vectors`."""
        if not isinstance(id_, str):
            raise wrong_type("id", "a string", id_)
        shard = owner(id_, self._shards.count)
        vectors: NDArray[np.float16] = self._required("vectors", {shard: (id_,)})[shard]
        return vectors

    def stats(self) -> IndexStats:
        """Return counts and sizes, summed over the shards; the calibration is None, because each shard has its own."""
        return merged_stats(self._of_all("stats"))

    def verify(self) -> VerifyReport:
        """Check everything that the shards store on their machines; see `Index.verify`.

        Raises:
            IndexDamagedError: what is damaged in one of the shards that are.
            ShardUnavailableError: a shard is down, or takes longer than the deadline.
        """
        return merged_reports(self._of_all("verify"))

    def _of_all(self, method: str, *arguments: Any) -> dict[int, Any]:
        return self._required(method, dict.fromkeys(range(self._shards.count), arguments))

    def _required(self, method: str, arguments: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]:
        """Return the answers of shards that must all answer."""
        replies = self._shards.call(method, arguments)
        if replies.missing:
            shard, reason = min(replies.missing.items())
            raise ShardUnavailableError(
                f"{self._shards.place}: shard {shard} of {self._shards.count:,} did not answer ({reason}); "
                f"{replies.advice}"
            )
        return replies.answers
