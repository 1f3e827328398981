"""`serotine model export --native`: the folder it writes, from checkpoints and from ONNX exports; damaged folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from helpers import checkpoints, encoder_reference
from helpers.checkpoints import TEXTS, configure

from serotine import Encoder, Index
from serotine.cli import main
from serotine.encoders import export_encoder, save_checkpoint
from serotine.encoders.native import NativeBackend, read_weights
from serotine.encoders.onnx import read_bert
from serotine.errors import EncoderError

pytestmark = pytest.mark.filterwarnings("default")


def mean_cosine(one: Encoder, other: Encoder) -> float:
    pairs = zip(one.encode_documents(TEXTS), other.encode_documents(TEXTS), strict=True)
    return float(np.concatenate([np.einsum("ij,ij->i", a, b) for a, b in pairs]).mean())


@pytest.mark.parametrize("kind", checkpoints.NATIVE_SIZES)
def test_a_native_export_gives_the_vectors_of_the_native_backend(kind: str, tmp_path: Path) -> None:
    sizes = checkpoints.NATIVE_SIZES[kind]
    folder = checkpoints.pylate(tmp_path / "c", kind, sizes=sizes, do_query_expansion=False)
    report = export_encoder(folder, tmp_path / "out", format="native")
    assert (report.format, report.precision) == ("native", "int8")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md", "model.safetensors", "serotine.json", "tokenizer.json",
    ]  # fmt: skip
    source, written = Encoder(folder, backend="native"), Encoder(tmp_path / "out")
    assert isinstance(written.backend, NativeBackend)
    # The projection is stored in 16 bits.
    assert mean_cosine(source, written) > 0.9999
    assert written.spec.source_cosine == pytest.approx(report.mean_cosine, abs=1e-5)


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("words", [8, 4])
def test_an_onnx_export_becomes_native(precision: Any, words: int, tmp_path: Path) -> None:
    folder = configure(checkpoints.pylate(tmp_path / "c", layers=2))
    if words == 4:
        checkpoints.change_tensor(folder, "embeddings.word_embeddings.weight", encoder_reference.four_bits)
    export_encoder(folder, tmp_path / "onnx", precision=precision)
    export_encoder(tmp_path / "onnx", tmp_path / "native", format="native")
    export_encoder(folder, tmp_path / "direct", format="native")
    converted = read_weights(tmp_path / "native/model.safetensors")
    direct = read_weights(tmp_path / "direct/model.safetensors")
    assert converted.words.bits == direct.words.bits == words
    np.testing.assert_array_equal(converted.words.levels, direct.words.levels)
    for one, other in zip(converted.layers, direct.layers, strict=True):
        for name in ("attention_in", "attention_out", "feed_in", "feed_out"):
            np.testing.assert_array_equal(getattr(one, name).levels, getattr(other, name).levels)
            np.testing.assert_array_equal(getattr(one, name).scales, getattr(other, name).scales)
    if precision == "int8":
        stored = read_bert(tmp_path / "onnx/model.onnx").levels
        levels, scales = stored["encoder.layer.1.output.dense.weight"]
        np.testing.assert_array_equal(converted.layers[1].feed_out.levels, levels)
        np.testing.assert_array_equal(converted.layers[1].feed_out.scales, scales)
    assert mean_cosine(Encoder(tmp_path / "native"), Encoder(tmp_path / "direct")) > 0.9999


def test_fingerprints_name_the_arithmetic_and_agree_with_the_source(tmp_path: Path) -> None:
    folder = configure(checkpoints.pylate(tmp_path / "c"))
    export_encoder(folder, tmp_path / "onnx", precision="int8")
    export_encoder(tmp_path / "onnx", tmp_path / "native", format="native")
    export_encoder(folder, tmp_path / "direct", format="native")
    onnx, native, direct = (Encoder(tmp_path / name) for name in ("onnx", "native", "direct"))
    assert native.fingerprint == f"{onnx.fingerprint}-int8"
    assert native.agreeing_fingerprints[:2] == (native.fingerprint, onnx.fingerprint)
    assert direct.fingerprint == Encoder(folder, backend="native").fingerprint
    source = Encoder(folder, backend="torch").fingerprint
    dtypes = (source, f"{source}-bfloat16", f"{source}-float16")
    assert direct.agreeing_fingerprints == (direct.fingerprint, *dtypes)
    # Without a measured cosine nothing is promised; nor below the limit.
    assert Encoder(folder, backend="native").agreeing_fingerprints == (direct.fingerprint,)
    file = tmp_path / "native/serotine.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"source_cosine": 0.98}))
    assert Encoder(tmp_path / "native").agreeing_fingerprints == (native.fingerprint,)


def test_an_index_of_the_source_is_searched_and_extended_natively_but_not_the_other_way(tmp_path: Path) -> None:
    folder = configure(checkpoints.pylate(tmp_path / "c"))
    export_encoder(folder, tmp_path / "native", format="native")
    source, native = Encoder(folder, backend="torch", device="cpu"), Encoder(tmp_path / "native")
    with Index.create(tmp_path / "source.serotine", encoder=source) as index:
        index.add(["a", "b"], texts=TEXTS[:2])
    with Index.open(tmp_path / "source.serotine", encoder=native) as index:
        index.add(["c"], texts=[TEXTS[4]])
        assert len(index.search(TEXTS[0], k=3)) == 3
    with Index.create(tmp_path / "native.serotine", encoder=native) as index:
        index.add(["a", "b"], texts=TEXTS[:2])
    with pytest.raises(EncoderError, match=f"{native.fingerprint}.*; load it with backend='native'"):
        Index.open(tmp_path / "native.serotine", encoder=source)


def test_what_cannot_be_exported_natively(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"4 heads of 32 dimensions; .*; export it to ONNX"):
        export_encoder(checkpoints.pylate(tmp_path / "narrow"), tmp_path / "x", format="native")
    with pytest.raises(EncoderError, match="model type 'lfm2'"):
        export_encoder(checkpoints.pylate(tmp_path / "m", "lfm2"), tmp_path / "x", format="native")
    folder = configure(checkpoints.pylate(tmp_path / "c"))
    with pytest.raises(ValueError, match="precision: a native export has 'int8' only, got 'float32'"):
        export_encoder(folder, tmp_path / "x", format="native", precision="float32")
    export_encoder(folder, tmp_path / "native", format="native")
    with pytest.raises(EncoderError, match="already a native export"):
        export_encoder(tmp_path / "native", tmp_path / "x", format="native")
    assert not (tmp_path / "x").exists()


def test_damaged_native_folders(tmp_path: Path) -> None:
    folder = configure(checkpoints.pylate(tmp_path / "c"))
    export_encoder(folder, tmp_path / "out", format="native")
    file = tmp_path / "out/model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(EncoderError, match=r"model\.safetensors: SHA-256 must be .*; install the model again"):
        Encoder(tmp_path / "out")
    (tmp_path / "out/model.onnx").write_bytes(b"")
    with pytest.raises(EncoderError, match=r"needs one of model\.safetensors and model\.onnx, got both"):
        Encoder(tmp_path / "out")
    (tmp_path / "out/model.onnx").unlink()
    file.unlink()
    with pytest.raises(EncoderError, match=r"needs one of model\.safetensors and model\.onnx, got neither"):
        Encoder(tmp_path / "out")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = configure(checkpoints.pylate(tmp_path / "c"))
    assert main(["model", "export", str(folder), str(tmp_path / "out"), "--native", "--json", "-"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["format"], result["precision"]) == ("native", "int8")
    assert result["mean_cosine"] > 0.99


def test_a_native_export_is_saved_as_a_checkpoint_again(tmp_path: Path) -> None:
    folder = configure(checkpoints.stanford(tmp_path / "c"))
    export_encoder(folder, tmp_path / "native", format="native")
    native = Encoder(tmp_path / "native")
    save_checkpoint(native, tmp_path / "saved", format="pylate")
    assert mean_cosine(native, Encoder(tmp_path / "saved", backend="torch", device="cpu")) > 0.995
