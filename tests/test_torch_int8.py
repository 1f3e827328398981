"""int8 tensors with scales give the scores and winners of NumPy arrays."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from serotine import maxsim  # noqa: E402 - after the skip

RNG = np.random.default_rng(0)
QUERY, QUERY_SCALES = maxsim.quantize(RNG.standard_normal((3, 9, 40)))
DOCUMENTS, SCALES = maxsim.quantize(RNG.standard_normal((50, 40)))
OFFSETS = np.array([0, 20, 20, 50])


def test_every_layout_equals_numpy() -> None:
    q, qs, d, s = (torch.from_numpy(x) for x in (QUERY, QUERY_SCALES, DOCUMENTS, SCALES))
    offsets = torch.from_numpy(OFFSETS)
    expected, winners = maxsim.score_contrastive_with_argmax(
        QUERY, DOCUMENTS, OFFSETS, query_scales=QUERY_SCALES, document_scales=SCALES
    )
    scores, torch_winners = maxsim.score_contrastive_with_argmax(q, d, offsets, query_scales=qs, document_scales=s)
    assert isinstance(scores, torch.Tensor)
    assert np.array_equal(scores.numpy(), expected)
    assert np.array_equal(torch_winners.numpy(), winners)
    scores = maxsim.score(q[0], [d[:20], d[20:20], d[20:]], query_scales=qs[0], document_scales=[s[:20], s[:0], s[20:]])
    assert np.array_equal(scores.numpy(), expected[0])
    top_scores, numbers = maxsim.top_k(q, d, offsets, 2, query_scales=qs, document_scales=s)
    assert numbers.tolist() == [sorted(range(3), key=lambda i: -row[i])[:2] for row in expected]
    assert np.array_equal(top_scores[:, 0].numpy(), expected.max(axis=1))


def test_only_int8_has_scales() -> None:
    q = torch.randn(3, 9, 40)
    with pytest.raises(TypeError, match="only int8 queries have scales"):
        maxsim.score_contrastive(q, torch.randn(50, 40), torch.from_numpy(OFFSETS), query_scales=torch.ones(3, 9))
    with pytest.raises(TypeError, match="only int8 tokens have scales, got bfloat16"):
        maxsim.score(q[0].bfloat16(), [q[1].bfloat16()], query_scales=torch.ones(9))
