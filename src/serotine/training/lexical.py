"""BM25 scores of given documents, to be mixed into a teacher's scores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from serotine.evaluation import BM25


class LexicalScorer:
    """BM25 over a fixed set of documents.

    Args:
        documents: the texts that term frequencies are counted over; repeated texts count once.
    """

    def __init__(self, documents: Iterable[str]) -> None:
        self._positions = {text: position for position, text in enumerate(dict.fromkeys(documents))}
        self._bm25 = BM25({str(position): text for text, position in self._positions.items()})

    def scores(self, query: str, documents: Sequence[str]) -> NDArray[np.float32]:
        """Return the (documents,) scores of some of the documents; 0 for one that shares no term with the query."""
        return self._bm25.scores(query)[[self._positions[text] for text in documents]]
