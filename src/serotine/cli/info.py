"""``serotine info``: describe an index."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from serotine.cli.output import json_option, plural, report, shell_line, size
from serotine.coverage import with_wordless_advice

if TYPE_CHECKING:
    from serotine.index import IndexStats, PooledStats
    from serotine.ingest import Chunking


@click.command()
@click.argument("index", type=click.Path(path_type=Path))
@json_option
def info(index: Path, json_file: str | None) -> None:
    """Describe an index: its documents, encoder, codes and size."""
    from serotine.index import Index
    from serotine.ingest import file_chunkings, recorded_chunking

    with Index.open(index, read_only=True) as opened:
        stats, chunking, others = opened.stats(), recorded_chunking(opened), file_chunkings(opened)
    if chunking is not None:
        del others[chunking]
    values = {
        "path": str(index),
        **asdict(stats),
        "chunking": None if chunking is None else asdict(chunking),
        "other_chunkings": [{"files": files, **asdict(other)} for other, files in others.most_common()],
    }
    report(_describe(index, stats, chunking, others), values, json_file)


def _describe(path: Path, stats: IndexStats, chunking: Chunking | None, others: Counter[Chunking]) -> str:
    average = stats.tokens / max(stats.documents, 1)
    lines = [
        f"{path}: {plural(stats.documents, 'document')}",
        f"  Vectors   {plural(stats.tokens, 'token')} of {stats.dim} dimensions, about {average:,.0f} per document.",
    ]
    if stats.encoder is None:
        lines.append("  Encoder   none: created for vectors; search it with vectors, from Python.")
    else:
        options = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in stats.encoder_options.items())
        made_by = f" Vectors are from: {stats.arithmetic}." if stats.arithmetic else ""
        lines.append(f"  Encoder   {stats.encoder}{options and f' ({options})'}; queries need the same.{made_by}")
    if stats.pooled is not None:
        lines.append(_pooled(stats.pooled))
    if chunking is not None:
        lines.append(f"  Texts     {_cut(chunking)}; new files are cut alike, unless options say otherwise.")
    for other, files in others.most_common():
        lines.append(f"            {plural(files, 'file')} otherwise: {_cut(other)}; later runs over them keep that.")
    if stats.unfinished:
        lines.append(_unfinished(path, stats))
    lines += [_codes(stats), _searching(stats), *_recall(stats)]
    lines.append(
        f"  On disk   {size(stats.bytes)} in {plural(stats.segments, 'segment')} ({stats.bytes_per_token:,.0f} bytes "
        f"per token), {size(stats.catalog_bytes)} of ids, texts, metadata and words."
    )
    if stats.filterable:
        fields = ", ".join(f"{name} ({kind})" for name, kind in stats.filterable.items())
        lines.append(f"  Filters   by an index: {fields}; on other metadata by reading every document.")
    if stats.deleted:
        lines.append(
            f"  Deleted   {plural(stats.deleted, 'document')} of {plural(stats.deleted_tokens, 'token')}: no longer "
            "returned, but still on disk until compaction."
        )
    if stats.truncated:
        lines.append(
            f"  Too long  {plural(stats.truncated, 'document')} of {stats.documents:,}: the encoder reads only their "
            "beginning, and the rest is not searched; index them as passages."
        )
    if stats.unknown:
        share = stats.unknown / max(stats.documents, 1)
        scripts = ", ".join(f"{script} {count:,}" for script, count in stats.unknown_scripts.items())
        advice = with_wordless_advice("search with --mode bm25", stats.unknown_scripts)
        lines.append(
            f"  Unknown   {stats.unknown:,} of {plural(stats.documents, 'document')} ({share:.0%}): more than 20% of "
            f"their text is outside the encoder's vocabulary: {scripts}; {advice}."
        )
    lines.append(f"  Format    version {stats.format_version}")
    return "\n".join(lines)


def _pooled(pooled: PooledStats) -> str:
    whose = "supplied by the caller" if pooled.encoder is None else f"of {pooled.encoder}"
    late, other = pooled.weights
    chosen = "fitted" if pooled.fitted else "the default; `serotine tune --pooled-weights` fits them"
    return (
        f"  Pooled    one vector per document, {whose} ({pooled.dim} dimensions, {pooled.similarity}), "
        f"{size(pooled.bytes)}; weights of --mode pooled: {late:g} {other:g} ({chosen})."
    )


def _cut(chunking: Chunking) -> str:
    if chunking.tokens is None:
        return "stay whole"
    shared = f", about {chunking.overlap:,} of them shared with the one before" if chunking.overlap else ""
    context = ", encoded with the text around them (late chunking)" if chunking.late else ""
    return f"cut into passages of at most {chunking.tokens:,} tokens{shared}{context}"


def _unfinished(path: Path, stats: IndexStats) -> str:
    sources = ", ".join(stats.unfinished)
    if stats.updating:
        return f"  Partial   an update from {sources} is running: documents are missing until it ends."
    again = shell_line("serotine", "index", *stats.unfinished, "-o", path)
    return (
        f"  Partial   the update from {sources} was interrupted: documents are missing; continue it with the options "
        f"it had: {again}"
    )


def _codes(stats: IndexStats) -> str:
    from serotine.index import FIRST_TRAINING

    vectors = "with float16 vectors beside them" if stats.keep_vectors else "without their vectors"
    if not stats.coded_tokens:
        if stats.tokens >= FIRST_TRAINING:
            return (
                "  Codes     none yet: all vectors are float16. The next change trains a codebook and compresses them."
            )
        return (
            f"  Codes     none yet: all vectors are float16. From about {FIRST_TRAINING:,} tokens on, "
            f"{stats.nbits} bits per dimension, {vectors}."
        )
    head_tokens = stats.tokens - stats.coded_tokens
    head = f"{head_tokens:,} in the head as float16" if head_tokens else "none in the head"
    newest = "" if stats.codebooks == 1 else "the newest "
    return (
        f"  Codes     {plural(stats.coded_tokens, 'token')} at {stats.nbits} bits per dimension, "
        f"{stats.code_bytes_per_token:,.0f} bytes each, {vectors}; {head}.\n"
        f"  Codebooks {stats.codebooks:,}, {newest}of {plural(stats.centroids, 'centroid')}."
    )


def _recall(stats: IndexStats) -> list[str]:
    from serotine.index import describe_recall

    return [f"  Recall    {describe_recall(stats.calibration)}"] if stats.coded_tokens else []


def _searching(stats: IndexStats) -> str:
    if not stats.coded_tokens:
        return "  A search  scores the vectors of every document, exactly."
    from serotine.index import PROBED_FROM

    final_stage = "the best of these over their vectors" if stats.keep_vectors else "whose scores are estimates"
    head = "; the head is scored exactly." if stats.tokens > stats.coded_tokens else "."
    return (
        f"  A search  scores documents by their centroids (from {PROBED_FROM:,} on, more for many hits, those on the "
        f"nearest posting lists only), then scores the best over their codes, {final_stage}{head}"
    )
