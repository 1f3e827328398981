"""What a caller may ask of a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, get_args

import numpy as np

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

    def __post_init__(self) -> None:
        # SQLite and the core take Python integers only.
        object.__setattr__(self, "k", _count("k", self.k))
        if self.candidates is not None:
            object.__setattr__(self, "candidates", _count("candidates", self.candidates))
        if self.mode not in get_args(Mode):
            raise ValueError(f"mode: must be one of {', '.join(get_args(Mode))}, got {self.mode!r}")
        if self.fusion not in get_args(Fusion):
            raise ValueError(f"fusion: must be one of {', '.join(get_args(Fusion))}, got {self.fusion!r}")
        if self.exact and self.mode != "late":
            raise ValueError(f'exact: needs mode="late", got mode={self.mode!r}; drop one of the two')
        if self.where is not None and not isinstance(self.where, Mapping):
            raise TypeError(f"where: must be a dict such as {{'lang': 'en'}}, got {type(self.where).__name__}")
        weights = self.weights
        if len(weights) != 2 or any(not np.isfinite(w) or w < 0 for w in weights) or not any(weights):
            raise ValueError(f"weights: must be two numbers of at least 0, not both 0, got {weights}")


class SearchKeywords(TypedDict, total=False):
    """`SearchOptions` as keyword arguments, for methods that pass them through."""

    where: Mapping[str, Any] | None
    mode: Mode
    exact: bool
    fusion: Fusion
    weights: tuple[float, float]
    candidates: int | None


def _count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: must be an int of at least 1, got {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{name}: must be at least 1, got {value}")
    return int(value)
