"""PyLate's XTR, and its index names beside PLAID: one index, exact tokens, scores as the reference has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from helpers import checkpoints  # noqa: E402

from serotine import Index  # noqa: E402
from serotine.errors import IndexExistsError  # noqa: E402
from serotine.integrations.pylate import (  # noqa: E402
    IgnoredParameterWarning,
    indexes,
    losses,
    models,
    rank,
    retrieve,
    scores,
)
from serotine.integrations.pylate.indexes import token_hits  # noqa: E402
from serotine.maxsim import reference  # noqa: E402

SAME = "opens the same index as indexes.PLAID"


def vectors(seed: int, *lengths: int) -> list[np.ndarray]:
    """Return token vectors that float16 holds exactly, with equal ones among them."""
    generator = np.random.default_rng(seed)
    return [generator.integers(-3, 4, (length, 8)).astype(np.float32) for length in lengths]


DOCUMENTS = dict(zip(["a", "b", 7, "d", "e"], vectors(1, 3, 6, 1, 9, 4), strict=True))
QUERIES = vectors(2, 5, 1, 3)


def opened(name: str, folder: Path, **options: Any) -> Any:
    with pytest.warns(IgnoredParameterWarning, match=SAME):
        return getattr(indexes, name)(index_folder=str(folder), index_name="bats", **options)


@pytest.fixture(params=["Voyager", "ScaNN"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    opened_index = opened(request.param, tmp_path)
    return opened_index.add_documents(list(DOCUMENTS), list(DOCUMENTS.values()))


def scaled(rows: np.ndarray, index: object) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True) if isinstance(index, indexes.Voyager) else rows


@pytest.mark.parametrize("k", [1, 4, 100])
def test_tokens_are_the_exact_ones(index: Any, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_hits, "_TOKENS_AT_ONCE", 7)
    matches = index(QUERIES, k=k)
    owners = np.repeat(np.array(list(DOCUMENTS), dtype=object), [len(rows) for rows in DOCUMENTS.values()])
    stored = scaled(np.concatenate(list(DOCUMENTS.values())), index)
    for query, ids, distances in zip(QUERIES, matches["documents_ids"], matches["distances"], strict=True):
        assert len(ids) == len(distances) == len(query)
        for row, token_ids, token_distances in zip(scaled(query, index) @ stored.T, ids, distances, strict=True):
            if isinstance(index, indexes.Voyager):
                # Cosines that are equal may differ in their last bits.
                np.testing.assert_allclose(token_distances, np.sort(1 - row)[:k], atol=1e-5)
            else:
                order = np.argsort(-row, kind="stable")[:k]
                assert list(token_ids) == list(owners[order]), "ties go to the earlier document"
                np.testing.assert_array_equal(token_distances, row[order])


def test_xtr_equals_the_reference(index: Any) -> None:
    for k_token in (5, 12, 1000):
        results = retrieve.XTR(index).retrieve(QUERIES, k=5, k_token=k_token, batch_size=2)
        for query, hits in zip(QUERIES, results, strict=True):
            documents = [scaled(rows, index) for rows in DOCUMENTS.values()]
            means = reference.xtr(scaled(query, index), documents, k_token, impute=True)
            expected = dict(zip(DOCUMENTS, means * len(query), strict=True))
            assert [hit["score"] for hit in hits] == pytest.approx([expected[hit["id"]] for hit in hits], abs=1e-4)
            assert sorted(hits, key=lambda hit: -hit["score"]) == hits
            if k_token == 1000:
                assert {hit["id"] for hit in hits} == set(DOCUMENTS)
    single = retrieve.XTR(index).retrieve(torch.from_numpy(QUERIES[0]), device="cpu")
    assert single == retrieve.XTR(index).retrieve(QUERIES[:1], k=10, k_token=10_000)
    assert retrieve.XTR(index).retrieve([]) == []


def test_every_name_opens_one_index(index: Any, tmp_path: Path) -> None:
    names = ["PLAID", "WARP", "Tachiom", "Voyager", "ScaNN"]
    plaid = indexes.PLAID(str(tmp_path), "bats", show_progress=False)
    expected = plaid(QUERIES, k=3)
    for name in names[1:]:
        other = opened(name, tmp_path)
        assert retrieve.ColBERT(other).retrieve(QUERIES, k=3) == expected
        assert retrieve.ColBERT(other).retrieve(QUERIES, subset=["a", 7]) == plaid(QUERIES, subset=["a", 7])
        if other.is_end_to_end_index:
            assert other(QUERIES, k=3) == expected
            assert retrieve.XTR(other).retrieve(QUERIES, k=3) == expected
    assert [getattr(indexes, name).is_end_to_end_index for name in names] == [True, True, True, False, False]
    index.remove_documents(["b"])
    index.add_documents(["f"], [DOCUMENTS["b"]])
    assert {hit["id"] for hit in plaid(QUERIES)[0]} == {"a", 7, "d", "e", "f"}
    with Index.open(tmp_path / "bats", read_only=True) as engine:
        assert len(engine) == 5
    (found,) = index.get_documents_embeddings([["f", 7]])
    for computed, rows in zip(found, (DOCUMENTS["b"], DOCUMENTS[7]), strict=True):
        np.testing.assert_array_equal(computed, rows)


@pytest.mark.parametrize(
    ("name", "options", "ignored"),
    [
        ("Voyager", {}, ""),
        ("Voyager", {"M": 12, "embedding_size": 48}, "embedding_size (the first documents give the dimension), M ("),
        ("ScaNN", {"num_leaves": 2000, "use_autopilot": True}, "num_leaves (there is no tree), use_autopilot ("),
        ("WARP", {"nprobe": 8, "bound": 3}, "nprobe (of another engine), bound (of another engine)"),
        ("Tachiom", {"anything": "at all"}, "anything (of another engine)"),
    ],
)
def test_another_name_is_one_warning(tmp_path: Path, name: str, options: dict[str, Any], ignored: str) -> None:
    with pytest.warns(IgnoredParameterWarning) as caught:
        getattr(indexes, name)(index_folder=str(tmp_path), **options)
    (warning,) = caught
    assert str(warning.message).startswith(f"indexes.{name}: {SAME}")
    assert ignored in str(warning.message)
    assert ("without effect" in str(warning.message)) == bool(ignored)
    assert warning.filename == __file__


@pytest.mark.parametrize("file", ["index.voyager", "scann_config.pb", "documents_ids_to_warp_ids.pkl"])
@pytest.mark.parametrize("name", ["Voyager", "ScaNN", "WARP", "Tachiom"])
def test_an_index_written_by_pylate_is_refused(tmp_path: Path, name: str, file: str) -> None:
    (tmp_path / "bats").mkdir()
    (tmp_path / "bats" / file).write_bytes(b"of PyLate")
    with pytest.raises(IndexExistsError, match="bats: holds an index written by PyLate; choose another index_name"):
        opened(name, tmp_path)
    assert (tmp_path / "bats" / file).read_bytes() == b"of PyLate"
    opened(name, tmp_path, override=True)
    assert not (tmp_path / "bats" / file).exists()


def test_scann_without_a_folder_is_temporary() -> None:
    with pytest.warns(IgnoredParameterWarning, match=SAME):
        index: Any = indexes.ScaNN(store_embeddings=False, verbose_level="none")
    index.add_documents(list(DOCUMENTS), list(DOCUMENTS.values()))
    folder = index._path
    assert folder.is_dir()
    with pytest.raises(NotImplementedError, match="store_embeddings=True"):
        index.get_documents_embeddings([["a"]])
    del index
    assert not folder.exists()


@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_vectors_are_returned_in_the_dtype_they_were_added_with(tmp_path: Path, dtype: str, convert: Any) -> None:
    index = opened("ScaNN", tmp_path)
    assert index.flattened_embeddings is None
    assert index.doc_id_to_embedding_range == {}
    assert not index._documents_added
    index.add_documents(list(DOCUMENTS), (convert(rows.astype(dtype)) for rows in DOCUMENTS.values()))
    expected = np.concatenate(list(DOCUMENTS.values()))
    # Opened again, too: the dtype is stored.
    for again in (index, opened("ScaNN", tmp_path)):
        assert again._documents_added
        assert again.flattened_embeddings.dtype == dtype
        np.testing.assert_array_equal(again.flattened_embeddings, expected)
        ranges = again.doc_id_to_embedding_range
        assert list(ranges) == list(DOCUMENTS)
        for id_, (first, count) in ranges.items():
            np.testing.assert_array_equal(expected[first : first + count], DOCUMENTS[id_])
        (found,) = again.get_documents_embeddings([[7, "b"]])
        assert [rows.dtype for rows in found] == [dtype, dtype]
    index.add_documents("f", convert(DOCUMENTS["b"].astype("float32")))
    assert index.flattened_embeddings.dtype == np.float32
    assert [rows.dtype for rows in index.get_documents_embeddings([["a", "f"]])[0]] == [dtype, "float32"]
    assert opened("ScaNN", tmp_path, store_embeddings=False).flattened_embeddings is None
    index.remove_documents([*DOCUMENTS, "f"])
    assert index.flattened_embeddings is None


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    index = opened("ScaNN", tmp_path)
    with pytest.raises(ValueError, match="the index is empty; call add_documents first"):
        index(QUERIES)
    index.add_documents(list(DOCUMENTS), list(DOCUMENTS.values()))
    xtr = retrieve.XTR(index)
    with pytest.raises(ValueError, match=r"^k_token: must be at least k \(10\), got 5$"):
        xtr.retrieve(QUERIES, k_token=5)
    with pytest.raises(ValueError, match=r"^batch_size: must be at least 1, got 0$"):
        xtr.retrieve(QUERIES, batch_size=0)
    with pytest.raises(ValueError, match=r"^k: must be an int, at least 1, got 0$"):
        xtr.retrieve(QUERIES, k=0)
    with pytest.raises(ValueError, match=r"^query: must .*8.*got .*3"):
        index(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"^query: must be finite"):
        index(np.full((2, 8), np.nan))
    with pytest.raises(NotImplementedError, match=r"^subset: .*use retrieve\.ColBERT$"):
        xtr.retrieve(QUERIES, subset=["a"])
    with pytest.raises(TypeError, match=r"^index: must be an indexes\.PLAID or another of the indexes, got object$"):
        retrieve.XTR(object())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'z' not found in index"):
        index.get_documents_embeddings([["a", "z"]])
    with pytest.raises(ValueError, match="must have the same dtype, got float16 and float32"):
        index.add_documents(["x", "y"], [np.ones((2, 8), np.float16), np.ones((2, 8), np.float32)])
    with pytest.raises(ValueError, match="must have the same dtype, got float16 and float32"):
        index.add_documents(["x", "y"], [np.ones((2, 8), np.float16), torch.ones(2, 8)])
    with pytest.raises(ValueError, match="Invalid verbosity level, got 'loud'; pass one of none, init, all"):
        opened("ScaNN", tmp_path, verbose="loud")
    with pytest.raises(ValueError, match=r"^query_scores: .* \(2\), got 1$"):
        rank.score_xtr([["a"], ["b"]], [[0.5]], k=1)
    with pytest.raises(ValueError, match=r"^query_scores\[1\]: .*got 1 IDs and 2 scores$"):
        rank.score_xtr([["a"], ["b"]], [[0.5], [0.5, 0.1]], k=1)
    with pytest.raises(ValueError, match=r"^k: must be an int, at least 1, got 0$"):
        rank.score_xtr([["a"]], [[0.5]], k=0)
    with pytest.raises(ValueError, match=r"^k: must be an int, at least 1, got 0$"):
        scores.XTRScores(k=0)
    with pytest.raises(ValueError, match=r"^documents_embeddings: must be one list per query \(2\), got 3$"):
        scores.XTRKDScores()(torch.ones(2, 1, 4), torch.ones(3, 1, 2, 4))


def test_parameters_of_xtr_without_effect_warn(index: Any, tmp_path: Path) -> None:
    with pytest.warns(IgnoredParameterWarning, match="add_documents: .*batch_size"):
        index.add_documents("g", DOCUMENTS["a"], batch_size=1)
    with pytest.warns(IgnoredParameterWarning, match=r"retrieve\.XTR: .*device"):
        retrieve.XTR(index).retrieve(QUERIES, device="cuda")
    with pytest.warns(IgnoredParameterWarning, match=r"k_token \(the index returns documents\), batch_size \("):
        retrieve.XTR(indexes.PLAID(str(tmp_path), "bats")).retrieve(QUERIES, k_token=50, batch_size=2)
    with pytest.warns(IgnoredParameterWarning, match=r"rank\.score_xtr: .*device"):
        rank.score_xtr([["a"]], [[0.5]], k=1, device="cuda")
    with pytest.warns(IgnoredParameterWarning, match=r"scores\.XTRScores: .*document_chunk_size"):
        scores.XTRScores(document_chunk_size=4)


def test_score_xtr() -> None:
    ids = [["a", "b", "a"], [], ["c"]]
    found = rank.score_xtr(ids, [[0.5, 0.25, 0.75], [], [-1.0]], k=3)
    assert found == [{"id": "a", "score": -0.25}, {"id": "b", "score": -0.75}, {"id": "c", "score": -0.75}]
    assert rank.score_xtr(ids, [[0.5, 0.25, 0.75], [], [-1.0]], k=1) == found[:1]
    assert rank.score_xtr([], [], k=3) == rank.score_xtr([[]], [[]], k=3) == []


def test_the_losses_take_xtr_scores(tmp_path: Path) -> None:
    model = models.ColBERT(checkpoints.pylate(tmp_path / "model", layers=2), device="cpu").eval()
    texts = [["which bat?", "what hunts?", "who spins?"], ["A late bat.", "Owls hunt mice.", "Spiders spin webs."]]
    features = [model.tokenize(column, is_query=i == 0, pad=True) for i, column in enumerate(texts)]

    def gradients(loss: Any) -> list[Any]:
        model.zero_grad()
        loss.backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    # k bounds the retrieved tokens, so the scores differ from MaxSim's.
    xtr = scores.XTRScores(k=4)
    plain = losses.Contrastive(model, score_metric=xtr)(features)
    cached = losses.CachedContrastive(model, score_metric=xtr, mini_batch_size=2)(features)
    assert cached.item() == pytest.approx(plain.item(), abs=1e-5)
    assert abs(plain.item() - losses.Contrastive(model)(features).item()) > 1e-3
    expected = gradients(plain)
    assert max(gradient.abs().max() for gradient in expected) > 1e-4
    for computed, gradient in zip(gradients(cached), expected, strict=True):
        torch.testing.assert_close(computed, gradient, atol=1e-4, rtol=1e-3)
    labels = torch.tensor([[0.9], [0.5], [0.1]]).expand(3, 2)
    pairs = [features[0], model.tokenize([text for text in texts[1] for _ in range(2)], is_query=False, pad=True)]
    distilled = losses.Distillation(model, score_metric=scores.XTRKDScores(k=8))(pairs, labels)
    assert all(gradient.isfinite().all() for gradient in gradients(distilled))


def test_xtr_kd_scores_are_those_of_own_documents() -> None:
    torch.manual_seed(0)
    queries, documents = torch.randn(3, 4, 8), torch.randn(3, 2, 5, 8)
    every = scores.XTRScores(k=6)(queries, documents)
    own = scores.XTRKDScores(k=6)(queries, documents)
    assert torch.equal(own, torch.stack([every[i, 2 * i : 2 * i + 2] for i in range(3)]))
    assert torch.equal(scores.xtr_scores(queries, documents), scores.XTRScores(k=256)(queries, documents))
    assert torch.equal(scores.xtr_kd_scores(queries, documents), scores.XTRKDScores(k=256)(queries, documents))
