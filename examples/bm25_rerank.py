"""Rerank what BM25 finds by MaxSim, and see what it gains; needs the extra [eval] and serotine-mini.

BM25 is bm25s here; any system that returns texts for a query takes its place. Nothing is indexed again: the candidates
are encoded when they are found, and their vectors are kept for later queries.
"""

from __future__ import annotations

import sys
import warnings
from itertools import islice
from pathlib import Path

import bm25s
import numpy as np
import Stemmer
from numpy.typing import NDArray

from serotine import Encoder, maxsim
from serotine.errors import TruncatedTextWarning
from serotine.evaluation import Run, evaluate, load_beir

CRANFIELD = Path(__file__).parent / "cranfield"


def main(queries: int = 20, candidates: int = 20) -> None:
    """Search Cranfield with BM25, rerank the best candidates, and print nDCG@10 of both rankings."""
    collection = load_beir(CRANFIELD)
    ids, texts = list(collection.documents), list(collection.documents.values())
    stemmer = Stemmer.Stemmer("english")
    retriever = bm25s.BM25()
    retriever.index(bm25s.tokenize(texts, stemmer=stemmer, show_progress=False), show_progress=False)

    # Some abstracts are longer than the encoder reads.
    warnings.simplefilter("ignore", TruncatedTextWarning)
    encoder = Encoder()
    vectors: dict[int, NDArray[np.float32]] = {}
    before: Run = {}
    after: Run = {}
    for query_id, query in islice(collection.queries.items(), queries):
        words = bm25s.tokenize(query, stemmer=stemmer, show_progress=False)
        found, scores = retriever.retrieve(words, k=candidates, show_progress=False)
        numbers = found[0].tolist()
        before[query_id] = {ids[number]: float(score) for number, score in zip(numbers, scores[0], strict=True)}

        new = [number for number in numbers if number not in vectors]
        vectors |= zip(new, encoder.encode_documents([texts[number] for number in new]), strict=True)
        reranked = maxsim.score(encoder.encode_queries([query])[0], [vectors[number] for number in numbers])
        after[query_id] = {ids[number]: float(score) for number, score in zip(numbers, reranked, strict=True)}

    qrels = {query_id: collection.qrels[query_id] for query_id in before}
    print(f"{len(before)} queries, {candidates} candidates each; {len(vectors)} documents encoded")
    for name, run in (("BM25", before), ("BM25, reranked", after)):
        print(f"nDCG@10 of {name}: {evaluate(qrels, run)['nDCG@10'] * 100:.1f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
