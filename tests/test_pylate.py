"""PyLate's interface: return values, errors, and the output of a model card's two programs."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from helpers import checkpoints  # noqa: E402

from serotine import Encoder, Index  # noqa: E402
from serotine.errors import EncoderError, IndexExistsError, UntrainedProjectionWarning  # noqa: E402
from serotine.integrations.pylate import IgnoredParameterWarning, indexes, models, rank, retrieve, scores  # noqa: E402

EXAMPLES = Path(__file__).parents[1] / "examples"
TEXTS = ["Bats fly at night.", "Owls hunt in the dark, quietly!", "A serotine is a bat."]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.pylate(tmp_path_factory.mktemp("pylate"), prompts={"query": "ask: "})


@pytest.fixture(scope="module")
def model(folder: Path) -> models.ColBERT:
    return models.ColBERT(str(folder), device="cpu")


@pytest.fixture
def index(tmp_path: Path, model: models.ColBERT) -> indexes.PLAID:
    plaid = indexes.PLAID(str(tmp_path / "indexes"), "bats", override=True, show_progress=False)
    return plaid.add_documents(["a", "b", "c"], model.encode(TEXTS, is_query=False))


def run_example(name: str, model: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore::serotine.errors.ZeroShotWarning", str(EXAMPLES / name), model],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )


# PyLate 1.6's parameters and defaults, read from its source.
ENCODE = (
    "sentences, prompt_name=None, prompt=None, batch_size=32, show_progress_bar=None, precision='float32', "
    "convert_to_numpy=True, convert_to_tensor=False, padding=False, device=None, normalize_embeddings=True, "
    "is_query=True, pool_factor=1, protected_tokens=1, output_value='token_embeddings'"
)
COLBERT = (
    "model_name_or_path=None, modules=None, device=None, prompts=None, default_prompt_name=None, "
    "similarity_fn_name=None, cache_folder=None, trust_remote_code=False, revision=None, local_files_only=False, "
    "token=None, use_auth_token=None, truncate_dim=None, embedding_size=None, bias=False, query_prefix=None, "
    "document_prefix=None, truncation=True, query_length=None, document_length=None, do_query_expansion=None, "
    "attend_to_expansion_tokens=None, skiplist_words=None, model_kwargs=None, tokenizer_kwargs=None, "
    "config_kwargs=None, model_card_data=None"
)
PLAID = (
    "index_folder='indexes', index_name='colbert', override=False, use_fast=True, nbits=4, kmeans_niters=4, "
    "max_points_per_centroid=256, n_samples_kmeans=None, seed=42, use_triton=None, n_ivf_probe=8, n_full_scores=8192, "
    "batch_size=262144, num_threads=None, show_progress=True, device=None, low_memory=False, **kwargs"
)
VOYAGER = (
    "index_folder='indexes', index_name='colbert', override=False, embedding_size=128, M=64, ef_construction=200, "
    "ef_search=200"
)
SCANN = (
    "index_name='ScaNN_index', embedding_size=128, num_neighbors=10, num_leaves=None, num_leaves_to_search=None, "
    "dimensions_per_block=2, anisotropic_quantization_threshold=0.2, training_sample_size=None, verbose='none', "
    "use_autopilot=False, store_embeddings=True, index_folder=None, override=False, verbose_level=None"
)
XTR_SCORES = "queries_embeddings, documents_embeddings, queries_mask=None, documents_mask=None"
SIGNATURES: list[tuple[Any, str]] = [
    (models.ColBERT.__init__, COLBERT),
    (models.ColBERT.encode, ENCODE),
    (models.ColBERT.tokenize, "texts, is_query=True, pad=False, task=None"),
    (indexes.PLAID.__init__, PLAID),
    (indexes.PLAID.add_documents, "documents_ids, documents_embeddings, **kwargs"),
    (indexes.PLAID.update_documents, "documents_ids, documents_embeddings"),
    (indexes.PLAID.remove_documents, "documents_ids"),
    (indexes.PLAID.__call__, "queries_embeddings, k=10, subset=None"),
    (rank.rerank, "documents_ids, queries_embeddings, documents_embeddings, device=None"),
    (
        scores.colbert_scores,
        "queries_embeddings, documents_embeddings, queries_mask=None, documents_mask=None, backend=None",
    ),
    (scores.colbert_scores_pairwise, "queries_embeddings, documents_embeddings, backend=None"),
    (indexes.Voyager.__init__, VOYAGER),
    (indexes.Voyager.add_documents, "documents_ids, documents_embeddings, batch_size=2000"),
    (indexes.Voyager.__call__, "queries_embeddings, k=10"),
    (indexes.Voyager.get_documents_embeddings, "document_ids"),
    (indexes.ScaNN.__init__, SCANN),
    (indexes.ScaNN.add_documents, "documents_ids, documents_embeddings, batch_size=128"),
    (indexes.ScaNN.__call__, "queries_embeddings, k=10"),
    (indexes.ScaNN.get_documents_embeddings, "documents_ids"),
    (
        retrieve.XTR.retrieve,
        "queries_embeddings, k=10, k_token=None, device=None, batch_size=None, subset=None",
    ),
    (rank.score_xtr, "query_doc_ids, query_scores, k, device='cpu'"),
    (scores.XTRScores.__init__, "k=256, document_chunk_size=None"),
    (scores.XTRScores.__call__, XTR_SCORES),
    (scores.XTRKDScores.__call__, XTR_SCORES),
]


@pytest.mark.parametrize(("function", "expected"), SIGNATURES)
def test_signatures_equal_those_of_pylate(function: Any, expected: str) -> None:
    parameters = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name != "self":
            stars = "**" if parameter.kind is parameter.VAR_KEYWORD else ""
            default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
            parameters.append(f"{stars}{name}{default}")
    assert ", ".join(parameters) == expected


def test_the_retrieval_card(tmp_path: Path) -> None:
    process = run_example("pylate_retrieval.py", "serotine-mini", tmp_path)
    assert process.returncode == 0, process.stderr
    ((first, second, third),) = [json.loads(process.stdout.strip().replace("'", '"'))][0]
    assert {first["id"], second["id"], third["id"]} == {"1", "2", "3"}
    assert first["score"] >= second["score"] >= third["score"]
    assert "trust_remote_code (code that comes with a checkpoint is never run)" in process.stderr
    (query,) = Encoder("serotine-mini").encode_queries(["What motivates scientific discovery?"])
    with Index.open(tmp_path / "pylate-index/pplx-embed-v1-late-0.6b", read_only=True) as reopened:
        assert [hit.id for hit in reopened.search(query, k=3)] == [first["id"], second["id"], third["id"]]


def test_the_kernel_card(tmp_path: Path) -> None:
    pytest.importorskip("kernels")
    folder = checkpoints.pylate(tmp_path / "model")
    from serotine.integrations.hf_kernels import write_kernel

    write_kernel(tmp_path / "maxsim")
    process = run_example(
        "pylate_kernel_rerank.py", str(folder), tmp_path, LOCAL_KERNELS=f"erikkaum/maxsim={tmp_path / 'maxsim'}"
    )
    assert process.returncode == 0, process.stderr
    printed = [float(number) for number in re.findall(r"-?\d+\.\d+", process.stdout)]
    encoder = Encoder(folder)
    source = (EXAMPLES / "pylate_kernel_rerank.py").read_text()
    documents = re.findall(r'^    "(.*)",$', source, re.M)
    (query,) = encoder.encode_queries(["What motivates scientific discovery?"])
    expected = [float((query @ rows.T).max(axis=1).sum()) for rows in encoder.encode_documents(documents)]
    np.testing.assert_allclose(printed, expected, atol=1e-3)


def test_only_the_import_differs_from_the_card() -> None:
    source = (EXAMPLES / "pylate_retrieval.py").read_text()
    assert "from serotine.integrations.pylate import indexes, models, retrieve" in source
    assert source.count("serotine") == 1
    kernel = (EXAMPLES / "pylate_kernel_rerank.py").read_text().split('"""', 2)[2]
    assert kernel.count("serotine") == 1


