"""Compare serotine-mini on three backends: speed, and beside it cosine and nDCG@10.

    python benchmarks/encoding.py PASSAGES COLLECTIONS WORK [--quick] [--json FILE]

PASSAGES is a .jsonl.gz file, COLLECTIONS a folder of BEIR folders. The encoder that ships is 8-bit; its weights as
floating point become a checkpoint in WORK, which sentence-transformers runs as it is (torch, float32) and ONNX Runtime
as our int8 export. The three take turns in one process on the same texts:

- texts of one length, without the tokenizer, and passages as they come, on one thread and on two;
- a query of 12 tokens from its characters to its vectors, with caches as the last call left them and with cold ones;
- the share of the processor's peak of 8-bit products that the matrices of the layers get;
- cosine of every token's vector with the checkpoint's, and nDCG@10 by exact MaxSim.

Every figure is given by the clock and by processor time; the latter holds on a machine that does other work, with one
thread. Sized for less than 8 minutes on two cores that do nothing else; scifact (--ndcg) adds some 3. Needs the
extras [export,eval], sentence-transformers, and for the processor's peak a C++ compiler. Writes
benchmarks/results/encoding.json, or FILE.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine import Encoder, maxsim
from serotine.bench import describe_machine
from serotine.encoders import export_encoder, save_checkpoint
from serotine.evaluation import Collection, Run, evaluate, load_beir
from serotine.ingest import read

RESULT = Path(__file__).parent / "results/encoding.json"
PEAK = Path(__file__).parent / "vnni_peak.cpp"
NATIVE, ONNX, TORCH = "serotine, native int8", "serotine, ONNX int8", "sentence-transformers, torch float32"
CHECKPOINT, EXPORT = "checkpoint", "int8"
LENGTHS, BATCH_TOKENS, DEPTH = (16, 32, 96, 256, 512), 4096, 100
QUERY = "which bat flies late in the evening over the lake"
PACKAGES = ["serotine", "numpy", "onnxruntime", "sentence-transformers", "tokenizers", "torch", "transformers"]
# More than the last-level cache of most processors.
EVICTED_BYTES = 64 << 20

Encode = Callable[[list[str]], Sequence[NDArray[Any]]]
Timings = dict[str, dict[str, float]]


def load_sentence_transformers(checkpoint: Path) -> Callable[[int], Encode]:
    """Return a function from the number of threads to sentence-transformers' encoder."""
    import torch
    from sentence_transformers import MultiVectorEncoder

    model = MultiVectorEncoder(str(checkpoint), device="cpu", local_files_only=True)

    def with_threads(threads: int) -> Encode:
        def encode(texts: list[str]) -> Sequence[NDArray[Any]]:
            torch.set_num_threads(threads)
            return list(model.encode_document(texts, batch_size=32, convert_to_numpy=True, show_progress_bar=False))

        return encode

    return with_threads


