"""A sharded index: the searches of `Index`, over shards that Ray serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Unpack, overload

from serotine.distributed.manifest import read_manifest, repository_url
from serotine.distributed.placement import owner
from serotine.distributed.ray_library import connected_ray
from serotine.distributed.ray_shards import RayShards
from serotine.distributed.reports import merged_reports, merged_stats
from serotine.distributed.shard_server import ShardSource
from serotine.errors import ShardUnavailableError, invalid, wrong_type
from serotine.index import (
    Explanation,
    Hit,
    Hits,
    IndexStats,
    Missing,
    Query,
    SearchKeywords,
    SearchOptions,
    Settings,
    ShardedSearch,
    Shards,
    VerifyReport,
    check_missing,
    check_query_list,
    unknown_id,
)
from serotine.text_encoder import AnyEncoder, TextEncoder


class ShardedIndex:
    """A collection of documents in shards, searched like one `Index`; read-only.

    Hits, scores and their order are those of one index to which the documents of the shards were added, one shard after
    the other, where searches are exact; others keep their recall in every shard. A shard that is down or late is left
    out: `Hits.partial` then names the shards that were searched, and a `PartialResultWarning` says so.

    Open one with `ShardedIndex.open`. Searches are thread-safe.
    """

    def __init__(self, shards: Shards, settings: Settings, encoder: AnyEncoder | None = None) -> None:
        self._shards = shards
        self._settings = settings
        self._search = ShardedSearch(shards, settings, encoder)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        address: str | None = None,
        replicas: int = 1,
        deadline: float = 10.0,
        cpus: float = 1.0,
        start_timeout: float = 600.0,
        encoder: AnyEncoder | None = None,
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
            cpus: processors that Ray reserves for every process.
            start_timeout: seconds to wait until all shards are open.
            encoder: encodes queries; by default the one the index was built with.
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
        manifest = read_manifest(url, storage_options)
        sources = [
            ShardSource(repository_url(url, shard), record.snapshot, storage_options)
            for shard, record in enumerate(manifest.shards)
        ]
        shards = RayShards(connected_ray(address), url, sources, replicas=replicas, deadline=deadline, cpus=cpus)
        try:
            shards.wait_until_ready(start_timeout)
            return cls(shards, manifest.settings, encoder)
        except BaseException:
            shards.close()
            raise

    def close(self) -> None:
        """End the processes of the shards."""
        if isinstance(self._shards, RayShards):
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
        """
        return self._search.search([query], SearchOptions(k, **options), self)[0]

    def search_batch(self, queries: Sequence[Query], k: int = 10, **options: Unpack[SearchKeywords]) -> list[Hits]:
        """Return the hits of many queries, encoded together; options as for `search`."""
        check_query_list(queries)
        return self._search.search(list(queries), SearchOptions(k, **options), self)

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
                "try again in some seconds"
            )
        return replies.answers