def test_vectors_equal_those_of_the_encoder(folder: Path, model: models.ColBERT) -> None:
    encoder = Encoder(folder)
    for vectors, expected in zip(model.encode(TEXTS, is_query=False), encoder.encode_documents(TEXTS), strict=True):
        assert isinstance(vectors, np.ndarray)
        np.testing.assert_allclose(vectors, expected, atol=1e-6)
    named = model.encode(TEXTS, prompt_name="query")
    for vectors, expected in zip(named, encoder.encode_queries(TEXTS), strict=True):
        np.testing.assert_allclose(vectors, expected, atol=1e-6)
    # PyLate adds a prompt only when it is named; the encoder, like sentence-transformers, always.
    plain = model.encode(TEXTS)
    assert not np.allclose(plain[0], named[0])
    np.testing.assert_array_equal(model.encode(TEXTS, prompt="ask: ")[1], named[1])


def test_shapes_of_encode(model: models.ColBERT) -> None:
    single = model.encode(TEXTS[0], is_query=False)
    assert single.ndim == 2
    tensors = model.encode(TEXTS, is_query=False, convert_to_tensor=True)
    assert all(isinstance(vectors, torch.Tensor) for vectors in tensors)
    assert all(isinstance(vectors, torch.Tensor) for vectors in model.encode(TEXTS, convert_to_numpy=False))
    padded = model.encode(TEXTS, is_query=False, padding=True)
    assert {vectors.shape for vectors in padded} == {(1, max(map(len, tensors)), 16)}
    nested = model.encode([TEXTS[:2], TEXTS], is_query=False)
    assert [len(vectors) for vectors in nested] == [2, 3]
    np.testing.assert_array_equal(nested[1][2], tensors[2].numpy())
    assert model.encode([TEXTS[:2]], convert_to_tensor=True)[0].shape == (2, 32, 16)
    assert model.encode([], is_query=False) == []
    unscaled = model.encode(TEXTS[0], is_query=False, normalize_embeddings=False)
    assert not np.allclose(np.linalg.norm(unscaled, axis=1), 1)
    np.testing.assert_allclose(unscaled / np.linalg.norm(unscaled, axis=1, keepdims=True), single, atol=1e-5)


