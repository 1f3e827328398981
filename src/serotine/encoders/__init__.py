"""Encoders: text in, one vector per token out. What other rooms may import; each name loads its module on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serotine.lazy_names import lazy_names

if TYPE_CHECKING:
    from serotine.encoders.backend import Backend
    from serotine.encoders.dense_pooling import pooling_modes
    from serotine.encoders.encoder import Encoder
    from serotine.encoders.export import export_encoder
    from serotine.encoders.fingerprint import NATIVE_ARITHMETIC, arithmetic, source_fingerprint
    from serotine.encoders.formats import read_checkpoint
    from serotine.encoders.formats.exported import is_exported
    from serotine.encoders.formats.folder import PUNCTUATION, Checkpoint
    from serotine.encoders.hub import hub_error
    from serotine.encoders.location import Location, locate
    from serotine.encoders.multi_vector import MultiVectorAdapter, as_text_encoder, load_recorded
    from serotine.encoders.options import EncoderOptions
    from serotine.encoders.parallel import EncoderPool
    from serotine.encoders.published_scores import check_published, published_for
    from serotine.encoders.saving import save_checkpoint
    from serotine.encoders.settings import read_json
    from serotine.encoders.spec import EncoderSpec, Expansion, MarkerPosition, Projection, Side, TokenPooling
    from serotine.encoders.token_pooling import cluster_means, cluster_tokens
    from serotine.encoders.tokenization import TextTokenizer, Token
    from serotine.encoders.torch import TorchBackend
    from serotine.encoders.torch.qwen3 import register_qwen3
    from serotine.encoders.weights import WEIGHTS_FILE

_MODULES = {
    "NATIVE_ARITHMETIC": "fingerprint",
    "PUNCTUATION": "formats.folder",
    "WEIGHTS_FILE": "weights",
    "Backend": "backend",
    "Checkpoint": "formats.folder",
    "Encoder": "encoder",
    "EncoderOptions": "options",
    "EncoderPool": "parallel",
    "EncoderSpec": "spec",
    "Expansion": "spec",
    "Location": "location",
    "MarkerPosition": "spec",
    "MultiVectorAdapter": "multi_vector",
    "Projection": "spec",
    "Side": "spec",
    "TextTokenizer": "tokenization",
    "Token": "tokenization",
    "TokenPooling": "spec",
    "TorchBackend": "torch",
    "arithmetic": "fingerprint",
    "as_text_encoder": "multi_vector",
    "check_published": "published_scores",
    "cluster_means": "token_pooling",
    "cluster_tokens": "token_pooling",
    "export_encoder": "export",
    "hub_error": "hub",
    "is_exported": "formats.exported",
    "load_recorded": "multi_vector",
    "locate": "location",
    "pooling_modes": "dense_pooling",
    "published_for": "published_scores",
    "read_checkpoint": "formats",
    "read_json": "settings",
    "register_qwen3": "torch.qwen3",
    "save_checkpoint": "saving",
    "source_fingerprint": "fingerprint",
}
__all__ = [
    "NATIVE_ARITHMETIC",
    "PUNCTUATION",
    "WEIGHTS_FILE",
    "Backend",
    "Checkpoint",
    "Encoder",
    "EncoderOptions",
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
    "arithmetic",
    "as_text_encoder",
    "check_published",
    "cluster_means",
    "cluster_tokens",
    "export_encoder",
    "hub_error",
    "is_exported",
    "load_recorded",
    "locate",
    "pooling_modes",
    "published_for",
    "read_checkpoint",
    "read_json",
    "register_qwen3",
    "save_checkpoint",
    "source_fingerprint",
]


__getattr__ = lazy_names(__name__, _MODULES)
