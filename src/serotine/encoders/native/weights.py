"""A model's weights in 8 bits, as the core computes with them: matrices with one scale per output, word vectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serotine.encoders.blocks import BLOCK, four_bit_blocks
from serotine.encoders.int8 import quantize_rows
from serotine.encoders.native.architecture import PANEL, Architecture
from serotine.encoders.projection import Layer

# Inputs that the core multiplies in one step.
QUAD = 4


@dataclass(frozen=True, slots=True)
class Matrix:
    """An 8-bit matrix.

    Attributes:
        panels: int8 (outputs / 32, inputs / 4, 32, 4), -127 to 127; may be a view of a file.
        scales: float32 (outputs,): an entry is its level times the scale of its output.
        bias: float32 (outputs,), if any.
    """

    panels: NDArray[np.int8]
    scales: NDArray[np.float32]
    bias: NDArray[np.float32] | None

    @classmethod
    def from_rows(
        cls,
        levels: NDArray[np.int8],
        scales: NDArray[np.float32],
        bias: NDArray[np.float32] | None,
        order: NDArray[np.intp] | None = None,
    ) -> Matrix:
        """Return a matrix from levels (outputs, inputs), its outputs in an order (`Architecture.order`)."""
        if order is not None:
            levels, scales, bias = levels[order], scales[order], None if bias is None else bias[order]
        outputs, inputs = levels.shape
        split = levels.reshape(outputs // PANEL, PANEL, inputs // QUAD, QUAD)
        return cls(np.ascontiguousarray(split.transpose(0, 2, 1, 3)), scales, bias)

    @property
    def levels(self) -> NDArray[np.int8]:
        """The levels as int8 (outputs, inputs)."""
        blocks, quads = self.panels.shape[:2]
        return np.ascontiguousarray(self.panels.transpose(0, 2, 1, 3)).reshape(blocks * PANEL, quads * QUAD)


@dataclass(frozen=True, slots=True)
class Words:
    """The vectors of the vocabulary; both arrays may be views of a file.

    Attributes:
        levels: int8 (vocabulary, hidden); or uint8 (vocabulary, hidden / 2), 4-bit levels two per byte, the first in
            the low bits.
        scales: float32 (vocabulary,); or float16 (vocabulary, hidden / 32), one per block.
    """

    levels: NDArray[np.int8] | NDArray[np.uint8]
    scales: NDArray[np.float32] | NDArray[np.float16]

    @classmethod
    def from_rows(cls, rows: NDArray[np.float32]) -> Words:
        """Quantize float32 (vocabulary, hidden): to 4 bits if the vectors came from such blocks, else to 8."""
        return cls(*(four_bit_blocks(rows) or quantize_rows(rows)))

    @property
    def bits(self) -> int:
        """Bits of a level: 8 or 4."""
        return 8 if self.levels.dtype == np.int8 else 4

    @property
    def shape(self) -> tuple[int, int]:
        """Vocabulary and hidden size."""
        rows, width = self.levels.shape
        return rows, width * (8 // self.bits)

    def rows(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors of some words, float32 (ids, hidden)."""
        if self.bits == 8:
            return self.levels[ids].astype(np.float32) * self.scales[ids, None]
        nibbles = self.levels[ids]
        levels = np.stack([nibbles & 15, nibbles >> 4], axis=-1).reshape(len(ids), -1).astype(np.int8)
        levels[levels > 7] -= 16
        return levels.astype(np.float32) * np.repeat(self.scales[ids].astype(np.float32), BLOCK, axis=1)


@dataclass(frozen=True, slots=True)
class Norm:
    """A normalization: gain and, if it has one, bias, float32 (hidden,)."""

    gain: NDArray[np.float32]
    bias: NDArray[np.float32] | None


@dataclass(frozen=True, slots=True)
class TransformerLayer:
    """One layer, its matrices in the order of `Architecture.order`.

    Attributes:
        attention_in: queries, keys and values, one after the other.
        attention_out, feed_in, feed_out: the other matrices.
        attention_norm, feed_norm: the normalizations of the two blocks, after them or before; None for none.
        query_gain, key_gain: of the normalization of each head's queries and keys, float32 (head_dim,), if any.
    """

    attention_in: Matrix
    attention_out: Matrix
    feed_in: Matrix
    feed_out: Matrix
    attention_norm: Norm | None
    feed_norm: Norm | None
    query_gain: NDArray[np.float32] | None = None
    key_gain: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class TransformerWeights:
    """Everything that the native forward pass computes with.

    Attributes:
        architecture: what it computes.
        words: vectors of the vocabulary.
        positions: learned positions, float32 (positions, hidden), token type 0 added; None for rotary ones.
        embedding_norm, final_norm: of the embeddings, and of the last states of a model that normalizes before blocks.
        layers: the layers, first to last.
        projections: the layers between states and vectors.
        activations: of the projections.
    """

    architecture: Architecture
    words: Words
    positions: NDArray[np.float32] | None
    embedding_norm: Norm | None
    final_norm: Norm | None
    layers: list[TransformerLayer]
    projections: list[Layer]
    activations: list[str]