def test_output_of_all_tokens(model: models.ColBERT) -> None:
    output = model.encode(TEXTS, is_query=False, output_value=None)
    assert set(output) == {"token_embeddings", "input_ids", "attention_mask", "masks"}
    for vectors, ids, mask, expected in zip(
        output["token_embeddings"],
        output["input_ids"],
        output["masks"],
        model.encode(TEXTS, is_query=False),
        strict=True,
    ):
        assert len(vectors) == len(ids) == len(mask)
        np.testing.assert_allclose(vectors[mask], expected, atol=1e-6)
    with pytest.raises(ValueError, match="output_value"):
        model.encode(TEXTS, output_value=None, pool_factor=2)


def test_pooling_halves_the_vectors(model: models.ColBERT) -> None:
    pytest.importorskip("scipy")
    text = "bats owls moths beetles spiders and worms fly crawl and creep all night"
    full, pooled = (model.encode(text, is_query=False, pool_factor=factor) for factor in (1, 2))
    assert len(pooled) == 1 + (len(full) - 1) // 2
    np.testing.assert_array_equal(pooled[0], full[0])
    assert len(model.encode(text, is_query=False, pool_factor=2, protected_tokens=4)) == 4 + (len(full) - 4) // 2
    assert len(model.encode(text, pool_factor=2)) == len(model.encode(text)), "queries are not pooled"


