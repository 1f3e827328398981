"""The tables of the benchmarks page for the encoder, alone and on a newer processor beside an index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from page_tables import effort, operating_points, table


def encoding(results: Any) -> Iterator[str]:
    """Speed of every backend by length, and agreement."""
    encoders = list(results["passages"]["threads=1"])
    rows = _encoding_speeds(results, encoders)
    cosines = results["cosine"]
    means = (f"{cosines[encoder]['mean']:.4f}" if encoder in cosines else "1" for encoder in encoders)
    rows.append(["mean cosine per token with float32", *means])
    for collection, figures in results["ndcg_at_10"].items():
        percents = (f"{figures[encoder]:.1%}".rstrip("%") if encoder in figures else "" for encoder in encoders)
        rows.append([f"nDCG@10, {collection}", *percents])
    yield from table(["", *encoders], rows)
    yield "\nTexts of one length, without the tokenizer: times as fast as ONNX Runtime.\n"
    lengths = results["lengths"]
    yield from table(
        ["threads", *(f"{length} tokens" for length in lengths["threads=1"])],
        (
            [threads.removeprefix("threads="), *(f"{row[encoders[0]]['times_onnx']:.2f}" for row in timings.values())]
            for threads, timings in lengths.items()
        ),
    )
    share = results["vnni"]["share_at_96_tokens"]
    yield f"\nAt 96 tokens, the products of the layers take {share:.0%} of the processor's peak of 8-bit products."


def newer_processor(results: Any) -> Iterator[str]:
    """Operating points of indexes with their proofs, and the speed of the encoder on every backend."""
    searched = [(found["collection"]["documents"], row) for found in results["indexes"] for row in found["searched"]]
    points = [[row["engine"], documents, row] for documents, row in searched]
    for peer in results["peers"]:
        name = f"{peer['engine']} {peer['version']}"
        points += [
            [name, peer["documents"], {**row, "setting": f"{row['setting']}, k={row['k']}"}] for row in peer["searched"]
        ]
    million = results["million"]
    for row in million["searched"]:
        points.append(["4 bits", million["documents"], {**row, "setting": f"{effort(row)}, k={row['k']}"}])
    yield from operating_points(points)
    for documents, row in searched:
        notes = row["notes"]
        if "certified" in notes:
            yield (
                f"\n`exact=True` of {documents:,} passages: {notes['certified']} of {notes['queries']} answers are "
                f"proved, {notes['equal_to_brute_force']} equal brute force.\n"
            )
    encoding = results["encoding"]
    encoders = list(encoding["passages"]["threads=1"])
    yield from table(["", *encoders], _encoding_speeds(encoding, encoders))
    share = encoding["vnni"]["share_at_96_tokens"]
    yield f"\nAt 96 tokens, the products of the layers take {share:.0%} of the processor's peak of 8-bit products."


def _encoding_speeds(results: Any, encoders: Sequence[str]) -> list[list[str]]:
    rows: list[list[str]] = []
    for threads in ("threads=1", "threads=2"):
        speeds = results["passages"][threads]
        name = f"passages/s, {threads[-1]} {'thread' if threads[-1] == '1' else 'threads'}"
        rows.append([name, *(f"{speeds[encoder]['documents_per_second']:.0f}" for encoder in encoders)])
    for caches, timings in results["query_of_12_tokens"].items():
        milliseconds = (f"{timings[encoder]['median'] * 1e3:.1f}" for encoder in encoders)
        rows.append([f"query of 12 tokens, median ms, {caches} caches", *milliseconds])
    return rows
