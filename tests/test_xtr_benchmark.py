"""The scores of the benchmark of XTR are those of the references."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.scripts import load_script

pytest.importorskip("ir_measures")

from serotine.maxsim import reference

BENCHMARK = load_script(Path(__file__).parents[1] / "benchmarks/xtr.py", "xtr_benchmark")


@pytest.mark.parametrize("k_token", [1, 3, 9, 100])
def test_scores_are_those_of_the_references(k_token: int) -> None:
    generator = np.random.default_rng(k_token)
    query = generator.standard_normal((4, 8)).astype(np.float32)
    documents = [generator.standard_normal((tokens, 8)).astype(np.float32) for tokens in (3, 1, 5, 2)]
    offsets = np.cumsum([0, *map(len, documents)])
    similarities = query @ np.concatenate(documents).T
    owners = np.repeat(np.arange(4), np.diff(offsets))
    scores = BENCHMARK.imputed(similarities, owners, 4, k_token)
    found = np.isfinite(scores)
    expected = reference.xtr(query, documents, min(k_token, 11), impute=True) * len(query)
    assert found.any()
    np.testing.assert_allclose(scores[found], expected[found], rtol=1e-5)
    best = BENCHMARK.best_tokens(similarities, offsets)
    np.testing.assert_allclose(best, [reference.score(query, document) for document in documents], rtol=1e-5)
