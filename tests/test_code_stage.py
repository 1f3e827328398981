"""The code stage: documents scored over what their codes rebuild, alike on every instruction set."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.core_cases import CoreCase, search
from hypothesis import given, settings
from hypothesis import strategies as st

from serotine import maxsim

PATHS = maxsim.capabilities().supported
# Rows of codes that are whole registers of 32 or 16 bytes, that end within one, and that are shorter.
DIMS = (4, 20, 32, 44, 48, 64, 68, 72, 96, 100, 126, 128, 132, 160, 192, 200, 384)


def code_scores(case: CoreCase, path: str) -> dict[int, float]:
    """Return the score of every document that has tokens."""
    documents = len(case.documents)
    maxsim.use(path)
    try:
        scores, numbers, report = search(
            case.segments, case.query, documents, candidates=documents, refined=documents, rescored=documents
        )
    finally:
        maxsim.use("auto")
    assert report.direct
    return {number: score for number, score in zip(numbers, scores, strict=True) if np.isfinite(score)}


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("dim", DIMS)
def test_every_path_scores_codes_alike(dim: int, bits: int) -> None:
    case = CoreCase([3, 40, 1, 0, 17, 12, 13, 25], dim, "unit", dim + bits, coded="codes", bits=bits, query_tokens=19)
    expected = code_scores(case, "portable")
    assert len(expected) == 7
    for path in PATHS:
        assert code_scores(case, path) == pytest.approx(expected, rel=1e-5, abs=1e-5)


@given(
    lengths=st.lists(st.integers(0, 30), min_size=3, max_size=12),
    dim=st.integers(1, 260),
    bits=st.sampled_from([2, 4, 8]),
    query_tokens=st.integers(1, 40),
    seed=st.integers(0, 20),
    path=st.sampled_from(PATHS),
)
@settings(max_examples=150, deadline=None)
def test_any_dimension_scores_alike(
    lengths: list[int], dim: int, bits: int, query_tokens: int, seed: int, path: str
) -> None:
    case = CoreCase(lengths, dim, "unit", seed, coded="codes", bits=bits, query_tokens=query_tokens)
    assert code_scores(case, path) == pytest.approx(code_scores(case, "portable"), rel=1e-5, abs=1e-5)
