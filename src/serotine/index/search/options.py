"""The options of a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypedDict, cast, get_args

import numpy as np

from serotine.errors import check_flags, invalid, not_one_of, wrong_type
from serotine.wording import worded

Mode = Literal["late", "bm25", "hybrid", "xtr", "pooled"]
FirstStage = Literal["tokens", "pooled"]
Fusion = Literal["rrf", "sum"]
GroupBy = Literal["document"]

_DEFAULT_FUSION: Fusion = "rrf"
# The share of the exact hits that a search is to find, unless it says otherwise.
DEFAULT_RECALL = 0.99
# Tokens that a query token retrieves in mode "xtr", unless the search says otherwise: with 100, three of five
# collections lose several points of nDCG@10 (benchmarks/xtr.py).
_DEFAULT_K_TOKEN = 1_000
# Of MaxSim per query token and of the pooled vectors in mode "pooled", unless the search or the index has others: what
# development queries chose for serotine-mini and all-MiniLM-L6-v2 (benchmarks/pooled.py).
DEFAULT_POOLED_WEIGHTS = (1.0, 0.1)
# More documents than an index can have; their sums and multiples fit the core's 64 bits.
_MAX_COUNT = 2**40
# Scores times larger ones could overflow; only their ratio orders hits.
_MAX_WEIGHT = 1_000_000_000


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """The options of one search, validated when they are built.

    Attributes:
        k: number of hits.
        where: filter on metadata, or None for every document.
        mode: which rankings: "late", "bm25", "hybrid", "xtr" or "pooled".
        exact: whether to prove the answer.
        fusion: how "hybrid", and "late" where it becomes that, joins its two rankings.
        weights: of the late and the lexical ranking in mode "hybrid"; None for equal ones, except where the encoder
            does not know the query or what it finds: the late ranking then has the weight of what is known. In mode
            "pooled" of MaxSim per query token and of the pooled vectors; None for those recorded in the index, or
            `DEFAULT_POOLED_WEIGHTS`.
        candidates: documents scored over their residual codes, or None for as many as `recall` needs. In mode "pooled"
            those that each first stage contributes, or None for as many as the best need.
        offset: number of the best hits to skip: the k after them are returned.
        min_score: lowest `Hit.score_per_token` of a hit, or None for any.
        group_by: "document" for one hit per document, its best passage; None for every passage.
        recall: share of the exact hits to find; None for 0.99, unless `candidates` or `exact` decides.
        k_token: tokens that every query token retrieves in mode "xtr"; None for 1,000, or more where the hits are more.
        first_stage: where mode "pooled" takes candidates from: the late search of "tokens", the "pooled" vectors, or
            None for both.

    Raises:
        TypeError, ValueError: names the option.
    """

    k: int = 10
    where: Mapping[str, Any] | None = None
    mode: Mode = "late"
    exact: bool = False
    fusion: Fusion = _DEFAULT_FUSION
    weights: tuple[float, float] | None = None
    candidates: int | None = None
    offset: int = 0
    min_score: float | None = None
    group_by: GroupBy | None = None
    recall: float | None = None
    k_token: int | None = None
    first_stage: FirstStage | None = None

    @property
    def depth(self) -> int:
        """Number of hits to rank: those returned and those skipped."""
        return self.k + self.offset

    def retrieved_tokens(self, depth: int) -> int:
        """Return how many tokens a query token retrieves in mode "xtr" to rank `depth` documents."""
        return max(self.k_token or _DEFAULT_K_TOKEN, depth)

    def keywords(self, **replaced: Any) -> SearchKeywords:
        """Return the options other than `k` as keyword arguments of `Index.search`, some of them replaced."""
        names = SearchKeywords.__annotations__
        return cast("SearchKeywords", {**{name: getattr(self, name) for name in names}, **replaced})

    def first_page_by_maxsim(self) -> SearchOptions:
        """Return the options of the first page by MaxSim alone; in mode "xtr" by its own scores."""
        mode: Mode = "xtr" if self.mode == "xtr" else "late"
        return replace(self, mode=mode, offset=0, exact=False, fusion=_DEFAULT_FUSION, weights=None, first_stage=None)

    def of_late_stage(self) -> SearchOptions:
        """Return the options of the late ranking in mode "pooled"; in other modes these."""
        if self.mode != "pooled":
            return self
        return replace(self, mode="late", weights=None, candidates=None, first_stage=None)

    def __post_init__(self) -> None:
        # SQLite and the core take Python integers only.
        object.__setattr__(self, "k", _count("k", self.k))
        object.__setattr__(self, "offset", _count("offset", self.offset, lowest=0))
        if self.mode not in get_args(Mode):
            raise not_one_of("mode", get_args(Mode), self.mode)
        if self.fusion not in get_args(Fusion):
            raise not_one_of("fusion", get_args(Fusion), self.fusion)
        check_flags(exact=self.exact)
        object.__setattr__(self, "exact", bool(self.exact))
        if self.exact and self.mode not in ("late", "pooled"):
            raise _needs_mode("exact", ("late", "pooled"), self.mode)
        self._validate_first_stage()
        if self.candidates is not None:
            self._validate_candidates(self.candidates)
        if self.group_by not in (None, *get_args(GroupBy)):
            raise not_one_of("group_by", (None, *get_args(GroupBy)), self.group_by)
        if self.min_score is not None:
            object.__setattr__(self, "min_score", _number("min_score", self.min_score))
            if self.mode == "bm25":
                raise _needs_mode("min_score", ("late", "hybrid"), self.mode, ", whose scores have no fixed scale")
        if self.recall is not None:
            object.__setattr__(self, "recall", _number("recall", self.recall))
            self._validate_recall(self.recall)
        self._validate_xtr()
        if self.where is not None and not isinstance(self.where, Mapping):
            raise wrong_type("where", "a dict such as {'lang': 'en'}", self.where)
        self._validate_fusion()

    def _validate_fusion(self) -> None:
        if self.weights is not None:
            object.__setattr__(self, "weights", checked_weights(self.weights))
            if self.mode not in ("hybrid", "pooled"):
                raise _needs_mode("weights", ("hybrid", "pooled"), self.mode)
        # Mode "late" becomes "hybrid" where the encoder does not know the query.
        if self.fusion != _DEFAULT_FUSION and self.mode in ("bm25", "xtr", "pooled"):
            raise _needs_mode("fusion", ("late", "hybrid"), self.mode)

    def _validate_candidates(self, candidates: int) -> None:
        object.__setattr__(self, "candidates", _count("candidates", candidates))
        if self.mode in ("bm25", "xtr"):
            raise _needs_mode("candidates", ("late", "hybrid", "pooled"), self.mode)
        if self.exact:
            raise _exclusive("candidates", "exact", True)

    def _validate_xtr(self) -> None:
        if self.k_token is None:
            return
        object.__setattr__(self, "k_token", _count("k_token", self.k_token))
        if self.mode != "xtr":
            # Said of every index: over HTTP, it is not known yet which one is searched.
            raise _needs_mode("k_token", ("xtr",), self.mode, ", and an index without shards")
        if self.k_token < self.depth:
            names = (
                worded("k + offset", http="k + offset", command="-k + --offset")
                if self.offset
                else worded("k", http="k", command="-k")
            )
            raise ValueError(f"k_token: must be at least {names} ({self.depth}), got {self.k_token}; raise it")

    def _validate_first_stage(self) -> None:
        if self.first_stage is None:
            return
        if self.first_stage not in get_args(FirstStage):
            raise not_one_of("first_stage", (*get_args(FirstStage), None), self.first_stage)
        if self.mode != "pooled":
            raise _needs_mode("first_stage", ("pooled",), self.mode)
        if self.exact:
            raise _exclusive("first_stage", "exact", True)

    def _validate_recall(self, recall: float) -> None:
        if not 0 < recall <= 1:
            raise invalid("recall", "above 0 and at most 1", recall)
        for name, value in (("exact", self.exact), ("candidates", self.candidates)):
            if value:
                raise _exclusive("recall", name, value)
        if self.mode in ("bm25", "xtr"):
            raise _needs_mode("recall", ("late", "hybrid", "pooled"), self.mode)
        if self.first_stage == "pooled":
            raise ValueError(
                "recall: is of the late search, which the first stage 'pooled' leaves out; drop one of the two"
            )


def checked_weights(weights: object) -> tuple[float, float]:
    """Return `weights` as a pair; raise TypeError or ValueError unless they are two numbers that can be weights."""
    pair = list(weights) if isinstance(weights, (list, tuple, np.ndarray)) else []
    numbers = [_number("weights", weight) for weight in pair]
    if len(numbers) != 2 or min(numbers) < 0 or not any(numbers):
        raise invalid("weights", "two numbers of at least 0, not both 0", weights)
    if max(numbers) > _MAX_WEIGHT:
        raise invalid("weights", f"at most {_MAX_WEIGHT:,}", weights)
    return numbers[0], numbers[1]


class SearchKeywords(TypedDict, total=False):
    """`SearchOptions` as keyword arguments, for methods that pass them through."""

    where: Mapping[str, Any] | None
    mode: Mode
    exact: bool
    fusion: Fusion
    weights: tuple[float, float] | None
    candidates: int | None
    offset: int
    min_score: float | None
    group_by: GroupBy | None
    recall: float | None
    k_token: int | None
    first_stage: FirstStage | None


def _exclusive(option: str, other: str, value: object) -> ValueError:
    named = worded(other, http=other, command=f"--{other}")
    given = worded(f"{other}={value}", http="both", command="both")
    return ValueError(f"{option}: cannot be used with {named}, got {given}; drop one of the two")


def _needs_mode(name: str, modes: Sequence[str], mode: str, why: str = "") -> ValueError:
    needed = worded(
        f"mode={' or '.join(_quoted(mode) for mode in modes)}, got mode={mode!r}",
        http=f"the mode {' or '.join(_quoted(mode) for mode in modes)}, got {_quoted(mode)}",
        command=f"--mode {' or '.join(modes)}, got --mode {mode}",
    )
    # Dropping the mode would leave "late".
    fix = "drop one of the two" if "late" in modes else "drop it"
    return ValueError(f"{name}: needs {needed}{why}; {fix}")


def _quoted(mode: str) -> str:
    return f'"{mode}"'


def _count(name: str, value: object, lowest: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise wrong_type(name, f"an int of at least {lowest}", value)
    if value < lowest:
        raise invalid(name, f"at least {lowest}", value)
    if value > _MAX_COUNT:
        raise invalid(name, f"at most {_MAX_COUNT:,}", value)
    return int(value)


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise wrong_type(name, "a number", value)
    try:
        number = float(value)
    except OverflowError:
        number = np.inf
    if not np.isfinite(number):
        raise invalid(name, "finite", value)
    return number
