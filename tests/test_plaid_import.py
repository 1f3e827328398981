"""Other people's PLAID indexes, taken over: the vectors their buckets stand for, and their ids."""

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
from helpers.plaid_folder import Quantised, quantise, write_colbert, write_fast_plaid, write_pylate
from numpy.typing import NDArray

import serotine.encoders
from serotine import Index, maxsim
from serotine.cli import main
from serotine.errors import InputFileError
from serotine.integrations import plaid

HERE = Path(__file__).parent


def random_documents(count: int = 40, dim: int = 16, seed: int = 3) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((24, dim))
    documents = []
    for _ in range(count):
        rows = centres[rng.integers(0, 24, rng.integers(1, 9))]
        rows = rows + 0.3 * rng.standard_normal(rows.shape)
        documents.append((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))
    return documents


@pytest.fixture
def data() -> Quantised:
    return quantise(random_documents(), 4)


def vectors_of(found: plaid.PlaidIndex) -> dict[str, NDArray[np.float16]]:
    return {
        id_: vectors for batch in found.batches() for id_, vectors in zip(batch["ids"], batch["vectors"], strict=True)
    }


def write_torch(folder: Path, data: Quantised, chunk: int) -> None:
    pytest.importorskip("torch")
    write_colbert(folder, data, chunk)


@pytest.mark.parametrize("nbits", [1, 2, 4, 8])
@pytest.mark.parametrize(("write", "kind"), [(write_fast_plaid, "fast-plaid"), (write_torch, "colbert")])
@pytest.mark.parametrize("chunk", [7, 1000])
def test_vectors_are_those_the_buckets_stand_for(
    tmp_path: Path, write: Callable[[Path, Quantised, int], None], kind: str, nbits: int, chunk: int
) -> None:
    documents = random_documents()
    data = quantise(documents, nbits)
    write(tmp_path / "index", data, chunk)
    found = plaid.read(tmp_path / "index")
    assert (found.kind, found.dim, found.nbits, found.tokens) == (kind, 16, nbits, sum(data.lengths))
    vectors = vectors_of(found)
    assert list(vectors) == [str(i) for i in range(40)]
    for got, expected in zip(vectors.values(), data.expected, strict=True):
        assert got.dtype == np.float16
        np.testing.assert_allclose(got.astype(np.float32), expected, atol=1e-3)
    # And what they stand for is near what went in: a wrong order of bits could not be.
    cosines = [
        np.sum(a * b.astype(np.float32), axis=1).mean() for a, b in zip(documents, vectors.values(), strict=True)
    ]
    assert np.mean(cosines) > {1: 0.85, 2: 0.93, 4: 0.97, 8: 0.97}[nbits]


def test_what_fast_plaid_itself_would_rank_first(tmp_path: Path, data: Quantised) -> None:
    write_fast_plaid(tmp_path / "index", data, 9)
    queries = [document + 0 for document in random_documents(5, seed=11)]
    with Index.create(tmp_path / "ours", dim=16) as index:
        assert index.add_batches(plaid.read(tmp_path / "index").batches()) == 40
        for query in queries:
            scores = maxsim.score(query, data.expected)
            hits = index.search(query, k=5)
            assert [hit.id for hit in hits] == [str(i) for i in np.argsort(-scores, kind="stable")[:5]]
            np.testing.assert_allclose([hit.score for hit in hits], np.sort(scores)[::-1][:5], atol=5e-3)


def test_many_batches_and_documents_without_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = random_documents()
    documents[0] = documents[7] = documents[39] = np.empty((0, 16), dtype=np.float32)
    data = quantise(documents, 2)
    write_fast_plaid(tmp_path / "index", data, 8)
    monkeypatch.setattr(plaid, "_TOKENS_AT_ONCE", 5)
    batches = list(plaid.read(tmp_path / "index").batches())
    assert len(batches) > 20
    assert [len(vectors) for batch in batches for vectors in batch["vectors"]] == data.lengths
    for got, expected in zip((v for b in batches for v in b["vectors"]), data.expected, strict=True):
        np.testing.assert_allclose(got.astype(np.float32), expected, atol=1e-3)


@pytest.mark.parametrize("inner", ["", "fast_plaid_index"])
def test_pylate_keeps_its_ids(tmp_path: Path, data: Quantised, inner: str) -> None:
    ids = [f"doc-{i}" if i % 2 else i for i in range(40)]
    write_pylate(tmp_path / "indexes" / "colbert", data, ids, 11)
    assert plaid.read(tmp_path / "indexes" / "colbert" / inner).ids == [str(id_) for id_ in ids]


def test_ids_that_would_run_code_are_refused(tmp_path: Path, data: Quantised) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "sprung",)  # type: ignore[return-value]

    write_pylate(tmp_path / "index", data, list(range(40)), 11)
    (tmp_path / "index" / "plaid_ids_to_documents_ids.pkl").write_bytes(pickle.dumps({0: Trap()}))
    with pytest.raises(InputFileError, match="only plain ids are read"):
        plaid.read(tmp_path / "index")
    assert not (tmp_path / "sprung").exists()


