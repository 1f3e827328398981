"""Encoders: text in, one vector per token out. What other rooms may import; each name loads its module on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serotine.encoders.backend import Backend
    from serotine.encoders.encoder import Encoder
    from serotine.encoders.formats import read_checkpoint
    from serotine.encoders.formats.folder import PUNCTUATION, Checkpoint
    from serotine.encoders.hub import hub_error
    from serotine.encoders.location import Location, locate
    from serotine.encoders.multi_vector import MultiVectorAdapter, as_text_encoder, load_recorded
    from serotine.encoders.parallel import EncoderPool
    from serotine.encoders.saving import save
    from serotine.encoders.settings import read_json
    from serotine.encoders.spec import EncoderSpec, Expansion, MarkerPosition, Projection, Side, TokenPooling
    from serotine.encoders.tokenization import TextTokenizer, Token
    from serotine.encoders.torch import TorchBackend
    from serotine.encoders.torch.qwen3 import register_qwen3
    from serotine.encoders.weights import WEIGHTS_FILE

_MODULES = {
    "Backend": "backend",
    "Checkpoint": "formats.folder",
    "Encoder": "encoder",
    "EncoderPool": "parallel",
    "EncoderSpec": "spec",
    "Expansion": "spec",
    "Location": "location",
    "MarkerPosition": "spec",
    "MultiVectorAdapter": "multi_vector",
    "PUNCTUATION": "formats.folder",
    "Projection": "spec",
    "Side": "spec",
    "TextTokenizer": "tokenization",
    "Token": "tokenization",
    "TokenPooling": "spec",
    "TorchBackend": "torch",
    "WEIGHTS_FILE": "weights",
    "as_text_encoder": "multi_vector",
    "hub_error": "hub",
    "load_recorded": "multi_vector",
    "locate": "location",
    "read_checkpoint": "formats",
    "read_json": "settings",
    "register_qwen3": "torch.qwen3",
    "save": "saving",
}
__all__ = [
    "PUNCTUATION",
    "WEIGHTS_FILE",
    "Backend",
    "Checkpoint",
    "Encoder",
    "EncoderPool",
    "EncoderSpec",
    "Expansion",
    "Location",
    "MarkerPosition",
    "MultiVectorAdapter",
    "Projection",
    "Side",
    "TextTokenizer",
    "Token",
    "TokenPooling",
    "TorchBackend",
    "as_text_encoder",
    "hub_error",
    "load_recorded",
    "locate",
    "read_checkpoint",
    "read_json",
    "register_qwen3",
    "save",
]


def __getattr__(name: str) -> Any:
    """Import a name from its module on first use; the torch backend imports torch."""
    if name in _MODULES:
        return getattr(importlib.import_module(f"serotine.encoders.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'serotine.encoders' has no attribute {name!r}")
