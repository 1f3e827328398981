"""The options of a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, get_args

import numpy as np

from serotine.errors import invalid, not_one_of, wrong_type

Mode = Literal["late", "bm25", "hybrid"]
Fusion = Literal["rrf", "sum"]


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """The options of one search, validated when they are built.

    Attributes:
        k: number of hits.
        where: filter on metadata, or None for every document.
        mode: which rankings: "late", "bm25" or "hybrid".
        exact: whether to prove the answer.
        fusion: how "hybrid" joins its two rankings.
        weights: of the late and the lexical ranking.
        candidates: documents scored over their residual codes, or None to derive it from `k`.
        offset: number of the best hits to skip: the k after them are returned.

    Raises:
        TypeError, ValueError: names the option.
    """

    k: int = 10
    where: Mapping[str, Any] | None = None
    mode: Mode = "late"
    exact: bool = False
    fusion: Fusion = "rrf"
    weights: tuple[float, float] = (1.0, 1.0)
    candidates: int | None = None
    offset: int = 0

    @property
    def depth(self) -> int:
        """Number of hits to rank: those returned and those skipped."""
        return self.k + self.offset

    def __post_init__(self) -> None:
        # SQLite and the core take Python integers only.
        object.__setattr__(self, "k", _count("k", self.k))
        object.__setattr__(self, "offset", _count("offset", self.offset, lowest=0))
        if self.candidates is not None:
            object.__setattr__(self, "candidates", _count("candidates", self.candidates))
        if self.mode not in get_args(Mode):
            raise not_one_of("mode", get_args(Mode), self.mode)
        if self.fusion not in get_args(Fusion):
            raise not_one_of("fusion", get_args(Fusion), self.fusion)
        if self.exact and self.mode != "late":
            raise ValueError(f'exact: needs mode="late", got mode={self.mode!r}; drop one of the two')
        if self.where is not None and not isinstance(self.where, Mapping):
            raise wrong_type("where", "a dict such as {'lang': 'en'}", self.where)
        weights = self.weights
        if len(weights) != 2 or any(not np.isfinite(w) or w < 0 for w in weights) or not any(weights):
            raise invalid("weights", "two numbers of at least 0, not both 0", weights)


class SearchKeywords(TypedDict, total=False):
    """`SearchOptions` as keyword arguments, for methods that pass them through."""

    where: Mapping[str, Any] | None
    mode: Mode
    exact: bool
    fusion: Fusion
    weights: tuple[float, float]
    candidates: int | None
    offset: int


def _count(name: str, value: object, lowest: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise wrong_type(name, f"an int of at least {lowest}", value)
    if value < lowest:
        raise invalid(name, f"at least {lowest}", value)
    return int(value)