def test_torch_files_that_would_run_code_are_refused(tmp_path: Path, data: Quantised) -> None:
    torch = pytest.importorskip("torch")

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (tmp_path / "sprung",)

    write_colbert(tmp_path / "index", data, 50)
    torch.save(Trap(), tmp_path / "index" / "0.codes.pt")
    with pytest.raises(InputFileError, match=r"0\.codes\.pt: cannot be read"):
        vectors_of(plaid.read(tmp_path / "index"))
    assert not (tmp_path / "sprung").exists()


def test_without_torch_a_colbert_index_says_what_to_do(
    tmp_path: Path, data: Quantised, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    write_colbert(tmp_path / "index", data, 50)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputFileError, match=r"pip install 'serotine\[torch\]'"):
        plaid.read(tmp_path / "index")


def _without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _with(name: str, value: object) -> Callable[[Path], None]:
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
        (_without("0.codes.npy"), "0.codes.npy: No such file"),
        (_without("doclens.1.json"), "doclens.1.json: No such file"),
        (_without("bucket_weights.npy"), "bucket_weights.npy: No such file"),
        (_with("metadata.json", {"nbits": 4}), "does not say nbits and num_chunks"),
        (_with("metadata.json", {"nbits": 3, "num_chunks": 1}), "3 bits with centroids"),
        (_with("metadata.json", {"nbits": 2, "num_chunks": 1}), "16 bucket weights where 2 bits need 4"),
        (_with("metadata.json", b"{"), "is not JSON"),
        (_with("doclens.0.json", [1, -1]), "want a list of numbers of tokens"),
        (_with("doclens.0.json", [1]), "want 1 integers"),
        (_with("0.residuals.npy", np.zeros((3, 3), np.uint8)), "want bytes of shape"),
        (_with("0.codes.npy", b"nonsense"), "0.codes.npy: cannot be read"),
        (_with("centroids.npy", np.array([{}], dtype=object)), "centroids.npy: cannot be read"),
    ],
)
def test_damage_is_named(tmp_path: Path, data: Quantised, damage: Callable[[Path], None], message: str) -> None:
    write_fast_plaid(tmp_path / "index", data, 20)
    damage(tmp_path / "index")
    with pytest.raises(InputFileError) as raised:
        vectors_of(plaid.read(tmp_path / "index"))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_codes_beyond_the_centroids(tmp_path: Path, data: Quantised) -> None:
    write_fast_plaid(tmp_path / "index", data, 50)
    codes = data.codes.copy()
    codes[5] = len(data.centroids)
    np.save(tmp_path / "index" / "0.codes.npy", codes)
    with pytest.raises(InputFileError, match="beyond the 24 there are"):
        vectors_of(plaid.read(tmp_path / "index"))


@pytest.mark.parametrize(
    ("ids", "message"), [(["a"] * 40, "'a' stands for two documents"), (["a"], "does not give every document an id")]
)
def test_ids_that_do_not_fit(tmp_path: Path, data: Quantised, ids: list[str], message: str) -> None:
    write_pylate(tmp_path / "index", data, ids, 20)
    with pytest.raises(InputFileError, match=message):
        plaid.read(tmp_path / "index")


def test_ids_of_an_older_pylate_are_not_passed_over(tmp_path: Path, data: Quantised) -> None:
    write_pylate(tmp_path / "index", data, list(range(40)), 20)
    (tmp_path / "index" / "plaid_ids_to_documents_ids.pkl").rename(
        tmp_path / "index" / "plaid_ids_to_documents_ids.sqlite"
    )
    with pytest.raises(InputFileError, match=r"PyLate before 1\.4"):
        plaid.read(tmp_path / "index")


def test_other_folders_are_none(tmp_path: Path) -> None:
    assert plaid.recognise(tmp_path) is None
    with pytest.raises(InputFileError, match="is no fast-plaid, PyLate or ColBERT index"):
        plaid.read(tmp_path)


def test_serotine_index_takes_it_over(tmp_path: Path, data: Quantised, capsys: pytest.CaptureFixture[str]) -> None:
    write_pylate(tmp_path / "colbert", data, [f"d{i}" for i in range(40)], 11)
    path = tmp_path / "ours.serotine"
    assert main(["index", str(tmp_path / "colbert"), "-o", str(path), "--nbits", "2"]) == 0
    assert "40 documents" in (shown := capsys.readouterr().out)
    assert "It has no encoder" in shown
    with Index.open(path, read_only=True) as index:
        assert index.ids() == [f"d{i}" for i in range(40)]
        assert index.stats().nbits == 2
        np.testing.assert_allclose(index.vectors("d3").astype(np.float32), data.expected[3], atol=1e-3)
    with Index.open(path) as index:
        index.delete(["d5", "d6"])
    assert main(["index", str(tmp_path / "colbert"), "-o", str(path)]) == 0
    assert "2 documents indexed" in (shown := capsys.readouterr().out)
    assert "38 were there already" in shown
    assert main(["index", str(tmp_path / "colbert"), "-o", str(path), "--overwrite"]) == 0
    assert main(["index", str(tmp_path / "colbert"), str(tmp_path), "-o", str(tmp_path / "x")]) == 2
    assert "stays alone" in capsys.readouterr().err