@pytest.mark.parametrize(
    ("precision", "dtype", "width"),
    [("int8", "int8", 16), ("uint8", "uint8", 16), ("ubinary", "uint8", 2), ("binary", "int8", 2)],
)
def test_precision(model: models.ColBERT, precision: Any, dtype: str, width: int) -> None:
    vectors = model.encode(TEXTS, is_query=False)
    for rows, quantized in zip(vectors, model.encode(TEXTS, is_query=False, precision=precision), strict=True):
        assert quantized.dtype == dtype
        assert quantized.shape == (len(rows), width)
        if width == 2:
            bits = quantized if dtype == "uint8" else (quantized.astype(np.int16) + 128).astype(np.uint8)
            np.testing.assert_array_equal(np.unpackbits(bits, axis=1).astype(bool), rows > 0)
    if width == 16:
        exact = np.concatenate(vectors)
        rounded = np.concatenate(model.encode(TEXTS, is_query=False, precision=precision))
        for dimension in range(16):
            order = np.argsort(exact[:, dimension], kind="stable")
            assert (np.diff(rounded[order, dimension].astype(int)) >= 0).all()
    with pytest.raises(ValueError, match="precision: must be one of"):
        model.encode(TEXTS, precision="int4")  # type: ignore[arg-type]


def test_tokens(folder: Path, model: models.ColBERT) -> None:
    encoder = Encoder(folder)
    features = model.tokenize(TEXTS, is_query=False)
    for text, ids, attention in zip(TEXTS, features["input_ids"], features["attention_mask"], strict=True):
        assert tuple(ids[attention.bool()].tolist()) == encoder.token_ids(text, query=False)
    assert (features["input_ids"][:, 1] == model.document_prefix_id).all()
    assert features["token_type_ids"].shape == features["input_ids"].shape
    assert model.tokenize(TEXTS, is_query=False, pad=True)["input_ids"].shape == (3, model.document_length)
    assert model.tokenize(TEXTS)["input_ids"].shape == (3, 32)


def test_the_first_module(model: models.ColBERT) -> None:
    model.tokenize(["a bat"])
    assert model[0].max_seq_length == 31
    assert model[0].tokenize(["a bat", "owls hunt mice"])["attention_mask"].tolist() == [[1, 1, 1, 1, 0], [1] * 5]
    assert model.tokenizer("a bat")["input_ids"] == model[0].tokenize(["a bat"])["input_ids"][0].tolist()
    assert model.tokenizer.convert_tokens_to_ids(model.query_prefix) == model.query_prefix_id
    assert sum(p.numel() for p in model[0].auto_model.parameters()) < sum(p.numel() for p in model.parameters())
    with pytest.raises(IndexError, match=r"only model\[0\]"):
        model[1]


def test_forward_equals_encode(model: models.ColBERT) -> None:
    features = model.eval()(model.tokenize(TEXTS, is_query=False))
    masks = features["attention_mask"].bool() & model.skiplist_mask(features["input_ids"], model.skiplist)
    vectors = torch.nn.functional.normalize(features["token_embeddings"], dim=-1)
    assert vectors.requires_grad
    for row, mask, expected in zip(vectors, masks, model.encode(TEXTS, is_query=False), strict=True):
        np.testing.assert_allclose(row[mask].detach().numpy(), expected, atol=1e-5)


@pytest.mark.filterwarnings("ignore::serotine.errors.TruncatedTextWarning")
def test_constructor_overrides_the_checkpoint(folder: Path) -> None:
    model = models.ColBERT(
        str(folder), device="cpu", query_length=12, document_length=20, skiplist_words=[], do_query_expansion=False,
        query_prefix="", prompts={"other": "x "}, default_prompt_name="other", truncate_dim=8,
    )  # fmt: skip
    assert (model.query_length, model.document_length, model.do_query_expansion, model.query_prefix) == (
        12,
        20,
        False,
        "",
    )
    assert model.query_prefix_id is None
    assert model.prompts == {"query": "ask: ", "other": "x "}
    assert len(model.encode("a bat")) == 5, "[CLS] x a bat [SEP]"
    long = model.encode("a . " * 40, is_query=False)
    assert long.shape == (20, 8), "punctuation is scored"
    np.testing.assert_allclose(np.linalg.norm(long, axis=1), 1, atol=1e-5)
    longer = models.ColBERT(str(folder), device="cpu", query_length=40, attend_to_expansion_tokens=True)
    assert longer.encode("a bat").shape == (40, 16)
    assert longer.attend_to_expansion_tokens
    assert longer.tokenize(["a bat"])["attention_mask"].all()


