"""The client: the methods of `Index`, carried out by a server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from serotine.client import parsing
from serotine.client.connection import Connection
from serotine.errors import ServerError, UnknownIdError
from serotine.index import Explanation, Fusion, Hit, Hits, IndexStats, Mode, VerifyReport
from serotine.progress import progress_bar
from serotine.texts import is_text, strings
from serotine.wire import pack, unpack

_IDS_AT_ONCE = 10_000


class Client:
    """An index of a `serotine serve`, with the methods of `Index`: the same arguments, results and errors.

    What a server adds to these, rights, load and being away, is a `ServerError`; what is beyond one of its limits is a
    ValueError, as any value that cannot be. Safe from any number of threads; connections are kept open, until `close`.

    Args:
        url: the server's, such as ``http://127.0.0.1:8000``.
        index: the index's name there; may be left out where the server has one only.
        token: a bearer token, where the server wants one.
        timeout: seconds for one request; a busy server is asked again until then. An `add` may take long: give it
            time, as the server goes on with it.

    Raises:
        ValueError: an argument that cannot be what it should be.
        ServerError: where `index` is left out: the server cannot be reached, or has not just one.
    """

    def __init__(self, url: str, index: str | None = None, *, token: str | None = None, timeout: float = 60.0) -> None:
        self._connection = Connection(url, token, timeout)
        try:
            self._index = self._only() if index is None else index
        except BaseException:
            self.close()
            raise
        self._path = f"/v1/indexes/{quote(self._index, safe='')}"
        self._dim: int | None = None

    def __repr__(self) -> str:
        return f"Client({self._connection.url!r}, {self._index!r})"

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return self.stats().documents

    def __contains__(self, id_: object) -> bool:
        if not (isinstance(id_, str) and is_text(id_)):
            return False
        try:
            self.get([id_])
        except UnknownIdError:
            return False
        return True

    def close(self) -> None:
        """Closes the connections. Closing twice is no error."""
        self._connection.close()

    def indexes(self) -> list[dict[str, Any]]:
        """What the server has: name, documents, tokens, bytes, dim, encoder, filterable, writable of each index."""
        listed: list[dict[str, Any]] = self._connection.request("GET", "/v1/indexes")["indexes"]
        return listed

    @property
    def dim(self) -> int:
        """Dimension of a token vector."""
        if self._dim is None:
            self._dim = self.stats().dim
        return self._dim

    def ids(self) -> list[str]:
        """As `Index.ids`; fetched in pieces, between which the index may change."""
        found: list[str] = []
        while True:
            answer = self._get(f"/ids?offset={len(found)}&limit={_IDS_AT_ONCE}")
            found += answer["ids"]
            if not answer["ids"] or len(found) >= answer["total"]:
                return found

    def add(
        self,
        ids: Sequence[str],
        texts: Sequence[str] | None = None,
        vectors: Sequence[NDArray[np.floating[Any]]] | None = None,
        metadata: Sequence[dict[str, Any]] | None = None,
        *,
        upsert: bool = False,
        show_progress: bool = False,
    ) -> None:
        """As `Index.add`: when it returns, the documents are committed. One call is one request.

        `show_progress` draws a bar without a length: the server tells when it has ended only.

        After a `ServerError` without a status, or with 504, the documents may have been added all the same.
        """
        with progress_bar(None, "Adding", enabled=show_progress):
            self._add(ids, texts, vectors, metadata, upsert=upsert)

    def add_batches(
        self,
        batches: Iterable[Mapping[str, Any]],
        *,
        upsert: bool = False,
        expected_documents: int | None = None,
        show_progress: bool = False,
    ) -> int:
        """As `Index.add_batches`; `expected_documents` only tells the bar its length."""
        added = 0
        with progress_bar(expected_documents, "Adding", enabled=show_progress) as advance:
            for batch in batches:
                if "ids" not in batch:
                    raise ValueError("batches: want dicts with 'ids'")
                added += self._add(**batch, upsert=upsert, skip_known=not upsert)
                advance(len(batch["ids"]))
        return added

    def delete(self, ids: Sequence[str]) -> None:
        """As `Index.delete`."""
        wanted = strings(ids, "ids")
        if wanted:
            self._post("/documents/delete", {"ids": wanted}, repeatable=False)

    def get(self, ids: Sequence[str]) -> list[Hit]:
        """As `Index.get`."""
        answer = self._post("/documents/fetch", {"ids": strings(ids, "ids")})
        return [parsing.document(each) for each in answer["documents"]]

    def vectors(self, id_: str) -> NDArray[np.float16]:
        """As `Index.vectors`."""
        (checked,) = strings([id_], "id")
        answer = self._get(f"/documents/{quote(checked, safe='')}?vectors=true")
        return unpack(answer["vectors"], answer["dim"], "vectors")

    def search(
        self,
        query: str | NDArray[np.floating[Any]],
        k: int = 10,
        *,
        where: Mapping[str, Any] | None = None,
        mode: Mode = "late",
        exact: bool = False,
        fusion: Fusion = "rrf",
        weights: tuple[float, float] = (1.0, 1.0),
        candidates: int | None = None,
    ) -> Hits:
        """As `Index.search`."""
        asked = {**self._query(query), **_options(k, where, mode, exact, fusion, weights, candidates)}
        return parsing.hits(self._post("/search", asked))

    def search_batch(
        self,
        queries: Sequence[str | NDArray[np.floating[Any]]],
        k: int = 10,
        *,
        where: Mapping[str, Any] | None = None,
        mode: Mode = "late",
        exact: bool = False,
        fusion: Fusion = "rrf",
        weights: tuple[float, float] = (1.0, 1.0),
        candidates: int | None = None,
    ) -> list[Hits]:
        """As `Index.search_batch`, in one request."""
        if isinstance(queries, (str, bytes)):
            raise TypeError("queries: want a list of questions or arrays, got one string; put it in a list")
        asked = [self._query(query) for query in queries]
        if not asked:
            return []
        body = {"queries": asked, **_options(k, where, mode, exact, fusion, weights, candidates)}
        return [parsing.hits(each) for each in self._post("/search/batch", body)["results"]]

    def explain(self, query: str, id_: str) -> Explanation:
        """As `Index.explain`."""
        return parsing.explanation(self._post("/explain", {"query": query, "id": id_}))

    def stats(self) -> IndexStats:
        """As `Index.stats`."""
        return parsing.stats(self._get(""))

    def verify(self) -> VerifyReport:
        """As `Index.verify`."""
        return parsing.report(self._post("/verify"))

    def compact(self, *, show_progress: bool = False) -> None:
        """As `Index.compact`; `show_progress` as in `add`."""
        with progress_bar(None, "Compacting", enabled=show_progress):
            self._post("/compact")

    def _add(
        self,
        ids: Sequence[str],
        texts: Sequence[str] | None = None,
        vectors: Sequence[NDArray[np.floating[Any]]] | None = None,
        metadata: Sequence[dict[str, Any]] | None = None,
        *,
        upsert: bool,
        skip_known: bool = False,
    ) -> int:
        documents: list[dict[str, Any]] = [{"id": id_} for id_ in strings(ids, "ids")]
        packed = None
        if vectors is not None:
            packed = [_packed(value, f"vectors[{i}]", self.dim) for i, value in enumerate(vectors)]
        columns: tuple[tuple[str, str, Sequence[Any] | None], ...] = (
            ("texts", "text", texts),
            ("metadata", "metadata", metadata),
            ("vectors", "vectors", packed),
        )
        for name, field, values in columns:
            if values is None:
                continue
            if len(values) != len(documents):
                raise ValueError(f"{name}: want one for each of the {len(documents):,} ids, got {len(values):,}")
            for document, value in zip(documents, values, strict=True):
                document[field] = value
        if not documents:
            return 0
        body = {"documents": documents, "upsert": upsert, "skip_known": skip_known}
        added: int = self._post("/documents", body, repeatable=False)["added"]
        return added

    def _query(self, query: object) -> dict[str, Any]:
        if isinstance(query, str):
            return {"query": query}
        if isinstance(query, np.ndarray):
            return {"vectors": _packed(query, "query", self.dim, whole=True)}
        raise TypeError(f"query: want a string or an array (tokens, dim), got {type(query).__name__}")

    def _only(self) -> str:
        names = [str(each["name"]) for each in self.indexes()]
        if len(names) != 1:
            raise ServerError(
                f"{self._connection.url}: has {len(names)} indexes ({', '.join(names) or 'none'}); "
                "name one with index=",
                code="unknown_index",
            )
        return names[0]

    def _get(self, path: str) -> Any:
        return self._connection.request("GET", self._path + path)

    def _post(self, path: str, body: Any = None, *, repeatable: bool = True) -> Any:
        return self._connection.request("POST", self._path + path, body, repeatable=repeatable)


def _packed(value: object, name: str, dim: int, *, whole: bool = False) -> str:
    """Vectors as they are sent: float16, as documents are stored, or `whole`, as a question's are scored.

    Their shape is not sent: of another dimension, they would be cut into other vectors at the other end.
    """
    array = np.asarray(value)
    if array.dtype.kind != "f":
        raise TypeError(f"{name}: want floats of shape (tokens, {dim}), got dtype {array.dtype}")
    if array.ndim != 2 or array.shape[1] != dim:
        raise ValueError(f"{name}: want shape (tokens, {dim}), got {array.shape}")
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    if not np.isfinite(half).all():
        raise ValueError(f"{name}: holds NaN, infinity or values beyond float16 (65,504)")
    return pack(array if whole else half)


def _options(
    k: object,
    where: Mapping[str, Any] | None,
    mode: str,
    exact: bool,
    fusion: str,
    weights: Sequence[float],
    candidates: int | None,
) -> dict[str, Any]:
    return {
        "k": int(k) if isinstance(k, np.integer) else k,
        "where": where,
        "mode": mode,
        "exact": exact,
        "fusion": fusion,
        "weights": list(weights),
        "candidates": candidates,
    }
