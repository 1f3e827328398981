"""torch's dtype: bfloat16 where a CPU multiplies it, and what a fingerprint says of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serotine import Encoder, Index, maxsim
from serotine.encoders import arithmetic, choice, save_checkpoint

torch = pytest.importorskip("torch")
from helpers import checkpoints  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
# `conftest.float32_in_torch` replaces it while tests run.
BEST_DTYPE = choice.best_dtype
TEXTS = ["A bat hunts at night.", "Heat transfer at a wall, measured twice.", "owl"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return checkpoints.pylate(tmp_path / "checkpoint")


def load(folder: Path, dtype: str | None = None) -> Encoder:
    return Encoder(folder, backend="torch", device="cpu", dtype=dtype)


@pytest.mark.parametrize(
    ("supported", "device", "dtype"),
    [
        (("avx512_bf16", "avx512_vnni"), "cpu", "bfloat16"),
        (("avx512_vnni", "avx2"), "cpu", "float32"),
        (("avx512_bf16",), "cuda", "float32"),
    ],
)
def test_the_dtype_follows_the_processor(
    monkeypatch: pytest.MonkeyPatch, supported: tuple[str, ...], device: str, dtype: str
) -> None:
    capabilities = replace(maxsim.capabilities(), supported=supported)
    monkeypatch.setattr(maxsim, "capabilities", lambda: capabilities)
    assert BEST_DTYPE(device) == dtype


def test_the_dtype_is_that_of_the_processor_unless_given(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "best_dtype", lambda device: "bfloat16")
    encoder = load(folder)
    assert next(encoder.backend.model.parameters()).dtype == torch.bfloat16  # type: ignore[attr-defined]
    assert load(folder, "float32").backend.dtype == "float32"  # type: ignore[attr-defined]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_fingerprint_names_16_bits_that_agree_with_float32(folder: Path, dtype: str) -> None:
    full, half = load(folder, "float32"), load(folder, dtype)
    assert half.fingerprint == f"{full.fingerprint}-{dtype}"
    assert arithmetic(half.fingerprint) == f"torch, {dtype}"
    assert half.fingerprint in full.agreeing_fingerprints
    assert full.fingerprint in half.agreeing_fingerprints
    for ours, theirs in zip(half.encode_documents(TEXTS), full.encode_documents(TEXTS), strict=True):
        cosines = np.einsum("ij,ij->i", ours, theirs)
        assert not np.array_equal(ours, theirs)
        assert cosines.mean() > 0.999


@pytest.mark.parametrize(("made", "searched"), [("float32", "bfloat16"), ("bfloat16", "float32")])
def test_an_index_is_searched_in_the_other_dtype_and_loads_in_its_own(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: str, searched: str
) -> None:
    with Index.create(tmp_path / "i.serotine", encoder=load(folder, made)) as index:
        index.add(["a", "b", "c"], texts=TEXTS)
    with Index.open(tmp_path / "i.serotine", encoder=load(folder, searched)) as index:
        assert len(index.search(TEXTS[0], k=3)) == 3
    # The other dtype is what this processor would take.
    monkeypatch.setattr(choice, "best_dtype", lambda device: searched)
    with Index.open(tmp_path / "i.serotine") as index:
        assert index.search(TEXTS[0], k=1)[0].id == "a"
        recorded: Any = index.encoder
    assert recorded.backend.dtype == made


def test_a_checkpoint_is_saved_in_float32(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "best_dtype", lambda device: "bfloat16")
    encoder = load(folder)
    assert encoder.fingerprint.endswith("-bfloat16")
    save_checkpoint(encoder, tmp_path / "saved", format="pylate")
    expected, restored = load(folder, "float32"), load(tmp_path / "saved", "float32")
    for ours, theirs in zip(restored.encode_documents(TEXTS), expected.encode_documents(TEXTS), strict=True):
        np.testing.assert_array_equal(ours, theirs)