def test_a_plain_encoder_gets_markers_and_a_projection(tmp_path: Path) -> None:
    plain = checkpoints.dense(tmp_path / "dense")
    torch.manual_seed(3)
    with pytest.warns(UntrainedProjectionWarning, match="lacks a projection from 32 to 128 dimensions"):
        model = models.ColBERT(str(plain), device="cpu")
    assert (model.query_prefix, model.document_prefix, model.query_length, model.document_length) == (
        "[Q] ",
        "[D] ",
        32,
        180,
    )
    assert model.encode("a bat").shape == (32, 128)
    assert model.tokenize(["a bat"])["input_ids"][0, 1] == model.query_prefix_id
    model.save_pretrained(tmp_path / "saved")
    reloaded = models.ColBERT(tmp_path / "saved", device="cpu")
    np.testing.assert_allclose(reloaded.encode("a bat"), model.encode("a bat"), atol=1e-5)
    with pytest.warns(UntrainedProjectionWarning):
        smaller = models.ColBERT(str(tmp_path / "saved"), device="cpu", embedding_size=24)
    assert smaller.encode("a bat").shape == (32, 24)


def test_parameters_without_effect_warn_once_and_unknown_ones_raise(folder: Path, tmp_path: Path) -> None:
    with pytest.warns(IgnoredParameterWarning, match=r"kmeans_niters \(.*\), low_memory \(") as caught:
        indexes.PLAID(str(tmp_path), "x", kmeans_niters=9, low_memory=True)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with pytest.warns(IgnoredParameterWarning, match=r"ndocs \(of the Stanford backend\)"):
        indexes.PLAID(str(tmp_path), "x", ndocs=3)
    with pytest.raises(TypeError, match="unexpected parameter 'nbit'"):
        indexes.PLAID(str(tmp_path), "x", nbit=2)
    with pytest.raises(TypeError):
        models.ColBERT(str(folder), pooling="mean")  # type: ignore[call-arg]
    with pytest.warns(IgnoredParameterWarning, match="trust_remote_code"):
        models.ColBERT(str(folder), device="cpu", trust_remote_code=True)
    with pytest.warns(IgnoredParameterWarning, match="batch_size"):
        models.ColBERT(str(folder), device="cpu").encode("a", batch_size=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        indexes.PLAID(str(tmp_path), "x", device="cpu")
        models.ColBERT(str(folder), device="cpu", model_kwargs={"torch_dtype": torch.float32})
    with pytest.raises(ValueError, match="modules: "):
        models.ColBERT(modules=[])
    with pytest.raises(ValueError, match="cosine"):
        models.ColBERT(str(folder), similarity_fn_name="cosine")


@pytest.mark.filterwarnings("ignore::serotine.errors.TruncatedTextWarning")
def test_an_exported_encoder_can_only_encode() -> None:
    model = models.ColBERT("serotine-mini", document_length=16)
    assert model.encode("word " * 40, is_query=False).shape == (16, 128)
    with pytest.raises(EncoderError, match="cannot be trained"):
        model(model.tokenize(["a"]))
    with pytest.raises(EncoderError, match="cannot store which tokens are scored"):
        model.save_pretrained("unknown")
    with pytest.raises(ValueError, match="skiplist_words: cannot be changed in the exported encoder serotine-mini"):
        models.ColBERT("serotine-mini", skiplist_words=["a"])
    with pytest.raises(ValueError, match="embedding_size"):
        models.ColBERT("serotine-mini", embedding_size=64)


def test_index_returns_ids_and_exact_scores(index: indexes.PLAID, model: models.ColBERT) -> None:
    queries = model.encode(["which bat?", "what hunts?"])
    documents = model.encode(TEXTS, is_query=False)
    results = index(queries, k=10)
    assert [len(hits) for hits in results] == [3, 3]
    assert results[0][0].keys() == {"id", "score"}
    for query, hits in zip(queries, results, strict=True):
        expected = {id_: float((query @ rows.T).max(axis=1).sum()) for id_, rows in zip("abc", documents, strict=True)}
        assert [hit["id"] for hit in hits] == sorted(expected, key=lambda id_: -expected[id_])
        for hit in hits:
            assert hit["score"] == pytest.approx(expected[str(hit["id"])], abs=0.02)
    assert retrieve.ColBERT(index=index).retrieve(queries, k=2) == [hits[:2] for hits in results]
    assert index(queries[0], k=1) == [results[0][:1]], "a single query"
    assert index(torch.from_numpy(np.stack(queries)), k=3) == results
    assert [len(rows) for rows in index.get_documents_embeddings([["a", "c"]])[0]] == [
        len(documents[0]),
        len(documents[2]),
    ]


def test_subsets(index: indexes.PLAID, model: models.ColBERT) -> None:
    queries = model.encode(["which bat?", "what hunts?"])
    assert {hit["id"] for hit in index(queries, subset=["a", "c", "unknown"])[1]} == {"a", "c"}
    assert [[hit["id"] for hit in hits] for hits in index(queries, subset=[["b"], ["c"]])] == [["b"], ["c"]]
    assert index(queries, subset=[]) == [[], []]
    assert index(queries, subset=[["a"], []])[1] == []
    assert [len(hits) for hits in index(queries, subset=["unknown"])] == [0, 0]
    assert index(queries, subset=["a", *map(str, range(20_000)), "c"]) == index(queries, subset=["a", "c"])
    with pytest.raises(ValueError, match=r"subset: must be one list per query \(2\), got 1"):
        index(queries, subset=[["a"]])
    unknown_ids = [f"other {i}" for i in range(3000)]
    assert [hit["id"] for hit in index(queries[0], subset=[*unknown_ids, "b"])[0]] == ["b"]


def test_adding_removing_and_replacing_documents(index: indexes.PLAID, model: models.ColBERT, tmp_path: Path) -> None:
    query = model.encode("which bat?")
    assert index.remove_documents(["b", "unknown"]) is index
    assert {hit["id"] for hit in index(query)[0]} == {"a", "c"}
    other = indexes.PLAID(str(tmp_path / "indexes"), "bats", show_progress=False)
    assert other(query) == index(query), "two objects, one index"
    other.add_documents([7, 8], model.encode(TEXTS[:2], is_query=False))
    assert {hit["id"] for hit in index(query)[0]} == {"a", "c", 7, 8}
    assert [hit["id"] for hit in index(query, subset=[7])[0]] == [7]
    before = {hit["id"]: hit["score"] for hit in index(query)[0]}
    index.update_documents(["a"], [model.encode(TEXTS[1], is_query=False)])
    after = {hit["id"]: hit["score"] for hit in index(query)[0]}
    # Encoded alone and in a batch: a different last bit can round to the next float16.
    assert after["a"] == pytest.approx(before[8], rel=1e-4)
    index.remove_documents([7])
    assert 7 not in {hit["id"] for hit in index(query)[0]}
    index.add_documents("d", model.encode(TEXTS[1], is_query=False))
    assert "d" in {hit["id"] for hit in index(query)[0]}
    index.close()
    assert len(index(query)[0]) == 4


def test_index_validates_its_arguments(index: indexes.PLAID, model: models.ColBERT, tmp_path: Path) -> None:
    vectors = model.encode(TEXTS, is_query=False)
    with pytest.raises(ValueError, match=r"documents_embeddings: must be one per id \(2\), got 3"):
        index.add_documents(["x", "y"], vectors)
    with pytest.raises(TypeError, match=r"documents_ids\[1\]: must be a string or an int, got float"):
        index.add_documents(["x", 1.5, "y"], vectors)  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"documents_embeddings\[0\]: must be of shape \(tokens, dim\)"):
        index.add_documents(["x"], [np.zeros(16)])
    with pytest.raises(ValueError, match="the index is empty"):
        indexes.PLAID(str(tmp_path), "empty")(model.encode("a"))
    with pytest.raises(ValueError, match="nbits"):
        indexes.PLAID(str(tmp_path), "empty", nbits=3)
    with pytest.raises(TypeError, match=r"indexes\.PLAID"):
        retrieve.ColBERT(index=object())  # type: ignore[arg-type]
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.txt").write_text("work of years")
    for override in (False, True):
        with pytest.raises(IndexExistsError, match="other than an index"):
            indexes.PLAID(str(tmp_path), "other", override=override)
    (tmp_path / "pylate/fast_plaid_index").mkdir(parents=True)
    with pytest.raises(IndexExistsError, match="written by PyLate"):
        indexes.PLAID(str(tmp_path), "pylate")
    indexes.PLAID(str(tmp_path), "pylate", override=True).add_documents("x", vectors[0])


