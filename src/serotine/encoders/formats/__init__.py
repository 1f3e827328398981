"""Checkpoint formats: each reader turns a folder into an `EncoderSpec`, and runs no code in it."""

from __future__ import annotations

from pathlib import Path

from serotine.encoders.formats import dense, exported, sentence_transformers, stanford
from serotine.encoders.formats.folder import Checkpoint
from serotine.encoders.spec import EncoderSpec
from serotine.errors import EncoderError

__all__ = ["read_checkpoint"]


def read_checkpoint(folder: Path, name: str) -> EncoderSpec:
    """Read a checkpoint of any format.

    Args:
        folder: its folder.
        name: `EncoderSpec.name`, which loads it again.

    Raises:
        EncoderError: its format is unknown, a file is damaged, or it needs code of its own.
    """
    if (folder / exported.SPEC_FILE).is_file():
        return exported.read(folder, name)
    checkpoint = Checkpoint(folder, name)
    kind = checkpoint.settings.text("model_type")
    if kind in ("MultiVectorEncoder", "ColBERT"):
        return sentence_transformers.read(checkpoint, pylate=kind == "ColBERT")
    if kind not in (None, "SentenceTransformer"):
        raise EncoderError(
            f"{checkpoint.settings.path}: 'model_type' must be MultiVectorEncoder, ColBERT or SentenceTransformer, "
            f"got {kind!r}"
        )
    if kind is None and sentence_transformers.looks_like_pylate(checkpoint):
        return sentence_transformers.read(checkpoint, pylate=True)
    if kind is None and stanford.looks_like(checkpoint):
        return stanford.read(checkpoint)
    return dense.read(checkpoint)
