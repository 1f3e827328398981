"""Teachers: models whose scores or vectors another model learns from."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from serotine import maxsim
from serotine.encoders import Encoder, locate
from serotine.errors import TrainingError, missing_extra, reason
from serotine.issued_warnings import muted_warnings


class Teacher(Protocol):
    """A model that scores lists of documents."""

    def score(self, queries: Sequence[str], documents: Sequence[Sequence[str]]) -> list[list[float]]:
        """Return one score per document of every query; higher is better."""


class LateInteractionTeacher:
    """MaxSim of an encoder, late interaction or dense (zero-shot).

    Args:
        encoder: such as `serotine.Encoder()`.
    """

    def __init__(self, encoder: Any) -> None:
        self._encoder = encoder

    def score(self, queries: Sequence[str], documents: Sequence[Sequence[str]]) -> list[list[float]]:
        """Return the MaxSim of every document; a document of several queries is encoded once."""
        positions: dict[str, int] = {}
        for texts in documents:
            for text in texts:
                positions.setdefault(text, len(positions))
        # A teacher truncates as its student does.
        with muted_warnings():
            document_vectors: list[NDArray[np.float32]] = self._encoder.encode_documents(list(positions))
            query_vectors: list[NDArray[np.float32]] = self._encoder.encode_queries(list(queries))
        return [
            [float(score) for score in maxsim.score(query, [document_vectors[positions[text]] for text in texts])]
            for query, texts in zip(query_vectors, documents, strict=True)
        ]


class CrossEncoderTeacher:
    """Scores of a cross-encoder, which reads query and document together.

    Args:
        name: hub id or folder of a sentence-transformers `CrossEncoder` with one score.

    Raises:
        TrainingError: it cannot be loaded, or returns more than one score.
    """

    def __init__(self, name: str) -> None:
        try:
            from sentence_transformers import CrossEncoder
        except ImportError:
            raise TrainingError(missing_extra("a cross-encoder", "train")) from None
        folder = locate(name).folder
        try:
            self._model = CrossEncoder(str(folder), local_files_only=True)
        except (OSError, ValueError) as error:
            raise TrainingError(f"{name}: not a cross-encoder ({reason(error)})") from None
        if self._model.num_labels != 1:
            raise TrainingError(
                f"{name}: must return 1 score per pair, got {self._model.num_labels}; choose another cross-encoder"
            )

    def score(self, queries: Sequence[str], documents: Sequence[Sequence[str]]) -> list[list[float]]:
        """Return the cross-encoder's raw scores."""
        pairs = [(query, text) for query, texts in zip(queries, documents, strict=True) for text in texts]
        flat = iter(self._model.predict(pairs, show_progress_bar=False).tolist() if pairs else [])
        return [[float(next(flat)) for _ in texts] for texts in documents]


def load_encoder(name: str | None, *, num_threads: int | None = None) -> Encoder:
    """Load an encoder without the warning about zero-shot use of a dense one, which is intended here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Encoder(name, num_threads=num_threads)
