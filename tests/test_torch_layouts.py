from __future__ import annotations

import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import numpy as np  # noqa: E402
from helpers.torch_cases import LAYOUTS, padded, reference_results  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from serotine.maxsim import torch as maxsim  # noqa: E402

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
SIZES = {"lq": st.integers(0, 9), "ld": st.integers(0, 40), "dim": st.integers(1, 50)}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), query_count=st.integers(1, 4), document_count=st.integers(1, 4), **SIZES)
def test_scores_and_argmax_match_the_float64_reference(
    layout: str, dtype: str, seed: int, query_count: int, document_count: int, lq: int, ld: int, dim: int
) -> None:
    call = LAYOUTS[layout](seed, query_count, document_count, lq, ld, dim, DTYPES[dtype])
    expected_scores, expected_winners = reference_results(call)
    scores, winners = call.run("_with_argmax")
    assert scores.dtype == torch.float32
    assert winners.dtype == torch.int32
    np.testing.assert_allclose(scores.numpy(), expected_scores, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(winners.numpy(), expected_winners)
    assert torch.equal(call.run(), scores)
    assert torch.equal(call.run("_train"), scores)


def test_a_pair_scores_the_same_in_every_layout_and_batch() -> None:
    torch.manual_seed(0)
    queries, documents = torch.randn(3, 11, 70), torch.randn(5, 33, 70)
    lengths = torch.tensor([33, 0, 1, 20, 32])
    keep = torch.arange(33) < lengths[:, None]
    packed, offsets = documents[keep], torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    grid = maxsim.score_contrastive(queries, packed, offsets)
    separate = torch.stack([maxsim.score_contrastive(query[None], packed, offsets)[0] for query in queries])
    full = torch.full((3,), 11)
    candidates = maxsim.score_candidates_padded(queries, documents.expand(3, -1, -1, -1), full, lengths.expand(3, -1))
    pairs = maxsim.score_pairs_packed(
        queries.reshape(33, 70),
        torch.arange(4) * 11,
        packed,
        offsets,
        torch.arange(3).repeat_interleave(5),
        torch.arange(5).repeat(3),
    )
    for other in (separate, candidates, pairs.reshape(3, 5)):
        assert torch.equal(grid, other)
    single_scores = [maxsim.score(query, list(documents[:, :].unbind()))[[0]] for query in queries]
    assert torch.equal(torch.cat(single_scores), grid[:, 0])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_non_contiguous_input(layout: str) -> None:
    call = LAYOUTS[layout](3, 2, 3, 5, 9, 24, torch.float32)
    expected = call.run()
    strided = tuple(torch.stack([argument, argument], dim=-1)[..., 0] for argument in call.arguments)
    assert not strided[0].is_contiguous()
    assert torch.equal(getattr(maxsim, call.function)(*strided), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_nonfinite_input_raises_unless_allowed(layout: str, poison: float) -> None:
    call = LAYOUTS[layout](1, 3, 3, 6, 12, 16, torch.float32)
    # At least one pair has a winner.
    assert reference_results(call)[1].max() >= 0
    call.queries.fill_(poison)
    with pytest.raises(ValueError, match="allow_nonfinite=True"):
        call.run()
    scores, winners = call.run("_with_argmax", allow_nonfinite=True)
    assert not scores.isnan().any()
    if poison != poison:
        assert (winners == -1).all()


def test_nonfinite_padding_is_ignored() -> None:
    call = padded(5, 2, 3, 4, 8, 16, torch.float32)
    expected = call.run()
    queries, documents, query_lengths, doc_lengths = call.arguments
    queries[torch.arange(4) >= query_lengths[:, None]] = float("nan")
    documents[torch.arange(8) >= doc_lengths[..., None]] = float("inf")
    assert torch.equal(call.run(), expected)


def test_empty_documents_and_queries() -> None:
    queries, documents = torch.ones(2, 3, 4), torch.ones(2, 2, 5, 4)
    scores = maxsim.score_candidates_padded(queries, documents, torch.tensor([3, 0]), torch.tensor([[0, 5], [0, 5]]))
    assert scores.tolist() == [[-np.inf, 12.0], [0.0, 0.0]]
    no_tokens = torch.zeros(0, 4)
    assert maxsim.score_contrastive(queries, no_tokens, torch.tensor([0])).shape == (2, 0)
    assert maxsim.score_contrastive(queries[:0], no_tokens, torch.tensor([0, 0])).shape == (0, 1)
    empty = torch.zeros(0, dtype=torch.int64)
    assert maxsim.score_pairs_packed(
        no_tokens, empty.new_zeros(1), no_tokens, empty.new_zeros(1), empty, empty
    ).shape == (0,)


Q, D = torch.zeros(2, 3, 8), torch.zeros(2, 4, 5, 8)
QL, DL = torch.tensor([3, 3]), torch.full((2, 4), 5)
P, O = torch.zeros(6, 8), torch.tensor([0, 2, 6])  # noqa: E741
IDS = torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("error", "message", "function", "arguments"),
    [
        (ValueError, r"queries: must have shape \(B, Lq, D\)", "score_candidates_padded", (P, D, QL, DL)),
        (ValueError, r"documents: must have shape .*D = 8", "score_candidates_padded", (Q, D[..., :7], QL, DL)),
        (ValueError, r"documents: must have shape \(2, C", "score_candidates_padded", (Q, D[:1], QL, DL)),
        (ValueError, r"query_lengths: must have shape \(2,\)", "score_candidates_padded", (Q, D, QL[:1], DL)),
        (
            ValueError,
            r"query_lengths: lengths .* 0 and 3, got 4 to 4",
            "score_candidates_padded",
            (Q, D, QL + 1, DL),
        ),
        (ValueError, r"doc_lengths: lengths .* got -1", "score_candidates_padded", (Q, D, QL, DL - 6)),
        (TypeError, "query_lengths: must be int32 or int64", "score_candidates_padded", (Q, D, QL.float(), DL)),
        (TypeError, "documents: must have the dtype of queries", "score_candidates_padded", (Q, D.half(), QL, DL)),
        (TypeError, "queries: must be float32", "score_candidates_padded", (Q.int(), D.int(), QL, DL)),
        (TypeError, "queries: must be a torch.Tensor", "score_candidates_padded", (Q.numpy(), D, QL, DL)),
        (RuntimeError, "device", "score_candidates_padded", (Q, D.to("meta"), QL, DL)),
        (RuntimeError, "device", "score_candidates_padded", (Q, D, QL, DL.to("meta"))),
        (RuntimeError, "got meta", "score_contrastive", (Q.to("meta"), P.to("meta"), O.to("meta"))),
        (ValueError, r"document_offsets: offsets .* 0 and 6", "score_contrastive", (Q, P, O + 1)),
        (ValueError, "document_offsets: offsets must not decrease", "score_contrastive", (Q, P, O.flip(0))),
        (ValueError, r"document_offsets: must have shape", "score_contrastive", (Q, P, O[:0])),
        (ValueError, "pair_query_ids: query numbers", "score_pairs_packed", (P, O, P, O, IDS + 1, IDS)),
        (ValueError, "pair_document_ids: document numbers", "score_pairs_packed", (P, O, P, O, IDS, IDS - 1)),
        (ValueError, r"pair_document_ids: must have shape \(2,\)", "score_pairs_packed", (P, O, P, O, IDS, IDS[:1])),
        (ValueError, "must be empty without items", "score_pairs_packed", (P[:0], O[:1], P, O, IDS, IDS)),
    ],
)
def test_invalid_arguments_raise_by_name(
    error: type[Exception], message: str, function: str, arguments: tuple[object, ...]
) -> None:
    for suffix in ("", "_with_argmax", "_train"):
        with pytest.raises(error, match=message):
            getattr(maxsim, function + suffix)(*arguments)


def test_max_q_len_sets_the_width_and_is_checked() -> None:
    _, winners = maxsim.score_pairs_packed_with_argmax(P, O, P, O, IDS, IDS, max_q_len=7)
    assert winners.shape == (2, 7)
    for max_q_len in (3, -1):
        with pytest.raises(ValueError, match="max_q_len"):
            maxsim.score_pairs_packed(P, O, P, O, IDS, IDS, max_q_len=max_q_len)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), k=st.integers(1, 12), nb=st.integers(0, 10), masked=st.booleans())
