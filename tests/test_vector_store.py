from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("safetensors", reason="safetensors is not installed")

from serotine.errors import InputFileError
from serotine.evaluation import VectorStore, vector_store


class Lengths:
    """Vectors of a text's length, and the calls that asked for them."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(self, texts: Any) -> list[np.ndarray[Any, Any]]:
        self.calls.append(list(texts))
        return [np.full((1 + len(text) % 3, 2), len(text), dtype=np.float32) for text in texts]


def test_texts_are_encoded_once_when_they_are_first_asked_for(tmp_path: Path) -> None:
    encode = Lengths()
    store = VectorStore(tmp_path, encode, "lengths")
    assert encode.calls == []
    first = store.vectors(["ccc", "a", "ccc"])
    assert [len(vectors) for vectors in first] == [1, 2, 1]
    assert [vectors[0, 0] for vectors in store.vectors(["bb", "a"])] == [2, 1]
    # Short texts first: little padding.
    assert encode.calls == [["a", "ccc"], ["bb"]]
    # Another process, or the next, reads what is stored; another encoder does not.
    again, other = VectorStore(tmp_path, encode, "lengths"), VectorStore(tmp_path, encode, "other")
    for vectors, expected in zip(again.vectors(["ccc", "a", "ccc"]), first, strict=True):
        assert vectors.dtype == np.float32
        assert np.array_equal(vectors, expected)
    assert (store.encoded, again.encoded) == (3, 0)
    other.vectors(["a"])
    assert other.encoded == 1


def test_two_stores_in_one_folder(tmp_path: Path) -> None:
    """As in two processes of a run: neither sees what the other writes, and both results remain valid."""
    encode = Lengths()
    stores = [VectorStore(tmp_path, encode, "lengths") for _ in range(2)]
    for texts in (["a", "bb"], ["bb", "ccc"], ["a", "bb"]):
        for store in stores:
            assert [vectors[0, 0] for vectors in store.vectors(texts)] == [len(text) for text in texts]
    assert VectorStore(tmp_path, encode, "lengths").vectors(["ccc"])[0][0, 0] == 3
    assert [store.encoded for store in stores] == [3, 3]


def test_few_files_are_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_store, "MAX_OPEN_FILES", 8)
    texts = ["x" * (number % 50) + str(number) for number in range(120)]
    store = VectorStore(tmp_path, Lengths(), "lengths")
    for start in range(0, len(texts), 2):
        store.vectors(texts[start : start + 2])
    for text, vectors in zip(texts, store.vectors(texts), strict=True):
        assert vectors.shape == (1 + len(text) % 3, 2)
        assert (vectors == len(text)).all()
    maps = Path("/proc/self/maps")
    if maps.is_file():
        assert maps.read_text().count(str(tmp_path)) <= 8
    assert not list(tmp_path.rglob(".*"))


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    VectorStore(tmp_path, Lengths(), "lengths").vectors(["a"])
    (file,) = tmp_path.rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(InputFileError, match=rf"{file.name}: damaged .*; delete it and run the same command again"):
        VectorStore(tmp_path, Lengths(), "lengths")
