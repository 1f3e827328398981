"""An index written by an earlier commit (ddb70b8) opens, verifies and scores as it did then."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from serotine import Index

ARCHIVE = Path(__file__).parent / "data" / "format_2.tar.xz"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("format_2")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


def test_format_2_gives_the_same_scores(written: Path) -> None:
    with np.load(written / "queries.npz") as arrays:
        queries = [arrays[name] for name in arrays.files]
    expected = json.loads((written / "expected.json").read_text())
    with Index.open(written / "index", read_only=True) as index:
        stats = index.stats()
        # Versions that wrote this format counted the tokens of deleted documents too.
        stored = {"tokens": stats.tokens + stats.deleted_tokens, "coded_tokens": expected["stats"]["coded_tokens"]}
        assert {name: getattr(stats, name) for name in expected["stats"]} | stored == expected["stats"]
        assert stats.deleted_tokens > 0
        assert 0 < stats.coded_tokens < min(stats.tokens, expected["stats"]["coded_tokens"])
        assert stats.format_version == 2
        for search in expected["searches"]:
            query = search["query"] if isinstance(search["query"], str) else queries[search["query"]]
            options, recorded = search["options"], dict(search["hits"])
            hits = {hit.id: hit.score for hit in index.search(query, **options)}
            if options.get("exact") or options.get("mode") == "bm25":
                assert list(hits) == list(recorded), options
            # The effort of other searches has changed since, but no score; nor is a rank worse where recall counts.
            assert len(hits) == len(recorded)
            assert {id_: recorded[id_] for id_ in hits if id_ in recorded} == pytest.approx(
                {id_: hits[id_] for id_ in hits if id_ in recorded}, rel=1e-6
            )
            if "candidates" in options:
                continue
            assert all(now >= then - 1e-5 for now, then in zip(hits.values(), recorded.values(), strict=True)), options


def test_format_2_verifies_and_grows(written: Path) -> None:
    with Index.open(written / "index") as index:
        before = index.verify()
        index.add(ids=["new"], vectors=[np.ones((3, 8), dtype=np.float16)], texts=["a new document"])
        index.compact()
        assert before.deleted == deleted_documents(written)
        assert index.verify().documents == before.documents + 1
        assert index.search("new document", mode="bm25")[0].id == "new"


def deleted_documents(written: Path) -> int:
    deleted: int = json.loads((written / "expected.json").read_text())["stats"]["deleted"]
    return deleted