def test_top_k_is_a_stable_sort_of_the_scores(seed: int, k: int, nb: int, masked: bool) -> None:
    call = LAYOUTS["contrastive"](seed, 2, nb, 3, 2, 4, torch.float32)
    keep = torch.rand(nb, generator=torch.Generator().manual_seed(seed)) < 0.5 if masked else None
    scores = call.run()
    candidates = torch.arange(nb) if keep is None else torch.arange(nb)[keep]
    order = candidates[torch.sort(scores[:, candidates], dim=1, descending=True, stable=True).indices][:, :k]
    top_scores, numbers = maxsim.top_k(*call.arguments, k, keep=keep)
    assert torch.equal(numbers, order)
    assert torch.equal(top_scores, scores.gather(1, order))
    single_scores, single_numbers = maxsim.top_k(call.queries[0], *call.arguments[1:], k, keep=keep)
    assert torch.equal(single_numbers, numbers[0])
    assert torch.equal(single_scores, top_scores[0])


def test_top_k_rejects_an_invalid_k_and_keep() -> None:
    for k, error in ((0, ValueError), (True, TypeError), (2.0, TypeError)):
        with pytest.raises(error, match="k: must be"):
            maxsim.top_k(Q, P, O, k)
    with pytest.raises(TypeError, match="keep: must be a bool"):
        maxsim.top_k(Q, P, O, 1, keep=O)
    with pytest.raises(ValueError, match="keep: must have shape"):
        maxsim.top_k(Q, P, O, 1, keep=O > 0)


