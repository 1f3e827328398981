"""Models that score a question's documents, better than the one in training does."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from serotine import maxsim
from serotine.encoders import Encoder
from serotine.encoders.location import locate
from serotine.errors import TrainingError
from serotine.evaluation import VectorCache, VectorLookup
from serotine.progress import progress_bar


class Teacher(Protocol):
    """Scores lists of documents."""

    def score(self, queries: Sequence[str], documents: Sequence[Sequence[str]]) -> list[list[float]]:
        """One score for every document of every query; higher is better."""


class LateTeacher:
    """A late-interaction encoder, or a dense one used so zero-shot.

    Args:
        encoder: as `serotine.Encoder` makes it.
    """

    def __init__(self, encoder: Any) -> None:
        self._encoder = encoder

    def score(self, queries: Sequence[str], documents: Sequence[Sequence[str]]) -> list[list[float]]:
        """MaxSim; a document that several queries have is encoded once."""
        places: dict[str, int] = {}
        for texts in documents:
            for text in texts:
                places.setdefault(text, len(places))
        vectors: list[NDArray[np.float32]] = self._encoder.encode_documents(list(places))
        questions: list[NDArray[np.float32]] = self._encoder.encode_queries(list(queries))
        return [
            [float(one) for one in maxsim.score(question, [vectors[places[text]] for text in texts])]
            for question, texts in zip(questions, documents, strict=True)
        ]


class CrossTeacher:
    """A cross-encoder: question and document read together.

    Args:
        name: a hub id, or the folder of a sentence-transformers `CrossEncoder` with one score.

    Raises:
        TrainingError: it cannot be loaded, or gives more than one score.
    """

    def __init__(self, name: str) -> None:
        try:
            from sentence_transformers import CrossEncoder
        except ImportError:
            raise TrainingError(
                "a cross-encoder needs sentence-transformers; run: pip install 'serotine[train]'"
            ) from None
        found = locate(name)
        try:
            self._model = CrossEncoder(str(found.folder), local_files_only=True)
        except (OSError, ValueError) as error:
            raise TrainingError(f"{name}: is no cross-encoder ({str(error).splitlines()[0]})") from None
        if self._model.num_labels != 1:
            raise TrainingError(f"{name}: gives {self._model.num_labels} scores a pair; want a cross-encoder with one")

    def score(self, queries: Sequence[str], documents: Sequence[Sequence[str]]) -> list[list[float]]:
        """Its scores, as they are."""
        pairs = [(query, text) for query, texts in zip(queries, documents, strict=True) for text in texts]
        flat = iter(self._model.predict(pairs, show_progress_bar=False).tolist() if pairs else [])
        return [[float(next(flat)) for _ in texts] for texts in documents]


def load_encoder(name: str | None) -> Encoder:
    """An encoder, without the warning that a dense one is used zero-shot: here that is meant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Encoder(name)


def teacher_vectors(
    encoder: Any, texts: Sequence[str], folder: Path, *, query: bool, show_progress: bool = False
) -> VectorLookup:
    """Return an encoder's token vectors by text, float32 (tokens, dim), stored in `folder` as float16.

    Args:
        encoder: the teacher, such as `serotine.Encoder()`.
        texts: what to encode; repeated texts are encoded once.
        folder: where the vectors are stored; those already there are read instead of computed.
        query: whether the texts are queries.
        show_progress: draw a bar on standard error.
    """
    encode = encoder.encode_queries if query else encoder.encode_documents
    # By length: texts that are encoded together need little padding.
    unique = sorted(set(texts), key=lambda text: (len(text), text))
    cache = VectorCache(
        folder,
        lambda batch: [vectors.astype(np.float16) for vectors in encode(batch)],
        f"teacher {encoder.fingerprint} {'queries' if query else 'documents'}",
    )
    with progress_bar(len(unique), "Teacher", enabled=show_progress) as advance:
        return cache.lookup(unique, advance)