def test_with_its_encoder_it_answers_questions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serotine.encoders, "Encoder", FakeEncoder)
    texts = ["late interaction keeps tokens", "a bicycle needs two wheels", "wings flutter in the wind"]
    data = quantise(FakeEncoder().encode_documents(texts), 8, centroids=8)
    write_pylate(tmp_path / "colbert", data, ["late", "bicycle", "wings"], 11)
    arguments = ["index", str(tmp_path / "colbert"), "-o", str(tmp_path / "ours"), "--encoder", "fake"]
    assert main(arguments) == 0
    capsys.readouterr()
    assert main(["search", str(tmp_path / "ours"), "two wheels", "-k", "1"]) == 0
    assert "bicycle" in capsys.readouterr().out
    monkeypatch.setattr(FakeEncoder, "dim", 8)
    assert main([*arguments, "--overwrite"]) == 1
    assert "name the encoder that the index was made with" in capsys.readouterr().err


def test_ctrl_c_keeps_what_is_committed(
    tmp_path: Path, data: Quantised, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_fast_plaid(tmp_path / "theirs", data, 10)
    monkeypatch.setattr(plaid, "_TOKENS_AT_ONCE", 30)
    rebuilt = plaid.PlaidIndex._rebuilt
    calls = 0

    def stopped(self: plaid.PlaidIndex, *arguments: NDArray[np.generic]) -> NDArray[np.float16]:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return rebuilt(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(plaid.PlaidIndex, "_rebuilt", stopped)
    arguments = ["index", str(tmp_path / "theirs"), "-o", str(tmp_path / "ours")]
    assert main(arguments) == 130
    assert "of 40 are safe" in capsys.readouterr().err
    with Index.open(tmp_path / "ours", read_only=True) as index:
        assert 0 < len(index) < 40
    assert main(arguments) == 0
    with Index.open(tmp_path / "ours", read_only=True) as index:
        assert index.ids() == [str(i) for i in range(40)]


# What fast-plaid 1.7 itself wrote and found; see fast_plaid_1_7/write.py.
REAL = HERE / "fast_plaid_1_7"


def real_documents(name: str, lengths: str) -> list[NDArray[np.float32]]:
    with np.load(REAL / "vectors.npz") as kept:
        rows: NDArray[np.float32] = kept[name].astype(np.float32)
        return np.split(rows, np.cumsum(kept[lengths])[:-1])


def test_files_of_the_real_library() -> None:
    found = plaid.read(REAL / "index")
    documents = real_documents("documents", "lengths")
    vectors = list(vectors_of(found).values())
    assert len(found.lengths) == 3
    assert [len(rows) for rows in vectors] == [len(rows) for rows in documents]
    for rows, original in zip(vectors, documents, strict=True):
        assert np.sum(rows.astype(np.float32) * original, axis=1).min() > 0.95
    told = json.loads((REAL / "found.json").read_text())["found"]
    for query, hits in zip(real_documents("queries", "query_lengths"), told, strict=True):
        scores = maxsim.score(query, vectors)
        assert np.argsort(-scores, kind="stable")[:5].tolist() == [number for number, _ in hits]
        # It computes in float16.
        np.testing.assert_allclose(np.sort(scores)[::-1][:5], [score for _, score in hits], atol=2e-3)


def test_chunks_of_merged_files(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    shutil.copytree(REAL / "index", folder)
    whole = vectors_of(plaid.read(folder))

    def same() -> bool:
        again = vectors_of(plaid.read(folder))
        return all(np.array_equal(again[id_], rows) for id_, rows in whole.items())

    # A chunk's own file counts before what was merged of it; and the manifests may be gone.
    first, second = (sum(lengths) for lengths in plaid.read(folder).lengths[:2])
    for part in ("codes", "residuals"):
        merged = np.load(folder / f"merged_{part}.npy")
        np.save(folder / f"1.{part}.npy", merged[first : first + second])
        merged[first : first + second] = 0
        np.save(folder / f"merged_{part}.npy", merged)
    assert same()
    for part in ("codes", "residuals"):
        (folder / f"merged_{part}.manifest.json").unlink()
    assert same()
    (folder / "merged_codes.manifest.json").write_text("{}")
    with pytest.raises(InputFileError, match=r"does not say where 0\.codes\.npy is"):
        vectors_of(plaid.read(folder))
