"""A collection of real token vectors for index benchmarks, encoded once and cached in a folder."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine import maxsim
from serotine.ingest import SkippedRow, SourceFile, read
from serotine.issued_warnings import muted_warnings
from serotine.pca import principal_directions
from serotine.progress import progress_bar

# Queries are truncated to this many tokens, as late-interaction models do.
QUERY_TOKENS = 32
# The cutoff of recall.
DEPTH = 100
_TEXTS_PER_BATCH = 512
_TOKENS_PER_BLOCK = 200_000


@dataclass(frozen=True, slots=True)
class VectorCollection:
    """Token vectors of documents and queries.

    Attributes:
        vectors: float16 (tokens, dim), L2-normalized.
        offsets: int64 (documents + 1,).
        queries: float32 (tokens, dim) each, at most `QUERY_TOKENS` tokens.
        origin: names of the files, number of documents, dimension and encoder.
    """

    vectors: NDArray[np.float16]
    offsets: NDArray[np.int64]
    queries: list[NDArray[np.float32]]
    origin: dict[str, Any]

    @property
    def documents(self) -> int:
        """Number of documents."""
        return self.offsets.size - 1

    def document(self, number: int) -> NDArray[np.float16]:
        """Return the token vectors of a document."""
        return self.vectors[self.offsets[number] : self.offsets[number + 1]]

    def exact_top_k(self, keep: NDArray[np.bool_] | None = None, k: int = DEPTH) -> list[list[int]]:
        """Return the numbers of every query's k best documents by exact MaxSim, where `keep` is true."""
        rankings = []
        for query in self.queries:
            scores, numbers = maxsim.top_k(query, self.vectors, self.offsets, k, keep=keep)
            rankings.append(numbers[np.isfinite(scores)].tolist())
        return rankings


def load_vectors(folder: Path) -> VectorCollection:
    """Read the collection that `prepare_vectors` wrote to a folder."""
    stored = np.load(folder / "queries.npz")
    rows, starts = stored["vectors"].astype(np.float32), stored["offsets"]
    queries = [rows[first:last] for first, last in itertools.pairwise(starts)]
    origin = json.loads((folder / "origin.json").read_text()) if (folder / "origin.json").exists() else {}
    return VectorCollection(
        np.load(folder / "vectors.npy", mmap_mode="r"), np.load(folder / "offsets.npy"), queries, origin
    )


def prepare_vectors(
    folder: Path, passages: Path, queries: Path, *, documents: int, dim: int, encoder: str | None = None
) -> VectorCollection:
    """Encode the first passages and all queries with an encoder, or load what an earlier call wrote to `folder`.

    Token vectors are projected on their first `dim` principal directions, uncentered so that dot products change as
    little as possible, and normalized again. Rows without text are skipped; `origin` says how many.
    """
    origin: dict[str, Any] = {
        "passages": passages.name,
        "documents": documents,
        "query_file": queries.name,
        "dim": dim,
    }
    if (folder / "origin.json").exists():
        cached = load_vectors(folder)
        if {key: cached.origin.get(key) for key in origin} == origin:
            return cached
    from serotine.encoders import Encoder

    loaded = Encoder(encoder)
    skipped: list[SkippedRow] = []
    rows_read = SourceFile.at(passages).documents(on_bad_row=skipped.append)
    texts = [document.text for document in itertools.islice(rows_read, documents)]
    rows: list[NDArray[np.float16]] = []
    with progress_bar(len(texts), "Encoding", enabled=True) as advance:
        for start in range(0, len(texts), _TEXTS_PER_BATCH):
            with muted_warnings():
                batch = loaded.encode_documents(texts[start : start + _TEXTS_PER_BATCH])
            rows += [vectors.astype(np.float16) for vectors in batch]
            advance(len(batch))
    offsets = np.concatenate([[0], np.cumsum([len(vectors) for vectors in rows])]).astype(np.int64)
    tokens = np.concatenate(rows)
    directions = sampled_directions(tokens, dim)
    query_texts = [query.text for query in read([queries])]
    with muted_warnings():
        query_vectors = [vectors[:QUERY_TOKENS] for vectors in loaded.encode_queries(query_texts)]
    origin |= {"encoder": loaded.name, "skipped_rows": len(skipped)}
    save_projected(folder, VectorCollection(tokens, offsets, query_vectors, origin), directions)
    return load_vectors(folder)


def save_projected(folder: Path, collection: VectorCollection, directions: NDArray[np.float32] | None) -> None:
    """Write a collection as `load_vectors` reads it, projected on the directions, if given; see `project`."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "vectors.npy", project(collection.vectors, directions))
    np.save(folder / "offsets.npy", collection.offsets)
    np.savez(
        folder / "queries.npz",
        vectors=np.concatenate([project(query, directions).astype(np.float32) for query in collection.queries]),
        offsets=np.concatenate([[0], np.cumsum([len(query) for query in collection.queries])]),
    )
    # Written last: it marks the folder as complete.
    (folder / "origin.json").write_text(json.dumps(collection.origin))


def sampled_directions(tokens: NDArray[np.float16], dim: int) -> NDArray[np.float32] | None:
    """Return the first `dim` principal directions of a sample of the tokens; None where `dim` is all dimensions."""
    if dim >= tokens.shape[1]:
        return None
    rng = np.random.default_rng(0)
    sample = tokens[np.sort(rng.permutation(len(tokens))[:_TOKENS_PER_BLOCK])].astype(np.float32)
    return principal_directions([sample], dim)


def project(tokens: NDArray[Any], directions: NDArray[np.float32] | None) -> NDArray[np.float16]:
    """Project token vectors on the directions, if given, and normalize them to length 1."""
    dim = tokens.shape[1] if directions is None else directions.shape[0]
    projected = np.empty((len(tokens), dim), dtype=np.float16)
    for start in range(0, len(tokens), _TOKENS_PER_BLOCK):
        block = tokens[start : start + _TOKENS_PER_BLOCK].astype(np.float32)
        if directions is not None:
            block = block @ directions.T
        norms = np.maximum(np.linalg.norm(block, axis=1, keepdims=True), 1e-12)
        projected[start : start + _TOKENS_PER_BLOCK] = block / norms
    return projected
