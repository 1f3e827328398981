"""The tool `list`: the served indexes and their filterable fields."""

from __future__ import annotations

from dataclasses import asdict
from typing import get_args

from serotine.index import Index, IndexStats, describe_recall
from serotine.serving.mcp.indexes import ServedIndexes, metadata_fields
from serotine.serving.mcp.schemas import FieldSummary, IndexSummary, ListArguments, ListResult, Mode
from serotine.serving.mcp.token_count import as_json


def list_indexes(served: ServedIndexes, arguments: ListArguments) -> tuple[ListResult, str]:
    """Return the result as structured output and as text."""
    summaries = [_summary(name, index) for name, index in served.select(arguments.index).items()]
    return ListResult(indexes=summaries), "\n\n".join(_block(summary) for summary in summaries)


def _summary(name: str, index: Index) -> IndexSummary:
    stats = index.stats()
    return IndexSummary(
        name=name,
        passages=stats.documents,
        tokens=stats.tokens,
        encoder=stats.encoder,
        modes=_modes(stats),
        recall=(
            describe_recall(stats.calibration)
            if stats.coded_tokens
            else "Exact: every passage is scored over its vectors."
        ),
        fields=[FieldSummary(**asdict(field)) for field in metadata_fields(index)],
    )


def _modes(stats: IndexStats) -> list[str]:
    if stats.encoder is None:
        return ["bm25"]
    has_pooled = stats.pooled is not None and stats.pooled.encoder is not None
    return [mode for mode in get_args(Mode) if mode != "pooled" or has_pooled]


def _block(summary: IndexSummary) -> str:
    lines = [f"{summary.name}: {summary.passages:,} passages; modes {', '.join(summary.modes)}"]
    lines.append(f"  recall: {summary.recall}")
    for field in summary.fields:
        fast = ", fast to filter on" if field.declared else ""
        examples = f": {', '.join(as_json(example) for example in field.examples)}" if field.examples else ""
        lines.append(f"  {field.name} ({field.type}{fast}){examples}")
    return "\n".join(lines)