def test_rerank(model: models.ColBERT) -> None:
    queries = model.encode(["which bat?", "what hunts?"])
    documents = model.encode([TEXTS[:2], TEXTS], is_query=False)
    results = rank.rerank([[1, 2], ["a", "b", "c"]], queries, documents)
    assert {hit["id"] for hit in results[0]} == {1, 2}
    expected = {
        id_: float((queries[1] @ rows.T).max(axis=1).sum()) for id_, rows in zip("abc", documents[1], strict=True)
    }
    assert [hit["id"] for hit in results[1]] == sorted(expected, key=lambda id_: -expected[id_])
    assert [hit["score"] for hit in results[1]] == pytest.approx(sorted(expected.values(), reverse=True), abs=1e-4)
    tensors = rank.rerank(
        [[1, 2]], torch.from_numpy(queries[0]), [[torch.from_numpy(rows) for rows in documents[0]]], device="cpu"
    )
    assert [hit["score"] for hit in tensors[0]] == pytest.approx([hit["score"] for hit in results[0]], abs=1e-4)
    assert rank.rerank([[]], queries[:1], [[]]) == [[]]
    with pytest.raises(ValueError, match=r"documents_embeddings\[0\]: must be one per id \(1\), got 2"):
        rank.rerank([[1]], queries[:1], documents[:1])
    with pytest.raises(ValueError, match="one entry per query"):
        rank.rerank([[1, 2]], queries, documents[:1])


