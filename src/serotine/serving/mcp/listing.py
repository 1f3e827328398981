"""The tool `list`: which indexes there are, and what may be filtered on."""

from __future__ import annotations

from dataclasses import asdict

from serotine.index import Index
from serotine.serving.mcp.counting import as_json
from serotine.serving.mcp.messages import FieldOfIndex, IndexOfList, ListAnswer, ListArguments
from serotine.serving.mcp.served import Served, fields


def list_indexes(served: Served, asked: ListArguments) -> tuple[ListAnswer, str]:
    """The answer, as structured output and as text."""
    told = [_told(name, index) for name, index in served.chosen(asked.index).items()]
    return ListAnswer(indexes=told), "\n\n".join(_block(each) for each in told)


def _told(name: str, index: Index) -> IndexOfList:
    stats = index.stats()
    return IndexOfList(
        name=name,
        passages=stats.documents,
        tokens=stats.tokens,
        encoder=stats.encoder,
        modes=["bm25"] if stats.encoder is None else ["late", "bm25", "hybrid"],
        fields=[FieldOfIndex(**asdict(each)) for each in fields(index)],
    )


def _block(index: IndexOfList) -> str:
    lines = [f"{index.name}: {index.passages:,} passages; modes {', '.join(index.modes)}"]
    for field in index.fields:
        fast = ", fast to filter on" if field.declared else ""
        examples = f": {', '.join(as_json(each) for each in field.examples)}" if field.examples else ""
        lines.append(f"  {field.name} ({field.type}{fast}){examples}")
    return "\n".join(lines)
