"""The server's routes: responses equal the library's results, and every mistake has its status and message."""

from __future__ import annotations

import base64
import json
import shutil
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from helpers.fakes import WordEncoder
from helpers.serving_cases import DIM, TEXTS, application, create_index, create_vector_index, expect_error, vectors

from serotine import Index
from serotine.errors import EncoderError, IndexReplacedError, SerotineError
from serotine.index import CATALOG_FILE, replace_index

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.testclient import TestClient

QUERY = "what do bats eat"


@pytest.fixture(autouse=True)
def word_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the word encoder for every index and as the default."""
    monkeypatch.setattr("serotine.encoders.load_recorded", lambda _name, *_: WordEncoder(DIM))
    monkeypatch.setattr("serotine.encoders.Encoder", lambda: WordEncoder(DIM))


@pytest.fixture
def wiki(tmp_path: Path) -> Path:
    return create_index(tmp_path / "wiki.serotine")


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    return create_vector_index(tmp_path / "numbers.serotine")


@pytest.fixture
def client(tmp_path: Path, wiki: Path, numbers: Path) -> Iterator[TestClient]:
    with application(tmp_path / "state", wiki, numbers) as client:
        yield client


@pytest.fixture
def index(wiki: Path) -> Iterator[Index]:
    with Index.open(wiki, read_only=True, encoder=WordEncoder(DIM)) as index:
        yield index


def search(client: TestClient, name: str = "wiki", **body: Any) -> dict[str, Any]:
    response = client.post(f"/v1/indexes/{name}/search", json=body)
    assert response.status_code == 200, response.text
    result: dict[str, Any] = response.json()
    return result


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"k": 2},
        {"mode": "bm25"},
        {"mode": "hybrid", "fusion": "sum", "weights": [1, 2]},
        {"exact": True},
        {"recall": 0.9},
        {"where": {"lang": "en", "n": {">": 0}}},
        {"candidates": 5},
    ],
)
def test_search_equals_the_index(client: TestClient, index: Index, options: dict[str, Any]) -> None:
    result = search(client, query=QUERY, **options)
    hits = index.search(QUERY, **{**options, "weights": options.get("weights") and tuple(options["weights"])})
    assert [(hit["id"], hit["score"], hit["text"], hit["metadata"]) for hit in result["hits"]] == [
        (hit.id, hit.score, hit.text, hit.metadata) for hit in hits
    ]
    assert len(hits) > 0
    assert {**result["stats"], "milliseconds": None} == {**asdict(hits.stats), "milliseconds": None}
    assert result["stats"]["milliseconds"].keys() == hits.stats.milliseconds.keys()
    if hits.certificate is None:
        assert result["certificate"] is None
    else:
        bound = hits.certificate.bound
        assert result["certificate"] == {**asdict(hits.certificate), "bound": bound if np.isfinite(bound) else None}
    assert 0 <= result["milliseconds"]["search"] <= result["milliseconds"]["total"]


def test_explanations_of_hits_and_single_documents(client: TestClient, index: Index) -> None:
    explained = index.explain(QUERY, "d/3")
    expected = {**asdict(explained), "matches": [asdict(match) for match in explained.matches]}
    expected["spans"] = [list(span) for span in explained.spans()]
    single = client.post("/v1/indexes/wiki/explain", json={"query": QUERY, "id": "d/3"}).json()
    assert single == expected
    assert single["spans"]
    hits = search(client, query=QUERY, explain=True)["hits"]
    assert next(hit for hit in hits if hit["id"] == "d/3")["explanation"] == expected
    assert search(client, query=QUERY)["hits"][0]["explanation"] is None


def test_a_hit_whose_vectors_do_not_fit_its_text_has_no_explanation(client: TestClient, wiki: Path) -> None:
    with Index.open(wiki, encoder=WordEncoder(DIM)) as writer:
        (query,) = WordEncoder(DIM).encode_queries([QUERY])
        writer.add(["longer"], texts=["bats, with more vectors than tokens"], vectors=[np.concatenate([query, query])])
    hits = search(client, query=QUERY, explain=True)["hits"]
    assert hits[0]["id"] == "longer"
    assert hits[0]["explanation"] is None
    assert all(hit["explanation"] for hit in hits[1:])
    expect_error(client.post("/v1/indexes/wiki/explain", json={"query": QUERY, "id": "longer"}), 422, "encoder_error")


def test_vectors_as_rows_and_base64(client: TestClient, numbers: Path) -> None:
    (query,) = vectors(1, seed=7)
    half = query.astype("<f2")
    with Index.open(numbers, read_only=True) as index:
        from_float32, from_float16 = (
            [(hit.id, hit.score) for hit in index.search(array, 3)] for array in (query, half.astype(np.float32))
        )
    encodings = {
        "rows": (query.tolist(), from_float32),
        "float16": (base64.b64encode(half.tobytes()).decode(), from_float16),
        "float32": ("float32:" + base64.b64encode(query.tobytes()).decode(), from_float32),
    }
    for encoded, expected in encodings.values():
        hits = search(client, "numbers", vectors=encoded, k=3)["hits"]
        assert [(hit["id"], hit["score"]) for hit in hits] == expected


def test_batch_results_keep_their_order(client: TestClient, index: Index) -> None:
    (query,) = vectors(1)
    queries = [QUERY, {"query": "cats"}, {"vectors": query.tolist()}]
    results = client.post("/v1/indexes/wiki/search/batch", json={"queries": queries, "k": 2}).json()["results"]
    expected = index.search_batch([QUERY, "cats", query], 2)
    assert [[hit["id"] for hit in result["hits"]] for result in results] == [
        [hit.id for hit in hits] for hits in expected
    ]


def test_documents_are_added_replaced_and_deleted(client: TestClient, wiki: Path) -> None:
    url = "/v1/indexes/wiki/documents"
    new = {"id": "new/one", "text": "owls hunt mice", "metadata": {"lang": "de"}}
    response = client.post(url, json={"documents": [new]})
    assert (response.status_code, response.json()) == (201, {"added": 1, "warnings": []})
    with Index.open(wiki, read_only=True) as reader:
        assert "new/one" in reader, "acknowledged changes are committed"
    assert client.get(f"{url}/new/one").json() == {**new, "vectors": None, "dim": None}
    assert search(client, query="owls", k=1)["hits"][0]["id"] == "new/one"
    expect_error(client.post(url, json={"documents": [new]}), 409, "duplicate_id")
    changed = {**new, "text": "owls sleep"}
    assert client.post(url, json={"documents": [changed], "upsert": True}).json()["added"] == 1
    assert client.post(url, json={"documents": [new], "skip_known": True}).json()["added"] == 0
    fetched = client.post(f"{url}/fetch", json={"ids": ["d4", "new/one"]}).json()["documents"]
    assert [item["text"] for item in fetched] == [TEXTS["d4"], "owls sleep"]
    assert client.delete(f"{url}/new/one").json() == {"deleted": 1, "warnings": []}
    assert "new/one" in expect_error(client.get(f"{url}/new/one"), 404, "unknown_id")
    expect_error(client.post(f"{url}/delete", json={"ids": ["d1", "new/one"]}), 404, "unknown_id")
    assert client.get("/v1/indexes/wiki/ids?offset=1&limit=2").json() == {
        "ids": ["d2", "d/3"],
        "total": 4,
        "warnings": [],
    }
    assert client.post(f"{url}/delete", json={"ids": ["d1", "d2"]}).json() == {"deleted": 2, "warnings": []}
    assert client.post("/v1/indexes/wiki/compact").json()["deleted"] == 0
    assert client.post("/v1/indexes/wiki/verify").json()["documents"] == 2


def test_documents_are_listed_deleted_and_changed_by_their_metadata(client: TestClient, wiki: Path) -> None:
    url = "/v1/indexes/wiki"
    assert client.post(f"{url}/ids", json={"where": {"n": {">": 0}}, "limit": 2}).json() == {
        "ids": ["d2", "d/3"],
        "total": 3,
        "warnings": [],
    }
    missing = client.post(f"{url}/documents/fetch", json={"ids": ["no", "d1"], "missing": "none"}).json()["documents"]
    assert (missing[0], missing[1]["id"]) == (None, "d1")
    expect_error(client.post(f"{url}/documents/fetch", json={"ids": ["no"], "missing": "skip"}), 422, "bad_value")
    changes = [{"id": "d1", "metadata": {"lang": "de", "n": None}}, {"id": "d2", "metadata": {"meta": {"source": "x"}}}]
    assert client.post(f"{url}/documents/metadata", json={"documents": changes}).json() == {"updated": 2}
    assert client.get(f"{url}/documents/d1").json()["metadata"] == {"lang": "de"}
    assert [hit["id"] for hit in search(client, query="cats", where={"meta.source": "x"})["hits"]] == ["d2"]
    unknown = [{"id": "d1", "metadata": {"lang": "fr"}}, {"id": "no", "metadata": {}}]
    expect_error(client.post(f"{url}/documents/metadata", json={"documents": unknown}), 404, "unknown_id")
    assert client.get(f"{url}/documents/d1").json()["metadata"] == {"lang": "de"}
    replaced = {"documents": [{"id": "d1", "metadata": {"n": None}}], "replace": True}
    assert client.post(f"{url}/documents/metadata", json=replaced).json() == {"updated": 1}
    assert client.get(f"{url}/documents/d1").json()["metadata"] == {"n": None}
    assert client.post(f"{url}/documents/delete", json={"where": {"lang": "en"}}).json() == {
        "deleted": 3,
        "warnings": [],
    }
    with Index.open(wiki, read_only=True) as reader:
        assert list(reader) == ["d1"], "acknowledged changes are committed"


def test_documents_with_vectors(client: TestClient) -> None:
    (first, second) = vectors(2, seed=3)
    packed = base64.b64encode(second.astype("<f2").tobytes()).decode()
    documents = [{"id": "a", "vectors": first.tolist()}, {"id": "b", "vectors": packed}]
    assert client.post("/v1/indexes/numbers/documents", json={"documents": documents}).status_code == 201
    stored = client.get("/v1/indexes/numbers/documents/b?vectors=true").json()
    assert (stored["vectors"], stored["dim"], stored["text"]) == (packed, DIM, None)
    mixed = [{"id": "c", "vectors": first.tolist()}, {"id": "d"}]
    message = expect_error(client.post("/v1/indexes/numbers/documents", json={"documents": mixed}), 422, "bad_value")
    assert message == "documents[1]: has no 'vectors', as others have; send it for all documents or none"


def test_index_list_and_stats(client: TestClient, index: Index) -> None:
    listed = {summary["name"]: summary for summary in client.get("/v1/indexes").json()["indexes"]}
    assert sorted(listed) == ["numbers", "wiki"]
    assert listed["wiki"]["filterable"] == {"lang": "str"}
    assert (listed["wiki"]["encoder"], listed["numbers"]["encoder"]) == ("words", None)
    assert client.get("/v1/indexes/wiki").json() == asdict(index.stats())


def test_indexes_are_listed_as_the_server_was_given_them(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    create_vector_index(root / "b.serotine", 3)
    create_vector_index(root / "a.serotine", 3)
    given = [create_vector_index(tmp_path / f"{name}.serotine", 3) for name in ("z", "c", "d")]
    with application(tmp_path / "state", *given, root=root) as client:
        names = [item["name"] for item in client.get("/v1/indexes").json()["indexes"]]
    assert names == ["z", "c", "d", "a", "b"]


def test_indexes_are_created_under_the_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    create_vector_index(root / "there.serotine", 3)
    with application(tmp_path / "state", root=root) as client:
        body = {"name": "notes", "filterable": {"lang": "str"}, "nbits": 2}
        response = client.post("/v1/indexes", json=body)
        assert (response.status_code, response.json()["encoder"], response.json()["documents"]) == (201, "words", 0)
        assert client.post("/v1/indexes", json={"name": "plain", "dim": 3}).json()["dim"] == 3
        expect_error(client.post("/v1/indexes", json=body), 409, "index_exists")
        for name in ("", "../x", "a/b", ".hidden", "x.serotine"):
            expect_error(client.post("/v1/indexes", json={"name": name}), 422, "bad_value")
        create_vector_index(root / "later.serotine", 2)
        names = [item["name"] for item in client.get("/v1/indexes").json()["indexes"]]
        assert names == ["later", "notes", "plain", "there"]
        client.post("/v1/indexes/notes/documents", json={"documents": [{"id": "a", "text": "bats"}]})
        assert search(client, "notes", query="bats")["hits"][0]["id"] == "a"
    with Index.open(root / "notes.serotine", read_only=True) as index:
        assert (len(index), index.stats().nbits) == (1, 2)


def test_unreadable_indexes_under_the_root_do_not_affect_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    create_index(root / "there.serotine")
    with application(tmp_path / "state", root=root) as client:
        create_vector_index(root / "my notes.serotine", 2)
        create_vector_index(root / ".serotine", 2)
        (root / "damaged.serotine").mkdir()
        (root / "damaged.serotine" / CATALOG_FILE).write_bytes(b"no catalog at all" * 100)
        create_index(root / "strange.serotine", encoder=WordEncoder(DIM, "other"))

        def load(*_arguments: object) -> None:
            raise EncoderError("encoder 'other': is not installed")

        monkeypatch.setattr("serotine.encoders.load_recorded", load)
        for _ in range(2):
            listed = client.get("/v1/indexes").json()["indexes"]
            assert [item["name"] for item in listed] == ["my notes", "there"]
        assert client.get("/readyz").status_code == 200
        assert client.post("/pooling", json={"input": "bats"}).json()["model"] == "words"
        assert search(client, "my notes", vectors=vectors(1)[0].tolist(), k=1)["hits"]
        assert "damaged" in expect_error(client.get("/v1/indexes/damaged"), 500, "index_damaged")
        assert "not installed" in expect_error(client.get("/v1/indexes/strange"), 422, "encoder_error")
    messages = [record.getMessage() for record in caplog.records if "is not served" in record.getMessage()]
    assert [line.split()[0] for line in messages] == ["'damaged'", "'strange'"]


@pytest.mark.parametrize("by_path", [True, False])
def test_an_index_may_be_replaced_and_removed_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_path: bool
) -> None:
    monkeypatch.setattr("serotine.encoders.load_recorded", lambda name, *_: WordEncoder(DIM, name))
    path, other_path = create_index(tmp_path / "wiki.serotine"), create_vector_index(tmp_path / "other.serotine", 2)
    served = (path, other_path) if by_path else ()
    with application(tmp_path / "state", *served, root=None if by_path else tmp_path) as client:
        services = client.app.state.services  # type: ignore[attr-defined]
        old_index = services.index("wiki")
        with replace_index(path) as building:
            create_index(building, {"new": "owls hunt mice", **TEXTS}, WordEncoder(DIM, "other"))
        assert search(client, query="owls", k=1)["hits"][0]["id"] == "new"
        assert client.get("/v1/indexes/wiki").json()["documents"] == len(TEXTS) + 1
        # A request that found the old index runs again on the new one.
        with pytest.raises(IndexReplacedError, match="was replaced"):
            old_index.reader.search("bats", 9)
        found, current = [old_index], services.indexes.get
        with monkeypatch.context() as patched:
            patched.setattr(services.indexes, "get", lambda name: found.pop() if found else current(name))
            assert search(client, query="owls", k=1)["hits"][0]["id"] == "new"
        assert not found
        documents = [{"id": "d9", "text": "foxes dig"}]
        assert client.post("/v1/indexes/wiki/documents", json={"documents": documents}).status_code == 201
        assert search(client, query="foxes", k=1)["hits"][0]["id"] == "d9"
        services.indexes._retired._queue[0] = (0.0, old_index.reader.close)
        assert client.get("/v1/indexes/wiki").status_code == 200
        with pytest.raises(SerotineError, match="closed"):
            old_index.reader.ids()
        shutil.rmtree(path)
        assert [item["name"] for item in client.get("/v1/indexes").json()["indexes"]] == ["other"]
        assert client.get("/readyz").status_code == 200
        expect_error(client.post("/v1/indexes/wiki/search", json={"query": "bats"}), 404, "unknown_index")
        create_index(path, {"again": "bats"})
        assert search(client, query="bats")["hits"][0]["id"] == "again"


MISTAKES: list[tuple[str, dict[str, Any], int, str, str]] = [
    ("nope/search", {"query": "x"}, 404, "unknown_index", "'nope'"),
    ("wiki/search", {}, 422, "bad_value", "query, vectors: exactly one"),
    ("wiki/search", {"query": " "}, 422, "bad_value", "must not be empty"),
    ("wiki/search", {"query": "x", "vectors": [[1.0]]}, 422, "bad_value", "query, vectors: exactly one"),
    (
        "wiki/search",
        {"query": "x" * 65_537},
        422,
        "bad_value",
        "query: must have at most 65,536 characters",
    ),
    ("wiki/search", {"query": "x", "k": 0}, 422, "bad_value", "k: "),
    ("wiki/search", {"query": "x", "k": 1001}, 422, "bad_value", "at most 1,000"),
    ("wiki/search", {"query": "x", "k": 999, "offset": 2}, 422, "bad_value", "k + offset: must be at most 1,000"),
    ("wiki/search", {"query": "x", "offset": -1}, 422, "bad_value", "offset: "),
    ("wiki/search", {"query": "x", "mode": "bm25", "min_score": 0.5}, 422, "bad_value", "min_score: needs the mode "),
    ("wiki/search", {"query": "x", "group_by": "file"}, 422, "bad_value", "group_by: "),
    ("wiki/search", {"query": "x", "candidates": 10**9}, 422, "bad_value", "candidates: "),
    ("wiki/search", {"query": "x", "kk": 1}, 422, "bad_value", "unknown key 'kk'; valid keys: mode, exact,"),
    (
        "wiki/search/batch",
        {"queries": [{"query": "x", "kk": 1}]},
        422,
        "bad_value",
        "queries.0: unknown key 'kk'; valid keys: query, vectors",
    ),
    (
        "wiki/documents",
        {"documents": [{"id": "a", "txt": "x"}]},
        422,
        "bad_value",
        "documents.0: unknown key 'txt'; valid keys: id, text,",
    ),
    ("wiki/search", {"query": "x", "a[b": 1}, 422, "bad_value", "unknown key 'a[b'; valid keys: mode, exact,"),
    ("wiki/search", {"query": "x", "where": {}}, 422, "bad_value", "where: must not be empty"),
    ("wiki/search", {"query": "x", "where": {"lang": 3}}, 422, "bad_type", "must be str, as 'lang' is declared"),
    ("wiki/search", {"query": "x", "mode": "bm25", "exact": True}, 422, "bad_value", "exact: "),
    ("wiki/search", {"query": "x", "recall": 1.5}, 422, "bad_value", "recall: "),
    ("wiki/search", {"query": "x", "recall": 0.9, "exact": True}, 422, "bad_value", "recall: cannot be used with"),
    ("wiki/search", {"query": "x", "weights": [0, 0]}, 422, "bad_value", "weights: "),
    ("wiki/search", {"query": "\ud800"}, 422, "bad_value", "lone surrogate"),
    ("numbers/search", {"query": "x"}, 422, "encoder_error", "no encoder"),
    ("numbers/search", {"vectors": [[1.0, 2.0]]}, 422, "bad_value", f"must have {DIM} numbers, got 2"),
    ("numbers/search", {"vectors": [[1e300] * DIM]}, 422, "bad_value", "infinity"),
    ("numbers/search", {"vectors": [[7e4] * DIM]}, 422, "bad_value", "beyond float16"),
    ("numbers/search", {"vectors": "!!"}, 422, "bad_value", "not base64"),
    ("numbers/search", {"vectors": "AAAA"}, 422, "bad_value", "got 3 bytes"),
    ("numbers/search", {"vectors": [[0.0] * DIM] * 1025}, 422, "bad_value", "at most 1,024"),
    ("numbers/search", {"vectors": [[1.0] * DIM], "explain": True}, 422, "bad_value", "explain: "),
    ("numbers/search", {"vectors": [[1.0] * DIM], "mode": "bm25"}, 422, "bad_type", "must be a string"),
    ("wiki/search/batch", {"queries": []}, 422, "bad_value", "queries: "),
    ("wiki/search/batch", {"queries": ["x"] * 1001}, 422, "bad_value", "at most 1,000"),
    ("wiki/explain", {"query": "x", "id": "no"}, 404, "unknown_id", "'no'"),
    ("wiki/explain", {"query": "", "id": "d1"}, 422, "bad_value", "must not be empty"),
    ("numbers/explain", {"query": "x", "id": "v1"}, 422, "bad_value", "without a text"),
    ("wiki/documents", {"documents": []}, 422, "bad_value", "documents: "),
    ("wiki/documents", {"documents": [{"id": "x"}]}, 422, "bad_value", "texts, vectors"),
    ("wiki/documents", {"documents": [{"id": "", "text": "x"}]}, 422, "bad_value", "id: "),
    ("wiki/documents", {"documents": [{"id": "x", "text": "x"}] * 2}, 409, "duplicate_id", "duplicate id"),
    ("wiki/documents", {"documents": [{"id": "x", "text": "x", "metadata": {"lang": 1}}]}, 422, "bad_type", "lang"),
    ("wiki/documents/delete", {"ids": []}, 422, "bad_value", "ids: "),
    ("wiki/documents/delete", {}, 422, "bad_value", "ids, where: exactly one of the two is needed"),
    ("wiki/documents/delete", {"ids": ["d1"], "where": {"n": 1}}, 422, "bad_value", "exactly one of the two"),
    ("wiki/documents/delete", {"where": {}}, 422, "bad_value", "where: must not be empty"),
    ("wiki/documents/metadata", {"documents": []}, 422, "bad_value", "documents: "),
    ("wiki/documents/metadata", {"documents": [{"id": "d1", "metadata": {"lang": 3}}]}, 422, "bad_type", "'lang'"),
    ("wiki/ids", {"where": {"n": {}}}, 422, "bad_value", "where['n']: must not be empty"),
    ("numbers/documents", {"documents": [{"id": "x", "text": "x"}]}, 422, "bad_value", "no encoder"),
]


@pytest.mark.parametrize(("path", "body", "status", "code", "expected"), MISTAKES)
def test_mistakes_are_reported_in_one_line(
    client: TestClient, path: str, body: dict[str, Any], status: int, code: str, expected: str
) -> None:
    # json.dumps escapes a lone surrogate, as clients do.
    response = client.post(
        f"/v1/indexes/{path}", content=json.dumps(body), headers={"Content-Type": "application/json"}
    )
    assert expected in expect_error(response, status, code)


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b"\xff\xfe", b'{"query": NaN}', b"null", b'"x"'])
def test_bodies_other_than_json_objects_are_refused(client: TestClient, body: bytes) -> None:
    response = client.post("/v1/indexes/wiki/search", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in (400, 422), response.text
    assert response.json()["error"]["message"]


def test_a_form_is_not_json(client: TestClient) -> None:
    # A page of another site can send text/plain without a preflight, but not JSON.
    response = client.post(
        "/v1/indexes/wiki/search", content=b'{"query": "bats"}', headers={"Content-Type": "text/plain"}
    )
    assert response.status_code == 422
    message = expect_error(response, 422, "bad_value")
    assert message == (
        "Content-Type: must be application/json, got 'text/plain'; send the header Content-Type: application/json"
    )


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "application/x-www-form-urlencoded"}])
def test_a_body_without_its_type_names_the_header(client: TestClient, headers: dict[str, str]) -> None:
    response = client.post("/v1/indexes/wiki/search", content=b'{"query": "bats"}', headers=headers)
    assert "send the header Content-Type: application/json" in expect_error(response, 422, "bad_value")
    response = client.post("/v1/indexes/wiki/files", content=b"{}", headers={"Content-Type": "application/json"})
    message = expect_error(response, 422, "bad_value")
    assert message.startswith("Content-Type: must be multipart/form-data, got 'application/json'; send the files")
    # Of the right type, the body itself is at fault.
    response = client.post("/v1/indexes/wiki/search", json={"k": 1})
    assert "Content-Type" not in expect_error(response, 422, "bad_value")
    assert "Content-Type" not in expect_error(client.post("/v1/indexes/wiki/search"), 422, "bad_value")


def test_an_unknown_index_says_which_exist(client: TestClient) -> None:
    for response in (client.get("/v1/indexes/xyz"), client.post("/v1/indexes/xyz/search", json={"query": "bats"})):
        message = expect_error(response, 404, "unknown_index")
        assert message == "index: unknown 'xyz'; available: 'numbers', 'wiki'"


def test_other_paths_and_methods(client: TestClient) -> None:
    message = expect_error(client.get("/nowhere"), 404, "not_found")
    assert message == "path: unknown '/nowhere'; /docs lists all"
    message = expect_error(client.post("/v1/indexes/wiki/serch", json={}), 404, "not_found")
    assert (
        message == "path: unknown '/v1/indexes/wiki/serch'; did you mean '/v1/indexes/{name}/search'; /docs lists all"
    )
    message = expect_error(client.get("/v1/indexes/wiki/search"), 405, "method_not_allowed")
    assert message == "method: must be POST for '/v1/indexes/wiki/search', got GET"
    message = expect_error(client.put("/v1/indexes/wiki/documents/a/b"), 405, "method_not_allowed")
    assert message.startswith("method: must be ")
    assert "GET" in message
    expect_error(client.get("/v1/jobs/zz"), 404, "unknown_job")
    expect_error(client.post("/v1/rerank", json={"model": "x", "query": "q", "documents": ["d"]}), 404, "unknown_model")


def test_a_server_of_vector_indexes_loads_the_default_encoder_on_demand(tmp_path: Path, numbers: Path) -> None:
    with application(tmp_path / "state", numbers) as client:
        assert client.post("/pooling", json={"input": "bats"}).json()["model"] == "words"


def test_the_index_and_the_server_share_one_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []

    def load(_name: str, *_: object) -> WordEncoder:
        loaded.append(1)
        return WordEncoder(DIM)

    monkeypatch.setattr("serotine.encoders.load_recorded", load)
    first, second = create_index(tmp_path / "one.serotine"), create_index(tmp_path / "two.serotine")
    with application(tmp_path / "state", first, second) as client:
        assert search(client, "two", query="bats")["hits"]
    assert len(loaded) == 1
