# mypy: disable-error-code="import-not-found"
"""What a layout is: which query rows meet which document rows, in one vocabulary for every consumer.

The forward dispatch, the reference and the gradients are written once against these two classes; the modules
`padded`, `contrastive` and `packed` say how each layout fills them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Pairs:
    """Every scored pair as a range of query rows and a range of document rows.

    Rows count the tokens of the tensors flattened to [rows, D].

    Attributes:
        query_begin: [P] int64, the first query row of each pair.
        query_end: [P] int64, one past its last real query row.
        document_begin: [P] int64.
        document_end: [P] int64.
        width: query tokens the argmax has room for.
        shape: shape of the scores; its product is P.
        grid: (queries, documents each) when pair ``q * documents + d`` belongs to query ``q`` and query ``q``
            starts at row ``q * width``; None when pairs come in any order.
    """

    query_begin: Tensor
    query_end: Tensor
    document_begin: Tensor
    document_end: Tensor
    width: int
    shape: tuple[int, ...]
    grid: tuple[int, int] | None


class Layout(ABC):
    """The index tensors of one scoring call."""

    #: The scoring function this layout belongs to; the same name on every backend.
    function: ClassVar[str]

    @abstractmethod
    def indices(self) -> tuple[Tensor, ...]:
        """The index tensors, in the order of the scoring function's own arguments."""

    @abstractmethod
    def arguments(self, queries: Tensor, documents: Tensor) -> tuple[Any, ...]:
        """The scoring function's positional arguments, vectors included."""

    def options(self) -> dict[str, int]:
        """Keyword arguments only this layout has."""
        return {}

    @abstractmethod
    def check_shapes(self, queries: Tensor, documents: Tensor) -> None:
        """Raise for wrong types, ranks, shapes, dtypes and devices; reads no tensor's values."""

    @abstractmethod
    def check_values(self, queries: Tensor, documents: Tensor) -> None:
        """Raise ValueError for lengths, offsets and ids out of bounds; reads the index tensors."""

    @abstractmethod
    def pairs(self, queries: Tensor, documents: Tensor) -> Pairs:
        """Spell out the pairs; index tensors must have passed `check_values`."""
