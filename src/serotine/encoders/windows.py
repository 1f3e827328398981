"""Texts tokenized window by window, ahead of the model."""

from __future__ import annotations

from collections.abc import Iterator

from serotine.ahead import computed_ahead
from serotine.coverage import CoverageReport, count_texts
from serotine.encoders.spec import Side
from serotine.encoders.tokenization import TextTokenizer, Tokens

# Texts that are tokenized at once and sorted by length: little padding, and few enough tokens in memory.
_TEXTS = 1024

Window = tuple[int, list[Tokens]]


def tokenized_windows(
    tokenizer: TextTokenizer, texts: list[str], side: Side, report: CoverageReport | None, *, query: bool
) -> Iterator[Window]:
    """Yield the tokens of the next texts, with the number of the first.

    The next window is tokenized on another thread while the caller computes.

    Args:
        tokenizer: of the encoder.
        texts: all texts.
        side: the tokenization rules.
        report: what counts the texts; complete when the last window is yielded.
        query: whether they are queries, for the report.
    """

    def windows() -> Iterator[Window]:
        for first in range(0, len(texts), _TEXTS):
            window = texts[first : first + _TEXTS]
            if report is None:
                yield first, tokenizer.encode(window, side)
                continue
            tokens, coverages = tokenizer.encode_and_measure(window, side)
            count_texts(report, window, coverages, query=query)
            yield first, tokens

    return computed_ahead(windows()) if len(texts) > _TEXTS else windows()
