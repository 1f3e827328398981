"""Texts beyond the encoder's length, and outside its vocabulary: counted, split into passages, or refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from serotine.coverage import CoverageReport, TextCoverage, text_coverage
from serotine.cutting import (
    Cutter,
    default_length,
    passage_id,
    passage_metadata,
    repeated_metadata_problem,
)
from serotine.errors import EncoderError, not_one_of, shown_id
from serotine.index.store import CoverageRow
from serotine.json_values import characters
from serotine.text_encoder import TextEncoder
from serotine.wording import worded

LongTexts = Literal["split", "warn", "error", "truncate"]
# Texts per call of the tokenizer, whose tokens take memory.
_BATCH = 256


def truncated_fix() -> str:
    """Return what to do about texts that are too long."""
    return worded('pass long_texts="split" to store passages', http='set long_texts to "split" to store passages')


def check_long_texts(value: str) -> None:
    """Raise ValueError for anything but the four choices."""
    if value not in get_args(LongTexts):
        raise not_one_of("long_texts", get_args(LongTexts), value)


@dataclass(slots=True)
class MeasuredTexts:
    """What the encoder reads of the texts of one call.

    Attributes:
        coverages: one per text; empty for an encoder without the method `coverage`.
        rows: what to record of the texts that are too long, or outside the vocabulary.
        report: the counts of these.
    """

    coverages: list[TextCoverage] = field(default_factory=list)
    rows: list[CoverageRow] = field(default_factory=list)
    report: CoverageReport = field(default_factory=CoverageReport)


def measure_texts(encoder: TextEncoder, ids: Sequence[str], texts: Sequence[str]) -> MeasuredTexts:
    """Count what an encoder reads of texts."""
    measured = MeasuredTexts()
    for start in range(0, len(texts), _BATCH):
        batch = text_coverage(encoder, texts[start : start + _BATCH], query=False)
        if batch is None:
            measured.report.texts += len(texts)
            break
        measured.coverages += batch
    for position, (id_, text, coverage) in enumerate(zip(ids, texts, measured.coverages, strict=False)):
        unknown_before = measured.report.unknown
        measured.report.count(repr(id_), text, coverage)
        unknown = measured.report.unknown > unknown_before
        if coverage.truncated or unknown:
            script = next(iter(coverage.unknown_scripts(text)), "") if unknown else ""
            measured.rows.append(CoverageRow(position, coverage.tokens, coverage.truncated, unknown, script))
    return measured


def refuse_long_texts(measured: MeasuredTexts, encoder: TextEncoder) -> None:
    """Raise ValueError where a text is longer than the encoder reads."""
    report = measured.report
    if report.truncated:
        raise ValueError(report.truncated_message("texts", encoder.name, f"nothing was added: {truncated_fix()}"))


def require_coverage(encoder: TextEncoder, long_texts: LongTexts) -> None:
    """Raise EncoderError where `long_texts` needs the lengths of texts and the encoder does not report them."""
    if long_texts in ("split", "error") and not hasattr(encoder, "coverage"):
        raise EncoderError(
            f'encoder {encoder.name!r}: does not report how much of a text it reads (a method "coverage"), which '
            + worded(
                f'long_texts="{long_texts}" needs; use long_texts="truncate"',
                http=f'long_texts "{long_texts}" needs; set it to "truncate"',
            )
        )


def split_texts(
    ids: Sequence[str],
    texts: Sequence[str],
    metadata: Sequence[Mapping[str, Any]],
    measured: MeasuredTexts,
    encoder: TextEncoder,
) -> tuple[list[str], list[str], list[dict[str, Any]]]:
    """Return ids, texts and metadata with every text that is too long as its passages, in order."""
    cutter = Cutter(encoder)
    tokens, overlap = default_length(getattr(encoder, "document_room", None))
    rows: list[tuple[str, str, dict[str, Any]]] = []
    for id_, text, fields, coverage in zip(ids, texts, metadata, measured.coverages, strict=True):
        pieces = cutter.cut(text, tokens, overlap) if coverage.truncated else []
        if len(pieces) < 2:
            rows.append((id_, text, dict(fields)))
            continue
        if problem := repeated_metadata_problem(characters(fields) * len(pieces)):
            raise ValueError(f"metadata of {shown_id(id_)}: {problem}")
        rows += [
            (passage_id(id_, number), text[start:end], passage_metadata(fields, id_, start, end))
            for number, (start, end) in enumerate(pieces, 1)
        ]
    return [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]
