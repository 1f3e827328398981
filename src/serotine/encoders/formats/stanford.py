"""Checkpoints of Stanford's ColBERT: a BERT-like model whose file also holds the projection, `linear.weight`."""

from __future__ import annotations

from serotine.encoders.formats.folder import PUNCTUATION, Checkpoint
from serotine.encoders.settings import SettingsFile
from serotine.encoders.spec import EncoderSpec, Expansion, Projection, Side
from serotine.encoders.weights import weight_files
from serotine.errors import EncoderError

_ARCHITECTURE = "HF_ColBERT"
_QUERY_LENGTH = 32


def looks_like(checkpoint: Checkpoint) -> bool:
    """Return whether the configuration names Stanford's architecture."""
    return _ARCHITECTURE in (checkpoint.config.strings("architectures") or [])


def read(checkpoint: Checkpoint) -> EncoderSpec:
    """Read a Stanford ColBERT checkpoint.

    Raises:
        EncoderError: as `formats.read_checkpoint`.
    """
    metadata = SettingsFile(checkpoint.folder / "artifact.metadata", missing_ok=True)
    query_marker = metadata.text("query_token_id", "[unused0]") or "[unused0]"
    document_marker = metadata.text("doc_token_id", "[unused1]") or "[unused1]"
    for marker in (query_marker, document_marker):
        checkpoint.token_id(marker, "a marker")
    weight_files(checkpoint.folder)
    shape = checkpoint.backbone_shapes.get("linear.weight")
    if shape is None or len(shape) != 2:
        raise EncoderError(
            f"{checkpoint.folder}: tensor 'linear.weight' is missing; it must have {checkpoint.hidden_size} columns"
        )
    if shape[1] != checkpoint.hidden_size:
        raise EncoderError(
            f"{checkpoint.folder}: tensor 'linear.weight' must have {checkpoint.hidden_size} columns, "
            f"got {shape[0]}x{shape[1]}"
        )
    dim = metadata.integer("dim", shape[0])
    if dim != shape[0]:
        raise EncoderError(f"{metadata.path}: 'dim' must be {shape[0]}, the rows of tensor 'linear.weight', got {dim}")
    query_length = metadata.integer("query_maxlen", _QUERY_LENGTH) or _QUERY_LENGTH
    max_tokens = checkpoint.max_tokens()
    skip = checkpoint.skip_ids(PUNCTUATION) if metadata.flag("mask_punctuation", True) else ()
    expansion = Expansion(checkpoint.expansion_token(), query_length, metadata.flag("attend_to_mask_tokens", False))
    return EncoderSpec(
        name=checkpoint.name,
        folder=checkpoint.folder,
        origin="stanford",
        dim=shape[0],
        # The marker follows [CLS], which the tokenizer puts before the text.
        query=Side(query_length, query_marker + " ", expansion=expansion),
        document=Side(metadata.integer("doc_maxlen", max_tokens) or max_tokens, document_marker + " ", skip=skip),
        backbone=checkpoint.model_type,
        tokenizer=checkpoint.tokenizer_file,
        markers=checkpoint.markers([query_marker, document_marker]),
        padding_left=checkpoint.pads_left,
        cut_left=checkpoint.truncates_left,
        projections=(Projection("", shape[1], shape[0]),),
    )