def test_score_takes_every_form_of_documents() -> None:
    torch.manual_seed(1)
    query, documents = torch.randn(4, 16), [torch.randn(n, 16) for n in (3, 0, 7)]
    scores = maxsim.score(query, documents)
    offsets = torch.tensor([0, 3, 3, 10])
    assert torch.equal(maxsim.score(query, torch.cat(documents), offsets), scores)
    assert maxsim.score(query, documents[2]) == float(scores[2])
    assert torch.equal(maxsim.score(query, torch.stack([documents[0], documents[0]])), scores[[0, 0]])
    assert torch.allclose(maxsim.score(query, [documents[0].half()]), scores[:1], atol=1e-2)
    assert maxsim.score(query, []).shape == (0,)
    with pytest.raises(ValueError, match=r"documents\[0\]: must have shape"):
        maxsim.score(query, [query[0]])
    with pytest.raises(TypeError, match=r"documents\[1\]: must be a torch.Tensor"):
        maxsim.score(query, [query, "text"])


def test_the_numpy_functions_accept_tensors() -> None:
    import serotine.maxsim as numpy_maxsim

    torch.manual_seed(2)
    queries, documents, offsets = torch.randn(2, 3, 8), torch.randn(6, 8), torch.tensor([0, 2, 6])
    assert torch.equal(
        numpy_maxsim.score_contrastive(queries, documents, offsets),
        maxsim.score_contrastive(queries, documents, offsets),
    )
    assert torch.equal(numpy_maxsim.score(queries[0], documents, offsets), maxsim.score(queries[0], documents, offsets))
    assert torch.equal(
        numpy_maxsim.top_k(queries, documents, offsets, 1)[1], maxsim.top_k(queries, documents, offsets, 1)[1]
    )


def test_importing_maxsim_imports_neither_torch_nor_triton() -> None:
    program = (
        "import sys, serotine, serotine.maxsim;"
        "sys.exit(any(name.partition('.')[0] in ('torch', 'triton') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