def test_padding_never_changes_a_score() -> None:
    query = torch.tensor([[[1.0, 0.0]]])
    alone = torch.tensor([[[-0.5, 0.5]]])
    padded = torch.nn.functional.pad(alone, (0, 0, 0, 3))
    mask = torch.tensor([[1, 0, 0, 0]])
    assert scores.colbert_scores(query, padded, documents_mask=mask) == scores.colbert_scores(query, alone) == -0.5
    assert scores.SimilarityFunction.possible_values() == ["MaxSim"]
    assert scores.SimilarityFunction.to_similarity_fn("MaxSim") is scores.colbert_scores
    assert scores.SimilarityFunction.to_similarity_pairwise_fn("MaxSim") is scores.colbert_scores_pairwise
    with pytest.warns(IgnoredParameterWarning, match="backend"):
        scores.colbert_scores(query, alone, backend="torch")


def test_the_runner_of_pylate_tests(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_scores.py").write_text(
        "import torch\nfrom pylate import models\nfrom pylate.scores import colbert_scores\n\n"
        "def test_scores():\n    assert colbert_scores(torch.ones(1, 1, 2), torch.ones(1, 3, 2)) == 2\n\n"
        "def test_model():\n    assert models.ColBERT('bert-base-uncased').query_prefix == '[Q] '\n"
    )
    (tmp_path / "tests/test_scann.py").write_text(
        'import pytest\nfrom pylate.indexes import ScaNN\n\npytest.importorskip("scann")\n\n'
        "def test_scann_is_exported():\n    assert ScaNN\n"
    )
    (tmp_path / "tests/test_model_loading.py").write_text("def test_load_model():\n    assert False\n")
    runner = [sys.executable, str(Path(__file__).parent / "helpers" / "pylate_runner.py"), str(tmp_path)]
    process = subprocess.run(runner, capture_output=True, text=True, timeout=240)
    assert process.returncode == 0, process.stdout
    assert "3 passed, 1 skipped" in process.stdout
    assert "compares with settings of published models" in process.stdout
    (tmp_path / "tests/test_wrong.py").write_text("def test_wrong():\n    assert False\n")
    assert subprocess.run(runner, capture_output=True, timeout=240).returncode == 1
