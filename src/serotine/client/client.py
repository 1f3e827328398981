"""The client: the methods of `Index`, run by a server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Unpack, overload
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from serotine.client import parsing
from serotine.client.connection import Connection
from serotine.errors import ServerError, check_flags, is_list, no_list, shown, wrong_type
from serotine.index import (
    Explanation,
    Hit,
    Hits,
    IndexStats,
    LongTexts,
    Missing,
    SearchKeywords,
    SearchOptions,
    TuneReport,
    VerifyReport,
    check_long_texts,
    check_missing,
    check_query_list,
    check_tuning_queries,
    compile_where,
    document_ids,
    json_metadata,
    query_vectors,
    stored_vectors,
    validate_batch,
    validate_counts,
    validate_deletion,
    validate_query,
)
from serotine.issued_warnings import issue_query_warnings, issue_warning
from serotine.json_values import filter_values, json_scalar
from serotine.nesting import MAX_DEPTH
from serotine.progress import progress_bar
from serotine.texts import is_text, strings
from serotine.wire import ANSWER_TOO_LARGE, pack, unpack

_IDS_PER_REQUEST = 10_000
_DOCUMENTS_PER_REQUEST = 256


class Client:
    """An index of `serotine serve`, with the methods of `Index`: the same arguments, results and errors.

    Errors of the server itself (rights, load, connection) are `ServerError`; a value beyond one of its limits is a
    ValueError. Safe for any number of threads; connections stay open until `close`.

    Args:
        url: the server's address, such as ``http://127.0.0.1:8000``.
        index: the index's name; may be omitted where the server has only one.
        token: a bearer token, where the server requires one.
        timeout: seconds for one request, retries of a busy server included. Allow enough for `add`: after a timeout
            the server still finishes it.

    Raises:
        ValueError: an invalid argument.
        ServerError: `index` is omitted, and the server cannot be reached or does not have exactly one.

    Examples:
        >>> with Client("http://127.0.0.1:8000", "bats") as client:  # connects at the first request
        ...     client
        Client('http://127.0.0.1:8000', 'bats')
    """

    def __init__(self, url: str, index: str | None = None, *, token: str | None = None, timeout: float = 60.0) -> None:
        self._connection = Connection(url, token, timeout)
        try:
            self._index = self._only_index() if index is None else index
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
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return self.stats().documents

    def __iter__(self) -> Iterator[str]:
        """Iterate over all ids, fetched first; see `ids`."""
        return iter(self.ids())

    def __getitem__(self, id_: str) -> Hit:
        """Return a document by id; see `Index.get`."""
        if not isinstance(id_, str):
            raise wrong_type("id", "a string", id_)
        return self.get(id_)

    def __contains__(self, id_: object) -> bool:
        if not (isinstance(id_, str) and is_text(id_)):
            return False
        try:
            return self.get(id_, missing="none") is not None
        except ServerError as error:
            if error.code != ANSWER_TOO_LARGE:
                raise
            return True

    def close(self) -> None:
        """Close the connections; closing twice is allowed."""
        self._connection.close()

    def indexes(self) -> list[dict[str, Any]]:
        """Return the server's indexes: name, documents, tokens, bytes, dim, encoder, filterable, writable of each."""
        indexes: list[dict[str, Any]] = self._connection.request("GET", "/v1/indexes")["indexes"]
        return indexes

    @property
    def dim(self) -> int:
        """Dimension of a token vector."""
        if self._dim is None:
            self._dim = self.stats().dim
        return self._dim

    def ids(self, *, where: Mapping[str, Any] | None = None) -> list[str]:
        """Return ids; see `Index.ids`. Fetched in pages, between which the index may change."""
        ids: list[str] = []
        limit = _IDS_PER_REQUEST
        while True:
            try:
                page = self._post("/ids", {"where": _filter(where), "offset": len(ids), "limit": limit})
            except ServerError as error:
                limit = _fewer(limit, error)
                continue
            if not ids:
                _reissue(page)
            ids += page["ids"]
            if not page["ids"] or len(ids) >= page["total"]:
                return ids

    def add(
        self,
        ids: Sequence[str],
        texts: Sequence[str] | None = None,
        vectors: Sequence[NDArray[np.floating[Any]]] | None = None,
        metadata: Sequence[dict[str, Any]] | None = None,
        *,
        upsert: bool = False,
        long_texts: LongTexts = "warn",
        show_progress: bool = False,
    ) -> None:
        """Add documents in one request; see `Index.add`. When it returns, they are committed.

        `show_progress` shows a bar without a total: the server reports only the end.

        After a `ServerError` without a status, or with 504, the documents may still have been added.
        """
        check_flags(upsert=upsert, show_progress=show_progress)
        with progress_bar(None, "Adding", enabled=show_progress):
            self._add(ids, texts, vectors, metadata, upsert=upsert, long_texts=long_texts)

    def add_batches(
        self,
        batches: Iterable[Mapping[str, Any]],
        *,
        upsert: bool = False,
        expected_documents: int | None = None,
        long_texts: LongTexts = "warn",
        show_progress: bool = False,
    ) -> int:
        """Add a stream of documents; see `Index.add_batches`. `expected_documents` only sets the bar's total.

        Warnings come with every batch.
        """
        check_flags(upsert=upsert, show_progress=show_progress)
        if not is_list(batches):
            raise no_list("batches", "dicts", batches)
        added = 0
        with progress_bar(expected_documents, "Adding", enabled=show_progress) as advance:
            for batch in batches:
                columns = validate_batch(batch)
                added += self._add(**columns, upsert=upsert, long_texts=long_texts, skip_known=not upsert)
                advance(len(columns["ids"]))
        return added

    def delete(self, ids: Sequence[str] | None = None, *, where: Mapping[str, Any] | None = None) -> int:
        """Delete documents; see `Index.delete`."""
        validate_deletion(ids, where)
        checked = None if ids is None else strings(ids, "ids")
        if checked == []:
            return 0
        body = {"ids": checked, "where": _filter(where)}
        answer = self._post("/documents/delete", body, repeatable=False)
        _reissue(answer)
        deleted: int = answer["deleted"]
        return deleted

    def update_metadata(self, ids: Sequence[str], metadata: Sequence[dict[str, Any]], *, replace: bool = False) -> None:
        """Change the metadata of documents; see `Index.update_metadata`."""
        check_flags(replace=replace)
        documents = _documents(ids, metadata=json_metadata(metadata))
        if documents:
            self._post("/documents/metadata", {"documents": documents, "replace": replace})

    @overload
    def get(self, ids: str, *, missing: Literal["error"] = "error") -> Hit: ...  # type: ignore[overload-overlap]
    @overload
    def get(self, ids: str, *, missing: Missing) -> Hit | None: ...  # type: ignore[overload-overlap]
    @overload
    def get(self, ids: Sequence[str], *, missing: Literal["error"] = "error") -> list[Hit]: ...
    @overload
    def get(self, ids: Sequence[str], *, missing: Missing) -> list[Hit | None]: ...
    def get(self, ids: str | Sequence[str], *, missing: Missing = "error") -> Hit | list[Hit] | list[Hit | None] | None:
        """Return documents by id; see `Index.get`."""
        check_missing(missing)
        requested = strings([ids] if isinstance(ids, str) else ids, "ids")
        body = self._post("/documents/fetch", {"ids": requested, "missing": missing})
        hits = [None if document is None else parsing.document(document) for document in body["documents"]]
        return hits[0] if isinstance(ids, str) else hits

    def documents(self, *, where: Mapping[str, Any] | None = None) -> Iterator[Hit]:
        """Iterate over documents; see `Index.documents`.

        The ids are fetched first and the documents in pages: one that is deleted before its page is left out.
        """
        ids = self.ids(where=where)
        start, limit = 0, _DOCUMENTS_PER_REQUEST
        while start < len(ids):
            try:
                page = self.get(ids[start : start + limit], missing="none")
            except ServerError as error:
                limit = _fewer(limit, error)
                continue
            yield from (document for document in page if document is not None)
            start += limit

    def count(self, *, where: Mapping[str, Any] | None = None) -> int:
        """Return the number of documents that pass a filter; see `Index.count`."""
        answer = self._post("/ids", {"where": _filter(where), "limit": 1})
        _reissue(answer)
        total: int = answer["total"]
        return total

    def vectors(self, id_: str) -> NDArray[np.float16]:
        """Return a document's stored vectors; see `Index.vectors`."""
        checked = _id(id_)
        body = self._get(f"/documents/{quote(checked, safe='')}?vectors=true")
        return unpack(body["vectors"], body["dim"], "vectors")

    def search(
        self,
        query: str | NDArray[np.floating[Any]],
        k: int = 10,
        **options: Unpack[SearchKeywords],
    ) -> Hits:
        """Return the k best documents for a query; see `Index.search`."""
        body = {**self._query(query), **_option_fields(k, options)}
        (hits,) = self._answers([self._post("/search", body)], [query])
        return hits

    def search_batch(
        self,
        queries: Sequence[str | NDArray[np.floating[Any]]],
        k: int = 10,
        **options: Unpack[SearchKeywords],
    ) -> list[Hits]:
        """Search many queries in one request; see `Index.search_batch`."""
        check_query_list(queries)
        body = {"queries": [self._query(query) for query in queries], **_option_fields(k, options)}
        if not body["queries"]:
            return []
        return self._answers(self._post("/search/batch", body)["results"], queries)

    def tune(
        self, queries: Sequence[str | NDArray[np.floating[Any]]] | None = None, *, show_progress: bool = False
    ) -> TuneReport:
        """Measure which effort keeps which recall; see `Index.tune`. `show_progress` as in `add`."""
        body = None
        if queries is not None:
            check_tuning_queries(queries)
            body = [self._query(query) for query in queries]
        check_flags(show_progress=show_progress)
        with progress_bar(None, "Measuring recall", enabled=show_progress):
            return parsing.tuned(self._post("/tune", {"queries": body}))

    def explain(self, query: str, id_: str) -> Explanation:
        """Align a query with a document; see `Index.explain`."""
        return parsing.explanation(self._post("/explain", {"query": validate_query(query), "id": _id(id_)}))

    def stats(self) -> IndexStats:
        """Return counts and sizes; see `Index.stats`."""
        return parsing.stats(self._get(""))

    def verify(self) -> VerifyReport:
        """Verify everything the index stores; see `Index.verify`."""
        return parsing.report(self._post("/verify"))

    def compact(self, *, show_progress: bool = False) -> None:
        """Rewrite the index without deleted documents; see `Index.compact`. `show_progress` as in `add`."""
        check_flags(show_progress=show_progress)
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
        long_texts: LongTexts,
        skip_known: bool = False,
    ) -> int:
        check_long_texts(long_texts)
        packed = None
        if vectors is not None:
            validate_counts({"vectors": vectors}, len(document_ids(ids)))
            packed = [pack(stored_vectors(value, f"vectors[{i}]", self.dim)) for i, value in enumerate(vectors)]
        documents = _documents(ids, texts=texts, metadata=metadata, vectors=packed)
        if not documents:
            return 0
        body = {"documents": documents, "upsert": upsert, "skip_known": skip_known, "long_texts": long_texts}
        answer = self._post("/documents", body, repeatable=False)
        _reissue(answer)
        added: int = answer["added"]
        return added

    def _answers(
        self, results: Sequence[dict[str, Any]], queries: Sequence[str | NDArray[np.floating[Any]]]
    ) -> list[Hits]:
        """Return the hits of every query, and issue their warnings."""
        parsed = [parsing.hits(result) for result in results]
        issue_query_warnings(hits.warnings for hits in parsed)
        texts = [query if isinstance(query, str) else None for query in queries]
        return [hits.answering(text, hits.warnings, self) for hits, text in zip(parsed, texts, strict=True)]

    def _query(self, query: object) -> dict[str, Any]:
        if isinstance(query, str):
            return {"query": validate_query(query)}
        return {"vectors": pack(query_vectors(query, self.dim))}

    def _only_index(self) -> str:
        names = [str(index["name"]) for index in self.indexes()]
        if len(names) != 1:
            raise ServerError(
                f"{self._connection.url}: has {len(names)} indexes ({', '.join(names) or 'none'}); "
                "choose one with index=",
                code="unknown_index",
            )
        return names[0]

    def _get(self, path: str) -> Any:
        return self._connection.request("GET", self._path + path)

    def _post(self, path: str, body: Any = None, *, repeatable: bool = True) -> Any:
        return self._connection.request("POST", self._path + path, body, repeatable=repeatable)


