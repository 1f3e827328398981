"""Layouts: which query rows are scored with which document rows, in one form for all backends.

The forward dispatch, the reference and the gradients read these two classes; the modules `padded`, `contrastive`
and `packed` implement them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Pairs:
    """Queries and documents as ranges of rows, and the pairs to score.

    Rows count the tokens of a tensor flattened to [rows, D].

    Attributes:
        query_begin: [queries] int64, the first row of each query.
        query_end: [queries] int64, one past its last real row.
        document_begin: [documents] int64.
        document_end: [documents] int64.
        queries: [P] int64, the query of each pair.
        documents: [P] int64, the document of each pair.
        shape: shape of the scores; its product is P. Where it has two sizes, the pairs are ordered by query, the same
            number for each, and query q starts at row ``q * width``.
        width: query tokens of the argmax.
        complete: whether the pairs are every query with every document, in row-major order.
    """

    query_begin: Tensor
    query_end: Tensor
    document_begin: Tensor
    document_end: Tensor
    queries: Tensor
    documents: Tensor
    shape: tuple[int, ...]
    width: int
    complete: bool = False


class Layout(ABC):
    """Index tensors of one scoring call."""

    #: Name of the scoring function of this layout, the same on every backend.
    function: ClassVar[str]

    @abstractmethod
    def arguments(self, queries: Tensor, documents: Tensor) -> tuple[Any, ...]:
        """Return the positional arguments of the scoring function, vectors included."""

    def options(self) -> dict[str, int]:
        """Return the keyword arguments that only this layout has."""
        return {}

    @abstractmethod
    def check_shapes(self, queries: Tensor, documents: Tensor) -> None:
        """Raise for wrong types, ranks, shapes, dtypes and devices; reads no tensor's values."""

    @abstractmethod
    def check_values(self, queries: Tensor, documents: Tensor) -> None:
        """Raise ValueError for lengths, offsets and ids out of bounds; reads the index tensors."""

    @abstractmethod
    def pairs(self, queries: Tensor, documents: Tensor) -> Pairs:
        """Return the pairs; index tensors must have passed `check_values`."""
