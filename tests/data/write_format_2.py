"""Write the index behind `format_2.tar.xz` with the package that is imported: python write_format_2.py OUT.

Vectors of 8 dimensions around 64 directions keep it small: 4-bit codes without kept vectors, texts, filterable
metadata, deletions, a replaced document and a head of float16 vectors.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from serotine import Index

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIM = 8
RNG = np.random.default_rng(17)
DIRECTIONS = RNG.standard_normal((64, DIM))
WORDS = (
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "heron",
    "inlet",
    "juniper",
    "kelp",
    "larch",
    "marsh",
    "north",
    "otter",
    "pine",
)
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"k": 3},
    {"exact": True},
    {"where": {"lang": "fr"}},
    {"where": {"year": {">=": 2010}}, "k": 20},
    {"candidates": 30},
    {"where": {"note": "n3"}},
)


def vectors(tokens: int) -> NDArray[np.float16]:
    rows = DIRECTIONS[RNG.integers(0, 64, tokens)] + 0.3 * RNG.standard_normal((tokens, DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def batch(first: int, count: int, mean_tokens: int) -> dict[str, Any]:
    return {
        "ids": [f"d{i}" for i in range(first, first + count)],
        "vectors": [vectors(int(RNG.integers(mean_tokens // 2, mean_tokens * 3 // 2))) for _ in range(count)],
        "texts": [" ".join(RNG.choice(WORDS, 6)) for _ in range(count)],
        "metadata": [
            {"lang": ["en", "fr", "ja"][i % 3], "year": 1990 + i % 30, "note": f"n{i % 7}"} for i in range(count)
        ],
    }


def write(out: Path) -> None:
    filterable: dict[str, type] = {"lang": str, "year": int}
    with Index.create(
        out / "index", dim=DIM, nbits=4, keep_vectors=False, filterable=filterable, centroids=256
    ) as index:
        index.add_batches((batch(500 * i, 500, 130) for i in range(3)), expected_documents=1500)
        index.delete([f"d{i}" for i in range(0, 1500, 11)])
        index.add(**batch(1500, 60, 40))
        replaced = {"ids": ["d7", "d8"], "vectors": [vectors(9), vectors(5)], "texts": ["amber amber birch", "cedar"]}
        index.add(**replaced, metadata=[{"lang": "de", "year": 2024}, {}], upsert=True)
        index.delete(["d1503"])
        queries = [vectors(tokens).astype(np.float32) for tokens in (1, 4, 8, 16, 32)]
        searches: list[dict[str, Any]] = []
        for number, query in enumerate(queries):
            for options in OPTIONS:
                hits = index.search(query, **options)
                searches.append({"query": number, "options": options, "hits": [[hit.id, hit.score] for hit in hits]})
        for text in ("amber birch", "otter"):
            for options in ({"mode": "bm25"}, {"mode": "bm25", "where": {"lang": "en"}}):
                hits = index.search(text, **options)
                searches.append({"query": text, "options": options, "hits": [[hit.id, hit.score] for hit in hits]})
        stats = index.stats()
    counts = ("documents", "deleted", "tokens", "segments", "coded_tokens", "codebooks")
    np.savez_compressed(out / "queries.npz", *queries)
    (out / "expected.json").write_text(
        json.dumps({"stats": {name: getattr(stats, name) for name in counts}, "searches": searches})
    )


if __name__ == "__main__":
    write(Path(sys.argv[1]))
