"""Import of PLAID indexes of other libraries: vectors rebuilt from their buckets, and ids."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.cli_fake import FakeEncoder
from helpers.plaid_folder import Quantized, quantize, write_colbert, write_fast_plaid, write_pylate
from numpy.typing import NDArray

import serotine.encoders
from serotine import Index, maxsim
from serotine.cli import main
from serotine.errors import InputFileError
from serotine.integrations import PlaidIndex, find_plaid, plaid, read_plaid

HERE = Path(__file__).parent


def random_documents(count: int = 40, dim: int = 16, seed: int = 3) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((24, dim))
    documents = []
    for _ in range(count):
        rows = centers[rng.integers(0, 24, rng.integers(1, 9))]
        rows = rows + 0.3 * rng.standard_normal(rows.shape)
        documents.append((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))
    return documents


@pytest.fixture
def data() -> Quantized:
    return quantize(random_documents(), 4)


def vectors_of(index: PlaidIndex) -> dict[str, NDArray[np.float16]]:
    return {
        id_: vectors for batch in index.batches() for id_, vectors in zip(batch["ids"], batch["vectors"], strict=True)
    }


def write_torch(folder: Path, data: Quantized, chunk: int) -> None:
    pytest.importorskip("torch")
    write_colbert(folder, data, chunk)


@pytest.mark.parametrize("nbits", [1, 2, 4, 8])
@pytest.mark.parametrize(("write", "kind"), [(write_fast_plaid, "fast-plaid"), (write_torch, "colbert")])
@pytest.mark.parametrize("chunk", [7, 1000])
def test_vectors_are_rebuilt_from_buckets(
    tmp_path: Path, write: Callable[[Path, Quantized, int], None], kind: str, nbits: int, chunk: int
) -> None:
    documents = random_documents()
    data = quantize(documents, nbits)
    write(tmp_path / "index", data, chunk)
    index = read_plaid(tmp_path / "index")
    assert (index.kind, index.dim, index.nbits, index.tokens) == (kind, 16, nbits, sum(data.lengths))
    vectors = vectors_of(index)
    assert list(vectors) == [str(i) for i in range(40)]
    for rows, expected in zip(vectors.values(), data.expected, strict=True):
        assert rows.dtype == np.float16
        np.testing.assert_allclose(rows.astype(np.float32), expected, atol=1e-3)
    # Rebuilt vectors are close to the original ones; with a wrong bit order they would not be.
    cosines = [
        np.sum(a * b.astype(np.float32), axis=1).mean() for a, b in zip(documents, vectors.values(), strict=True)
    ]
    assert np.mean(cosines) > {1: 0.85, 2: 0.93, 4: 0.97, 8: 0.97}[nbits]


def test_search_ranks_as_maxsim_over_the_rebuilt_vectors(tmp_path: Path, data: Quantized) -> None:
    write_fast_plaid(tmp_path / "index", data, 9)
    queries = [document + 0 for document in random_documents(5, seed=11)]
    with Index.create(tmp_path / "imported", dim=16) as index:
        assert index.add_batches(read_plaid(tmp_path / "index").batches()) == 40
        for query in queries:
            scores = maxsim.score(query, data.expected)
            hits = index.search(query, k=5)
            assert [hit.id for hit in hits] == [str(i) for i in np.argsort(-scores, kind="stable")[:5]]
            np.testing.assert_allclose([hit.score for hit in hits], np.sort(scores)[::-1][:5], atol=5e-3)


def test_many_batches_and_documents_without_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = random_documents()
    documents[0] = documents[7] = documents[39] = np.empty((0, 16), dtype=np.float32)
    data = quantize(documents, 2)
    write_fast_plaid(tmp_path / "index", data, 8)
    monkeypatch.setattr(plaid, "_TOKENS_AT_ONCE", 5)
    batches = list(read_plaid(tmp_path / "index").batches())
    assert len(batches) > 20
    assert [len(vectors) for batch in batches for vectors in batch["vectors"]] == data.lengths
    for rows, expected in zip((v for b in batches for v in b["vectors"]), data.expected, strict=True):
        np.testing.assert_allclose(rows.astype(np.float32), expected, atol=1e-3)


@pytest.mark.parametrize("inner", ["", "fast_plaid_index"])
def test_pylate_ids_are_imported(tmp_path: Path, data: Quantized, inner: str) -> None:
    ids = [f"doc-{i}" if i % 2 else i for i in range(40)]
    write_pylate(tmp_path / "indexes" / "colbert", data, ids, 11)
    assert read_plaid(tmp_path / "indexes" / "colbert" / inner).ids == [str(id_) for id_ in ids]


def test_ids_that_would_run_code_are_rejected(tmp_path: Path, data: Quantized) -> None:
    class Exploit:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "executed",)  # type: ignore[return-value]

    write_pylate(tmp_path / "index", data, list(range(40)), 11)
    (tmp_path / "index" / "plaid_ids_to_documents_ids.pkl").write_bytes(pickle.dumps({0: Exploit()}))
    with pytest.raises(InputFileError, match="only plain ids are read"):
        read_plaid(tmp_path / "index")
    assert not (tmp_path / "executed").exists()


def test_torch_files_that_would_run_code_are_rejected(tmp_path: Path, data: Quantized) -> None:
    torch = pytest.importorskip("torch")

    class Exploit:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (tmp_path / "executed",)

    write_colbert(tmp_path / "index", data, 50)
    torch.save(Exploit(), tmp_path / "index" / "0.codes.pt")
    with pytest.raises(InputFileError, match=r"0\.codes\.pt: cannot be read"):
        vectors_of(read_plaid(tmp_path / "index"))
    assert not (tmp_path / "executed").exists()


def test_a_colbert_index_without_torch_names_the_extra(
    tmp_path: Path, data: Quantized, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    write_colbert(tmp_path / "index", data, 50)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputFileError, match=r"pip install 'serotine\[torch\]'"):
        read_plaid(tmp_path / "index")


def _deleted(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _replaced(name: str, value: object) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        if isinstance(value, np.ndarray):
            np.save(folder / name, value)
        elif isinstance(value, bytes):
            (folder / name).write_bytes(value)
        else:
            (folder / name).write_text(json.dumps(value))

    return write


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_deleted("0.codes.npy"), "0.codes.npy: No such file"),
        (_deleted("doclens.1.json"), "doclens.1.json: No such file"),
        (_deleted("bucket_weights.npy"), "bucket_weights.npy: No such file"),
        (_replaced("metadata.json", {"nbits": 4}), "lacks nbits or num_chunks"),
        (_replaced("metadata.json", {"nbits": 3, "num_chunks": 1}), "3 bits with centroids"),
        (_replaced("metadata.json", {"nbits": 2, "num_chunks": 1}), "must have 4 bucket weights for 2 bits, got 16"),
        (_replaced("metadata.json", b"{"), "not valid JSON"),
        (_replaced("doclens.0.json", [1, -1]), "must be a list of token counts"),
        (_replaced("doclens.0.json", [1]), "must hold 1 integers"),
        (_replaced("0.residuals.npy", np.zeros((3, 3), np.uint8)), "must hold uint8 of shape"),
        (_replaced("0.codes.npy", b"nonsense"), "0.codes.npy: cannot be read"),
        (_replaced("centroids.npy", np.array([{}], dtype=object)), "centroids.npy: cannot be read"),
    ],
)
def test_damaged_files_are_reported(
    tmp_path: Path, data: Quantized, damage: Callable[[Path], None], message: str
) -> None:
    write_fast_plaid(tmp_path / "index", data, 20)
    damage(tmp_path / "index")
    with pytest.raises(InputFileError) as raised:
        vectors_of(read_plaid(tmp_path / "index"))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_codes_beyond_the_centroids_are_rejected(tmp_path: Path, data: Quantized) -> None:
    write_fast_plaid(tmp_path / "index", data, 50)
    codes = data.codes.copy()
    codes[5] = len(data.centroids)
    np.save(tmp_path / "index" / "0.codes.npy", codes)
    with pytest.raises(InputFileError, match="must hold centroid numbers below 24"):
        vectors_of(read_plaid(tmp_path / "index"))


@pytest.mark.parametrize(
    ("ids", "message"), [(["a"] * 40, "duplicate id 'a'"), (["a"], "cannot read an id for every document")]
)
def test_invalid_ids_are_rejected(tmp_path: Path, data: Quantized, ids: list[str], message: str) -> None:
    write_pylate(tmp_path / "index", data, ids, 20)
    with pytest.raises(InputFileError, match=message):
        read_plaid(tmp_path / "index")


def test_ids_of_an_older_pylate_are_rejected(tmp_path: Path, data: Quantized) -> None:
    write_pylate(tmp_path / "index", data, list(range(40)), 20)
    (tmp_path / "index" / "plaid_ids_to_documents_ids.pkl").rename(
        tmp_path / "index" / "plaid_ids_to_documents_ids.sqlite"
    )
    with pytest.raises(InputFileError, match=r"PyLate before 1\.4"):
        read_plaid(tmp_path / "index")


def test_other_folders_are_not_plaid_indexes(tmp_path: Path) -> None:
    assert find_plaid(tmp_path) is None
    with pytest.raises(InputFileError, match="not a fast-plaid, PyLate or ColBERT index"):
        read_plaid(tmp_path)


def test_serotine_index_imports_and_updates(
    tmp_path: Path, data: Quantized, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pylate(tmp_path / "colbert", data, [f"d{i}" for i in range(40)], 11)
    path = tmp_path / "imported.serotine"
    assert main(["index", str(tmp_path / "colbert"), "-o", str(path), "--nbits", "2"]) == 0
    assert "40 documents" in (output := capsys.readouterr().out)
    assert "It has no encoder" in output
    with Index.open(path, read_only=True) as index:
        assert index.ids() == [f"d{i}" for i in range(40)]
        assert index.stats().nbits == 2
        np.testing.assert_allclose(index.vectors("d3").astype(np.float32), data.expected[3], atol=1e-3)
    with Index.open(path) as index:
        index.delete(["d5", "d6"])
    assert main(["index", str(tmp_path / "colbert"), "-o", str(path)]) == 0
    assert "2 documents indexed" in (output := capsys.readouterr().out)
    assert "38 unchanged" in output
    assert main(["index", str(tmp_path / "colbert"), "-o", str(path), "--overwrite"]) == 0
    assert main(["index", str(tmp_path / "colbert"), str(tmp_path), "-o", str(tmp_path / "x")]) == 2
    assert "must be the only source" in capsys.readouterr().err


def test_an_index_imported_with_its_encoder_answers_queries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serotine.encoders, "Encoder", FakeEncoder)
    texts = ["late interaction keeps tokens", "a bicycle needs two wheels", "wings flutter in the wind"]
    data = quantize(FakeEncoder().encode_documents(texts), 8, centroids=8)
    write_pylate(tmp_path / "colbert", data, ["late", "bicycle", "wings"], 11)
    arguments = ["index", str(tmp_path / "colbert"), "-o", str(tmp_path / "imported"), "--encoder", "fake"]
    assert main(arguments) == 0
    capsys.readouterr()
    assert main(["search", str(tmp_path / "imported"), "two wheels", "-k", "1"]) == 0
    assert "bicycle" in capsys.readouterr().out
    monkeypatch.setattr(FakeEncoder, "dim", 8)
    assert main([*arguments, "--overwrite"]) == 1
    assert "pass the encoder that the index was created with" in capsys.readouterr().err


def test_interrupted_import_resumes(
    tmp_path: Path, data: Quantized, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_fast_plaid(tmp_path / "source", data, 10)
    monkeypatch.setattr(plaid, "_TOKENS_AT_ONCE", 30)
    rebuild = PlaidIndex._rebuild
    calls = 0

    def interrupt(self: PlaidIndex, *arguments: NDArray[np.generic]) -> NDArray[np.float16]:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return rebuild(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(PlaidIndex, "_rebuild", interrupt)
    arguments = ["index", str(tmp_path / "source"), "-o", str(tmp_path / "imported")]
    assert main(arguments) == 130
    assert "of 40 stored" in capsys.readouterr().err
    with Index.open(tmp_path / "imported", read_only=True) as index:
        assert 0 < len(index) < 40
    assert main(arguments) == 0
    with Index.open(tmp_path / "imported", read_only=True) as index:
        assert index.ids() == [str(i) for i in range(40)]


# Files and search results of fast-plaid 1.7 itself; see fast_plaid_1_7/write.py.
REAL = HERE / "fast_plaid_1_7"


def real_documents(name: str, lengths: str) -> list[NDArray[np.float32]]:
    with np.load(REAL / "vectors.npz") as archive:
        rows: NDArray[np.float32] = archive[name].astype(np.float32)
        return np.split(rows, np.cumsum(archive[lengths])[:-1])


def test_files_of_the_real_library() -> None:
    index = read_plaid(REAL / "index")
    documents = real_documents("documents", "lengths")
    vectors = list(vectors_of(index).values())
    assert len(index.lengths) == 3
    assert [len(rows) for rows in vectors] == [len(rows) for rows in documents]
    for rows, original in zip(vectors, documents, strict=True):
        assert np.sum(rows.astype(np.float32) * original, axis=1).min() > 0.95
    expected = json.loads((REAL / "results.json").read_text())["hits"]
    for query, hits in zip(real_documents("queries", "query_lengths"), expected, strict=True):
        scores = maxsim.score(query, vectors)
        assert np.argsort(-scores, kind="stable")[:5].tolist() == [number for number, _ in hits]
        # fast-plaid computes in float16.
        np.testing.assert_allclose(np.sort(scores)[::-1][:5], [score for _, score in hits], atol=2e-3)


def test_chunks_of_merged_files(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    shutil.copytree(REAL / "index", folder)
    expected = vectors_of(read_plaid(folder))

    def unchanged() -> bool:
        vectors = vectors_of(read_plaid(folder))
        return all(np.array_equal(vectors[id_], rows) for id_, rows in expected.items())

    # A chunk's file takes precedence over its merged rows; and the manifests may be missing.
    first, second = (sum(lengths) for lengths in read_plaid(folder).lengths[:2])
    for kind in ("codes", "residuals"):
        merged = np.load(folder / f"merged_{kind}.npy")
        np.save(folder / f"1.{kind}.npy", merged[first : first + second])
        merged[first : first + second] = 0
        np.save(folder / f"merged_{kind}.npy", merged)
    assert unchanged()
    for kind in ("codes", "residuals"):
        (folder / f"merged_{kind}.manifest.json").unlink()
    assert unchanged()
    (folder / "merged_codes.manifest.json").write_text("{}")
    with pytest.raises(InputFileError, match=r"has no number of rows for 0\.codes\.npy"):
        vectors_of(read_plaid(folder))