def _reissue(answer: Mapping[str, Any]) -> None:
    """Issue the warnings of an answer as Python warnings."""
    for warning in parsing.warnings(answer):
        issue_warning(warning)


def _fewer(limit: int, error: ServerError) -> int:
    """Return how many to ask for where an answer was too large; raise any other error."""
    if error.code != ANSWER_TOO_LARGE or limit == 1:
        raise error
    return limit // 2


def _documents(ids: Sequence[str], **columns: Sequence[Any] | None) -> list[dict[str, Any]]:
    """Return documents as a request has them, from one column per field; None for no column."""
    documents: list[dict[str, Any]] = [{"id": id_} for id_ in document_ids(ids)]
    validate_counts(columns, len(documents))
    for name, values in columns.items():
        if values is None:
            continue
        if name == "texts":
            values = strings(values, "texts")
        elif name == "metadata":
            values = json_metadata(values)
        field = "text" if name == "texts" else name
        for document, value in zip(documents, values, strict=True):
            document[field] = value
    return documents


def _id(value: object) -> str:
    if not isinstance(value, str):
        raise wrong_type("id", "a string", value)
    return strings([value], "id")[0]


def _filter(where: Mapping[str, Any] | None) -> Any:
    """Return a filter as JSON represents it; the server checks the values of declared fields."""
    if where is None:
        return None
    compile_where(where, {})
    return _plain_filter(where, "where")


def _plain_filter(value: Any, place: str, depth: int = 0) -> Any:
    if depth > MAX_DEPTH:
        raise ValueError(f"where: must be nested at most {MAX_DEPTH} deep; flatten it")
    if isinstance(value, Mapping):
        return {key: _plain_filter(item, f"{place}[{shown(key)}]", depth + 1) for key, item in value.items()}
    values = filter_values(value)
    if values is not None:
        return [_plain_filter(item, f"{place}[{i}]", depth + 1) for i, item in enumerate(values)]
    return json_scalar(value, place)


def _option_fields(k: int, options: SearchKeywords) -> dict[str, Any]:
    """Return validated search options as fields of a request."""
    validated = SearchOptions(k, **options)
    return {"k": validated.k, **validated.keywords(), "where": _filter(validated.where)}
