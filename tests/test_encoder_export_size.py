"""What makes an export small: embeddings in blocks of 4 bits, a compressed tokenizer."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

from helpers import checkpoints
from safetensors.numpy import load_file, save_file

from serotine import Encoder
from serotine.encoders import export_encoder
from serotine.encoders.blocks import four_bit_blocks
from serotine.encoders.formats import folder as folder_module
from serotine.errors import EncoderError

TEXTS = ["a bat hunts", "the late serotine emerges", ""]
WORDS = "embeddings.word_embeddings.weight"


def rounded_to_blocks(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return values rounded as GGML's Q4_0 does."""
    blocks = values.reshape(-1, 32)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1)[:, None], axis=1)
    scales = (largest / -8).astype(np.float16).astype(np.float32)
    levels = np.rint(blocks / np.where(scales == 0, 1, scales)).clip(-8, 7)
    return (levels * scales).reshape(values.shape).astype(np.float32)


def unpacked(levels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    numbers = np.stack([levels & 15, levels >> 4], axis=2).reshape(len(levels), -1).astype(np.int8)
    return np.where(numbers > 7, numbers - 16, numbers)


def test_blocks_are_exact_or_refused() -> None:
    table = rounded_to_blocks(np.random.default_rng(0).standard_normal((500, 96)).astype(np.float32))
    table[3] = 0
    blocks = four_bit_blocks(table)
    assert blocks is not None
    levels, scales = blocks
    assert (levels.shape, scales.shape, scales.dtype) == ((500, 48), (500, 3), np.float16)
    again = unpacked(levels).reshape(500, 3, 32) * scales.astype(np.float32)[:, :, None]
    assert np.array_equal(again.reshape(500, 96), table)
    nudged = table.copy()
    nudged[499, 95] += 1e-3
    assert four_bit_blocks(nudged) is None
    assert four_bit_blocks(table[:, :80]) is None  # not whole blocks
    assert four_bit_blocks(np.full((1, 32), 1e30, dtype=np.float32)) is None  # no such scale in 16 bits


@pytest.fixture
def four_bit_checkpoint(tmp_path: Path) -> Path:
    """A checkpoint whose word embeddings came from 4-bit blocks."""
    folder = checkpoints.sentence_transformers(tmp_path / "c")
    file = folder / "model.safetensors"
    tensors = load_file(file)
    tensors[WORDS] = rounded_to_blocks(tensors[WORDS])
    save_file(tensors, file, metadata={"format": "pt"})
    return folder


def test_embeddings_from_four_bits_stay_in_four_bits(four_bit_checkpoint: Path, tmp_path: Path) -> None:
    import onnx
    import onnxruntime

    export_encoder(four_bit_checkpoint, tmp_path / "out", precision="int8", texts=TEXTS)
    model = onnx.load(tmp_path / "out/model.onnx")
    (lookup,) = (node for node in model.graph.node if node.op_type == "GatherBlockQuantized")
    # No node says where it was traced.
    assert not any(node.metadata_props for node in model.graph.node)
    assert str(Path(np.__file__).parents[1]).encode() not in (tmp_path / "out/model.onnx").read_bytes()
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert types[lookup.input[0]] == onnx.TensorProto.INT4
    # The rows that the model looks up are those of the checkpoint, bit for bit.
    model.graph.output.append(onnx.helper.make_tensor_value_info(lookup.output[0], onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    table = load_file(four_bit_checkpoint / "model.safetensors")[WORDS]
    ids = np.random.default_rng(1).integers(0, len(table), (3, 7))
    (rows,) = session.run([lookup.output[0]], {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    assert np.array_equal(rows, table[ids])
    expected, vectors = (Encoder(path).encode_documents(TEXTS) for path in (four_bit_checkpoint, tmp_path / "out"))
    cosines = [np.einsum("ij,ij->i", a, b) for a, b in zip(expected, vectors, strict=True)]
    assert np.concatenate(cosines).mean() > 0.99


def test_a_large_tokenizer_is_compressed(
    four_bit_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_encoder(four_bit_checkpoint, tmp_path / "plain", texts=TEXTS)
    monkeypatch.setattr(folder_module, "_COMPRESSED_FROM", 1000)
    export_encoder(four_bit_checkpoint, tmp_path / "small", texts=TEXTS)
    assert (tmp_path / "plain/tokenizer.json").is_file()
    file = tmp_path / "small/tokenizer.json.xz"
    assert not (tmp_path / "small/tokenizer.json").exists()
    assert file.stat().st_size < 0.5 * (tmp_path / "plain/tokenizer.json").stat().st_size
    plain, small = Encoder(tmp_path / "plain"), Encoder(tmp_path / "small")
    for text in TEXTS:
        assert plain.tokens(text, query=False) == small.tokens(text, query=False)
    # A float32 export has the fingerprint of its checkpoint, whatever its files.
    assert plain.fingerprint == small.fingerprint == Encoder(four_bit_checkpoint).fingerprint
    whole = file.read_bytes()
    for damaged, message in (
        (whole[:-100], "cannot be read as a tokenizer"),
        (b"PK" + whole[2:], "cannot be read as a tokenizer"),
        (lzma.compress(b"{}"), "cannot be read as a tokenizer"),
    ):
        file.write_bytes(damaged)
        with pytest.raises(EncoderError, match=message):
            Encoder(tmp_path / "small")
    file.write_bytes(whole)
    monkeypatch.setattr(folder_module, "_MAX_TOKENIZER_BYTES", 1000)
    with pytest.raises(EncoderError, match=r"cannot be read as a tokenizer .*more than 1,000 bytes"):
        Encoder(tmp_path / "small")
    assert "tokenizer" not in json.loads((tmp_path / "small/serotine.json").read_text())
