"""An exported encoder as a checkpoint again: what training starts from when only the export is shipped."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from helpers import checkpoints  # noqa: E402
from helpers.checkpoints import TEXTS  # noqa: E402

from serotine import Encoder  # noqa: E402
from serotine.encoders import export_encoder, save_checkpoint  # noqa: E402
from serotine.errors import EncoderError  # noqa: E402

RESIDUAL = {"inputs": checkpoints.HIDDEN, "outputs": checkpoints.HIDDEN, "residual": True}
GELU = {**RESIDUAL, "activation": "torch.nn.modules.activation.GELU"}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def cosines(first: Encoder, second: Encoder) -> np.ndarray[Any, Any]:
    pairs = zip(first.encode_documents(TEXTS), second.encode_documents(TEXTS), strict=True)
    return np.concatenate([np.einsum("ij,ij->i", one, other) for one, other in pairs])


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("head", [{}, RESIDUAL, GELU])
def test_a_restored_checkpoint_gives_the_vectors_of_its_export(tmp_path: Path, precision: Any, head: Any) -> None:
    source = checkpoints.sentence_transformers(tmp_path / "source", dense=head)
    export_encoder(source, tmp_path / "export", precision=precision)
    exported = Encoder(tmp_path / "export")
    save_checkpoint(exported, tmp_path / "restored")
    restored = Encoder(tmp_path / "restored", backend="torch")
    # Eight-bit products round the states too, which the restored matrices do not.
    assert cosines(exported, restored).min() > (0.99999 if precision == "float32" else 0.97)
    assert restored.spec.settings() == exported.spec.settings()
    # Trainable: sentence-transformers loads it, and its vectors are ours.
    from sentence_transformers import MultiVectorEncoder

    theirs = MultiVectorEncoder(str(tmp_path / "restored"), device="cpu", local_files_only=True)
    for one, other in zip(
        restored.encode_documents(TEXTS), theirs.encode_document(TEXTS, convert_to_numpy=True), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_default_encoder_can_be_trained_further(tmp_path: Path) -> None:
    shipped = Encoder()
    # No warning about the texts that compare the two.
    save_checkpoint(shipped, tmp_path / "mini")
    restored = Encoder(tmp_path / "mini", backend="torch")
    texts = ["Which animal emerges late?", "The serotine leaves its roost late, and hunts beetles over pastures."]
    for one, other in zip(shipped.encode_documents(texts), restored.encode_documents(texts), strict=True):
        assert np.einsum("ij,ij->i", one, other).min() > 0.98


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("modernbert", r"model\.onnx: only exports of BERT models can be turned back into a checkpoint"),
        ("bert", "its projections were merged when it was exported; use the checkpoint it was exported from"),
    ],
)
def test_other_exports_say_why_they_cannot(tmp_path: Path, kind: str, message: str) -> None:
    layers = 3 if kind == "bert" else 1
    export_encoder(checkpoints.pylate(tmp_path / "source", kind, layers=layers), tmp_path / "export")
    with pytest.raises(EncoderError, match=message):
        save_checkpoint(Encoder(tmp_path / "export"), tmp_path / "restored")
    assert not (tmp_path / "restored").exists()
