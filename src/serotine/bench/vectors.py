"""A collection of real token vectors to measure an index on: encoded once, kept in a folder."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine import maxsim
from serotine.ingest import read
from serotine.pca import principal_directions
from serotine.progress import progress_bar

# Questions are cut to this many tokens, as late-interaction models do.
QUERY_TOKENS = 32
# How deep recall is measured.
DEPTH = 100
_TEXTS_AT_ONCE = 512
_SAMPLE = 200_000


@dataclass(frozen=True, slots=True)
class VectorCollection:
    """Token vectors and what exact MaxSim finds in them.

    Attributes:
        vectors: float16 (tokens, dim), L2-normalised.
        offsets: int64 (documents + 1,).
        queries: float32 (tokens, dim) each, at most `QUERY_TOKENS` tokens.
        origin: what it was made of.
    """

    vectors: NDArray[np.float16]
    offsets: NDArray[np.int64]
    queries: list[NDArray[np.float32]]
    origin: dict[str, Any]

    @property
    def documents(self) -> int:
        """How many documents."""
        return self.offsets.size - 1

    def document(self, number: int) -> NDArray[np.float16]:
        """One document's token vectors."""
        return self.vectors[self.offsets[number] : self.offsets[number + 1]]

    def truth(self, keep: NDArray[np.bool_] | None = None, k: int = DEPTH) -> list[list[int]]:
        """The k best documents of every query by exact MaxSim, among those kept."""
        found = []
        for query in self.queries:
            scores, places = maxsim.top_k(query, self.vectors, self.offsets, k, keep=keep)
            found.append(places[np.isfinite(scores)].tolist())
        return found


def load_vectors(folder: Path) -> VectorCollection:
    """Read what `prepare_vectors` has written."""
    stored = np.load(folder / "queries.npz")
    rows, starts = stored["vectors"].astype(np.float32), stored["offsets"]
    queries = [rows[first:last] for first, last in itertools.pairwise(starts)]
    origin = json.loads((folder / "origin.json").read_text()) if (folder / "origin.json").exists() else {}
    return VectorCollection(
        np.load(folder / "vectors.npy", mmap_mode="r"), np.load(folder / "offsets.npy"), queries, origin
    )


def prepare_vectors(
    folder: Path, passages: Path, questions: Path, *, documents: int, dim: int, encoder: str | None = None
) -> VectorCollection:
    """Encode the first passages and all queries with an encoder, or load what an earlier call wrote to `folder`.

    Token vectors are projected on their first `dim` principal directions (without centring, so that dot products
    change as little as can be) and normalised again.
    """
    origin = {"passages": passages.name, "documents": documents, "questions": questions.name, "dim": dim}
    if (folder / "origin.json").exists():
        found = load_vectors(folder)
        if {key: found.origin.get(key) for key in origin} == origin:
            return found
    from serotine.encoders import Encoder

    folder.mkdir(parents=True, exist_ok=True)
    loaded = Encoder(encoder)
    texts = [document.text for document in itertools.islice(read([passages]), documents)]
    rows: list[NDArray[np.float16]] = []
    with progress_bar(len(texts), "Encoding", enabled=True) as advance:
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            part = loaded.encode_documents(texts[start : start + _TEXTS_AT_ONCE])
            rows += [vectors.astype(np.float16) for vectors in part]
            advance(len(part))
    offsets = np.concatenate([[0], np.cumsum([len(vectors) for vectors in rows])]).astype(np.int64)
    tokens = np.concatenate(rows)
    directions = sampled_directions(tokens, dim)
    asked = [
        vectors[:QUERY_TOKENS] for vectors in loaded.encode_queries([question.text for question in read([questions])])
    ]
    np.save(folder / "vectors.npy", project(tokens, directions))
    np.save(folder / "offsets.npy", offsets)
    np.savez(
        folder / "queries.npz",
        vectors=np.concatenate([project(vectors, directions).astype(np.float32) for vectors in asked]),
        offsets=np.concatenate([[0], np.cumsum([len(vectors) for vectors in asked])]),
    )
    # Written last: only then is the folder whole.
    (folder / "origin.json").write_text(json.dumps({**origin, "encoder": loaded.name}))
    return load_vectors(folder)


def sampled_directions(tokens: NDArray[np.float16], dim: int) -> NDArray[np.float32] | None:
    """Return the first `dim` principal directions of a sample of the tokens; None where `dim` keeps all dimensions."""
    if dim >= tokens.shape[1]:
        return None
    rng = np.random.default_rng(0)
    sample = tokens[np.sort(rng.permutation(len(tokens))[:_SAMPLE])].astype(np.float32)
    return principal_directions([sample], dim)


def project(tokens: NDArray[Any], directions: NDArray[np.float32] | None) -> NDArray[np.float16]:
    """Token vectors on these directions, or as they are, of length 1."""
    dim = tokens.shape[1] if directions is None else directions.shape[0]
    out = np.empty((len(tokens), dim), dtype=np.float16)
    for start in range(0, len(tokens), _SAMPLE):
        part = tokens[start : start + _SAMPLE].astype(np.float32)
        if directions is not None:
            part = part @ directions.T
        out[start : start + _SAMPLE] = part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12)
    return out
