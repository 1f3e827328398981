"""What teachers know of texts: their token vectors, encoded as batches draw the texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from serotine.evaluation import VectorStore
from serotine.issued_warnings import muted_warnings

Vectors = Callable[[Sequence[str]], list[NDArray[np.float32]]]
"""Returns the token vectors, (tokens, dim) float32, of every text."""


@dataclass(frozen=True, slots=True)
class TeacherVectors:
    """What one teacher knows of a stage's texts.

    Attributes:
        queries, documents: return its token vectors of the texts that it reads.
        weight: of its scores relative to those of other teachers.
    """

    queries: Vectors
    documents: Vectors
    weight: float = 1.0


def teacher_vectors(encoder: Any, folder: Path, *, query: bool, bfloat16: bool = False) -> Vectors:
    """Return a function from texts to an encoder's token vectors.

    A text is encoded when it is first asked for: a stage may draw few of its examples, and many may share a text.

    Args:
        encoder: the teacher, such as `serotine.Encoder()`.
        folder: where vectors are stored as float16; those already there are read instead of computed.
        query: whether the texts are queries.
        bfloat16: whether a model on torch computes its products in bfloat16, as the student does.
    """
    encode_side = encoder.encode_queries if query else encoder.encode_documents
    device = "cuda" if torch.cuda.is_available() else "cpu"

    def encode(texts: Sequence[str]) -> list[NDArray[np.float32]]:
        # A teacher truncates as its student does. Steps run within the trainer's own autocast.
        with muted_warnings(), torch.autocast(device, torch.bfloat16, enabled=bfloat16):
            vectors: list[NDArray[np.float32]] = encode_side(texts)
        return vectors

    side, precision = "queries" if query else "documents", " bfloat16" if bfloat16 else ""
    return VectorStore(folder, encode, f"teacher {encoder.fingerprint} {side}{precision}").vectors
