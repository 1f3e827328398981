"""Checkpoint formats: each reader turns a folder into the one `EncoderSpec`, running nothing that lies in it."""

from __future__ import annotations

from pathlib import Path

from serotine.encoders.formats import dense, exported, sentence_transformers, stanford
from serotine.encoders.formats.folder import Checkpoint
from serotine.encoders.spec import EncoderSpec
from serotine.errors import EncoderError

__all__ = ["read_checkpoint"]


def read_checkpoint(folder: Path, name: str, model: Path | None = None) -> EncoderSpec:
    """Reads a checkpoint in whichever format it is.

    Args:
        folder: where it is.
        name: what loads it again.
        model: of an exported encoder: its ONNX file, where that is not in the folder.

    Raises:
        EncoderError: it is of no known format, damaged, or asks for what only its own code could do.
    """
    if (folder / exported.SPEC_FILE).is_file():
        return exported.read(folder, name, model)
    checkpoint = Checkpoint(folder, name)
    kind = checkpoint.settings.text("model_type")
    if kind in ("MultiVectorEncoder", "ColBERT"):
        return sentence_transformers.read(checkpoint, pylate=kind == "ColBERT")
    if kind not in (None, "SentenceTransformer"):
        raise EncoderError(f"{checkpoint.settings.path}: {kind!r} is no late-interaction or dense encoder")
    if kind is None and sentence_transformers.looks_like_pylate(checkpoint):
        return sentence_transformers.read(checkpoint, pylate=True)
    if kind is None and stanford.looks_like(checkpoint):
        return stanford.read(checkpoint)
    return dense.read(checkpoint)
