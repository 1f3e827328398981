"""Encoders: text in, one vector a token out."""

from __future__ import annotations

from serotine.encoders.encoder import Encoder
from serotine.encoders.parallel import EncoderPool
from serotine.encoders.spec import EncoderSpec
from serotine.encoders.tokenization import Token

__all__ = ["Encoder", "EncoderPool", "EncoderSpec", "Token"]
