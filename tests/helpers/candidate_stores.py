"""Stand-ins for the clients of pgvector and OpenSearch, for the guide that reranks what they find."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIM = 384


def embed(text: str) -> NDArray[np.float32]:
    """Return one vector per text: a sum of random directions of its words."""
    seeds = [sum(map(ord, word)) for word in text.lower().split()]
    vector = np.sum([np.random.default_rng(seed).standard_normal(DIM) for seed in seeds], axis=0)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


@dataclass
class Connection:
    """psycopg's connection to one table, with the two statements of the guide."""

    rows: dict[str, tuple[NDArray[np.float32], bytes]] = field(default_factory=dict)
    found: list[tuple[str, bytes]] = field(default_factory=list)

    def execute(self, statement: str, parameters: Sequence[Any]) -> Connection:
        assert statement.count("%s") == len(parameters)
        if statement.startswith("INSERT INTO documents (id, embedding, tokens)"):
            id_, embedding, tokens = parameters
            assert embedding.shape == (DIM,)
            assert isinstance(tokens, bytes)
            self.rows[id_] = (embedding, tokens)
        else:
            assert statement == "SELECT id, tokens FROM documents ORDER BY embedding <=> %s LIMIT 100"
            (query,) = parameters
            nearest = sorted(self.rows, key=lambda id_: -float(self.rows[id_][0] @ query))[:100]
            self.found = [(id_, self.rows[id_][1]) for id_ in nearest]
        return self

    def fetchall(self) -> list[tuple[str, bytes]]:
        return self.found


@dataclass
class Client:
    """opensearch-py's client of one index, with the calls of the guide."""

    documents: dict[str, dict[str, str]] = field(default_factory=dict)

    def index(self, *, index: str, id: str, body: dict[str, str]) -> None:  # noqa: A002 - the client's name
        assert index == "documents"
        base64.b64decode(body["tokens"], validate=True)
        self.documents[id] = body

    def search(self, *, index: str, body: dict[str, Any]) -> dict[str, Any]:
        assert index == "documents"
        words = set(body["query"]["match"]["text"].lower().strip("?").split())
        matches = {id_: len(words & set(document["text"].lower().split())) for id_, document in self.documents.items()}
        best = sorted((id_ for id_ in matches if matches[id_]), key=lambda id_: -matches[id_])[: body["size"]]
        source = body["_source"]
        return {
            "hits": {"hits": [{"_id": id_, "_source": {n: self.documents[id_][n] for n in source}} for id_ in best]}
        }


def stand_ins() -> dict[str, Any]:
    """Return the names that the guide assumes."""
    return {"connection": Connection(), "client": Client(), "embed": embed}