def take_turns(
    calls: dict[str, Callable[[], object]],
    rounds: int,
    *,
    cold: bool = False,
    processor_time: Callable[[], float] = time.thread_time,
) -> Timings:
    """Call everything in turn; return best and median seconds, and the median ratio to the ONNX call of its round.

    Processor time is that of this thread, where threads of other libraries wait by spinning, or of the whole process.
    """
    evicted = np.zeros(EVICTED_BYTES // 8)
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for round_ in range(rounds + 1):
        for name, call in calls.items():
            if cold:
                evicted += 1
            wall, processor = time.perf_counter(), processor_time()
            call()
            # The first round warms up.
            if round_:
                seconds[name].append((time.perf_counter() - wall, processor_time() - processor))
    base = seconds.get(ONNX, next(iter(seconds.values())))
    timings: Timings = {}
    for name, pairs in seconds.items():
        walls, processors = zip(*pairs, strict=True)
        timings[name] = {
            "best": min(walls),
            "median": statistics.median(walls),
            "processor_best": min(processors),
            "processor_median": statistics.median(processors),
            "times_onnx": statistics.median(b[0] / p[0] for b, p in zip(base, pairs, strict=True)),
            "times_onnx_processor": statistics.median(b[1] / p[1] for b, p in zip(base, pairs, strict=True)),
        }
    return timings


def of_one_length(encoders: dict[str, Encoder], stream: NDArray[np.int64], length: int, rounds: int) -> Timings:
    """Time the model alone on texts of exactly `length` tokens cut from real text, in each backend's batches."""
    texts = stream[: BATCH_TOKENS // length * length].reshape(-1, length)

    def call(encoder: Encoder) -> Callable[[], object]:
        size = max(encoder.backend.batch_tokens // length, 1)
        parts = [list(texts[i : i + size]) for i in range(0, len(texts), size)]
        masks = [[np.ones(length, dtype=bool)] * len(part) for part in parts]
        return lambda: [encoder.backend.run(part, mask) for part, mask in zip(parts, masks, strict=True)]

    timings = take_turns({name: call(encoder) for name, encoder in encoders.items()}, rounds)
    for row in timings.values():
        row["tokens_per_second"] = texts.size / row["best"]
        row["tokens_per_processor_second"] = texts.size / row["processor_best"]
    return timings


def vnni_peak() -> float | None:
    """Return the most 8-bit multiply-adds a second of one core, in billions; None where it cannot be measured."""
    compiler = shutil.which("c++")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "peak")
        options = ["-O2", "-mavx512f", "-mavx512vnni", str(PEAK), "-o", str(program)]
        built = subprocess.run([compiler, *options], capture_output=True, check=False).returncode == 0
        ran = subprocess.run([program], capture_output=True, check=False) if built else None
    return float(ran.stdout) if ran is not None and ran.returncode == 0 else None


def products_per_token(checkpoint: Path) -> float:
    """Return the multiply-adds of one token in the matrices of the layers, in billions."""
    config = json.loads((checkpoint / "config.json").read_text())
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    return float(config["num_hidden_layers"] * (4 * hidden * hidden + 2 * hidden * inner)) / 1e9


def cosines(vectors: Sequence[NDArray[Any]], expected: Sequence[NDArray[Any]]) -> dict[str, float]:
    """Return mean and least cosine of tokens; all vectors have length 1."""
    values = np.concatenate([(a * b).sum(axis=1) for a, b in zip(vectors, expected, strict=True)])
    return {"mean": float(values.mean()), "min": float(values.min()), "tokens": len(values)}


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


def report(title: str, value: object) -> None:
    """Print one result as it is known."""
    sys.stderr.write(f"{title}: {json.dumps(value, default=str)}\n")
    sys.stderr.flush()


def speeds(arguments: argparse.Namespace, encoders: dict[int, dict[str, Encoder]]) -> dict[str, Any]:
    """Measure everything that is timed."""
    quick = arguments.quick
    load = load_sentence_transformers(arguments.work / CHECKPOINT)
    passages = [document.text for document in itertools.islice(read([arguments.passages]), 100 if quick else 300)]
    one = encoders[1][NATIVE]
    stream = np.concatenate([one.token_ids(text, query=False) for text in passages]).astype(np.int64)
    result: dict[str, Any] = {"lengths": {}, "passages": {}, "query_of_12_tokens": {}}
    for threads, length in itertools.product(encoders, LENGTHS):
        timings = of_one_length(encoders[threads], stream, length, 3 if quick else 7)
        result["lengths"].setdefault(f"threads={threads}", {})[length] = timings
        report(f"{threads} threads, {length} tokens, times ONNX", {k: v["times_onnx"] for k, v in timings.items()})
    for threads, contenders in encoders.items():
        calls: dict[str, Callable[[], object]] = {
            name: partial(encoder.encode_documents, passages) for name, encoder in contenders.items()
        }
        torch_encode = load(threads)
        calls[TORCH] = partial(torch_encode, passages)
        timings = take_turns(calls, 1 if quick else 2, processor_time=time.process_time)
        for row in timings.values():
            row["documents_per_second"] = len(passages) / row["best"]
        result["passages"][f"threads={threads}"] = timings
        report(f"{threads} threads, passages", timings)
    native = [result["passages"][f"threads={threads}"][NATIVE]["best"] for threads in (1, 2)]
    result["passages"]["native_two_threads_times_one"] = native[0] / native[1]
    torch_query = load(1)
    for title, cold in (("warm", False), ("cold", True)):
        query_calls: dict[str, Callable[[], object]] = {
            name: partial(encoder.encode_queries, [QUERY]) for name, encoder in encoders[1].items()
        }
        query_calls[TORCH] = partial(torch_query, [QUERY])
        # Alone when warm: another model's weights would evict its own.
        rounds = 60 if quick else 200
        if cold:
            timings = take_turns(query_calls, rounds // 2, cold=True)
        else:
            timings = {}
            for name, call in query_calls.items():
                timings |= take_turns({name: call}, rounds)
                del timings[name]["times_onnx"], timings[name]["times_onnx_processor"]
        result["query_of_12_tokens"][title] = timings
        report(f"query, {title}", timings)
    if (peak := vnni_peak()) is not None:
        rate = result["lengths"]["threads=1"][96][NATIVE]["tokens_per_processor_second"]
        share = rate * products_per_token(arguments.work / CHECKPOINT) / peak
        result["vnni"] = {"peak_giga_multiply_adds": peak, "share_at_96_tokens": share}
        report("VNNI", result["vnni"])
    return result


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("passages", "collections", "work"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, one collection, and nothing is written")
    parser.add_argument("--json", type=Path, default=RESULT, metavar="FILE", help="where the figures are written")
    parser.add_argument(
        "--ndcg", nargs="*", metavar="NAME", help="collections to judge: cranfield, medline and time unless given"
    )
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    checkpoint, exported = arguments.work / CHECKPOINT, arguments.work / EXPORT
    if not checkpoint.exists():
        save_checkpoint(Encoder(), checkpoint)
    if not exported.exists():
        export_encoder(checkpoint, exported, precision="int8")
    encoders = {
        threads: {
            NATIVE: Encoder(num_threads=threads),
            ONNX: Encoder(exported, num_threads=threads),
        }
        for threads in (1, 2)
    }
    result: dict[str, Any] = {"machine": describe_machine(PACKAGES), "passages_file": arguments.passages.name}
    result |= speeds(arguments, encoders)
    sample = [document.text for document in itertools.islice(read([arguments.passages]), 5000, 5200)]
    float32 = load_sentence_transformers(arguments.work / CHECKPOINT)(2)
    expected = float32(sample)
    result["cosine"] = {name: cosines(e.encode_documents(sample), expected) for name, e in encoders[2].items()}
    report("cosine", result["cosine"])
    names = ["cranfield"] if arguments.quick else ["cranfield", "medline", "time"]
    result["ndcg_at_10"] = {}
    for name in names if arguments.ndcg is None else arguments.ndcg:
        collection = load_beir(arguments.collections / name)
        encode = {title: encoder.encode_documents for title, encoder in encoders[2].items()} | {TORCH: float32}
        judged = {title: quality(collection, call) for title, call in encode.items()}
        result["ndcg_at_10"][name] = judged
        report(name, judged)
    if not arguments.quick:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
