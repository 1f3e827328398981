"""The architecture of a native model: what its forward pass computes, apart from the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Outputs of a panel; every width is a multiple of it. Rows of the two halves that a panel pairs.
PANEL, HALF = 32, 16
# Fields that the core's constructor takes under the same names.
_CORE_FIELDS = (
    "hidden", "heads", "key_value_heads", "head_dim", "intermediate", "longest", "epsilon", "activation", "gated",
    "rms_norm", "pre_norm", "theta", "local_theta", "reach",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Architecture:
    """A transformer encoder; `native/encoder/encoder.hpp` says what each choice means.

    Attributes:
        hidden: width of the states.
        heads, key_value_heads: heads of queries, and of keys and values.
        head_dim: width of a head.
        intermediate: width of the feed-forward network's inner states.
        longest: most tokens of a text.
        epsilon: of all normalizations.
        activation: of the feed-forward networks: "GELU", "GELUTanh" or, only gated, "SiLU".
        gated: whether the activated half of `feed_in` multiplies the other.
        rms_norm: whether normalization is that of the root mean square instead of mean and variance.
        pre_norm: whether each block's input is normalized instead of its residual sum.
        theta: base of the rotary positions; None for learned positions.
        local_theta: that of local layers, if it differs.
        reach: in local layers a token attends to those at most this far away.
        local_layers: of every layer, whether it is local.
        first_position: row of the learned positions that a text's first token gets.
        embedding_norm: whether embeddings are normalized.
        first_attention_norm: whether the first layer has a normalization before attention.
        norm_bias: whether normalizations have a bias.
        attention_bias, feed_bias: whether matrices have biases, those of attention and of the feed-forward networks.
        query_key_norm: whether each head's queries and keys are normalized.
    """

    hidden: int
    heads: int
    key_value_heads: int
    head_dim: int
    intermediate: int
    longest: int
    epsilon: float
    activation: str
    local_layers: tuple[bool, ...]
    gated: bool = False
    rms_norm: bool = False
    pre_norm: bool = False
    theta: float | None = None
    local_theta: float | None = None
    reach: int | None = None
    first_position: int = 0
    embedding_norm: bool = True
    first_attention_norm: bool = True
    norm_bias: bool = True
    attention_bias: bool = True
    feed_bias: bool = True
    query_key_norm: bool = False

    @classmethod
    def bert(
        cls,
        *,
        hidden: int,
        heads: int,
        intermediate: int,
        layers: int,
        positions: int,
        epsilon: float,
        tanh: bool = False,
        first_position: int = 0,
    ) -> Architecture:
        """Return BERT's architecture, with `positions` rows of learned positions."""
        return cls(
            hidden=hidden,
            heads=heads,
            key_value_heads=heads,
            head_dim=hidden // heads,
            intermediate=intermediate,
            longest=positions - first_position,
            epsilon=epsilon,
            activation="GELUTanh" if tanh else "GELU",
            local_layers=(False,) * layers,
            first_position=first_position,
        )

    @property
    def is_bert(self) -> bool:
        """Whether this is `bert` with positions from 0, apart from widths and the form of GELU."""
        tanh = self.activation == "GELUTanh"
        return self == Architecture.bert(
            hidden=self.hidden,
            heads=self.heads,
            intermediate=self.intermediate,
            layers=len(self.local_layers),
            positions=self.longest,
            epsilon=self.epsilon,
            tanh=tanh,
        )

    @property
    def matrices(self) -> dict[str, tuple[int, int, bool]]:
        """The matrices of a layer: outputs, inputs, and whether there is a bias."""
        queries, rows = self.heads * self.head_dim, (self.heads + 2 * self.key_value_heads) * self.head_dim
        return {
            "attention_in": (rows, self.hidden, self.attention_bias),
            "attention_out": (self.hidden, queries, self.attention_bias),
            "feed_in": (self.intermediate * (1 + self.gated), self.hidden, self.feed_bias),
            "feed_out": (self.hidden, self.intermediate, self.feed_bias),
        }

    def order(self, matrix: str) -> NDArray[np.intp] | None:
        """Return the order in which the core reads the outputs of a matrix; None if it is their own.

        The halves of a gated matrix are paired, and with rotary positions the halves of each head of queries and keys.
        """
        if matrix == "feed_in" and self.gated:
            return _paired(2 * self.intermediate)
        if matrix == "attention_in" and self.theta is not None:
            heads = self.heads + self.key_value_heads
            rotated = np.arange(heads)[:, None] * self.head_dim + _paired(self.head_dim)
            values = np.arange(self.key_value_heads * self.head_dim) + heads * self.head_dim
            return np.concatenate([rotated.ravel(), values])
        return None

    def has_norm(self, norm: str, layer: int) -> bool:
        """Return whether a layer has the normalization "attention_norm" or "feed_norm"."""
        return norm == "feed_norm" or layer > 0 or self.first_attention_norm

    def reason_not_covered(self) -> str | None:
        """Return why the core cannot run it, or None where it can."""
        for name, width in (("hidden_size", self.hidden), ("intermediate_size", self.intermediate)):
            if width <= 0 or width % PANEL:
                return f"{name} {width}; the native backend has multiples of {PANEL}"
        if self.head_dim <= 0 or self.head_dim % PANEL:
            return (
                f"{self.heads} heads of {self.hidden} dimensions; the native backend has heads of a multiple of "
                f"{PANEL}, got {self.head_dim}"
            )
        if self.heads % self.key_value_heads:
            return f"{self.heads} heads share {self.key_value_heads}; the native backend needs a multiple"
        return None

    def core_arguments(self) -> dict[str, Any]:
        """Return the arguments of the core's constructor."""
        return {name: getattr(self, name) for name in _CORE_FIELDS}


def _paired(rows: int) -> NDArray[np.intp]:
    """Return the order that takes blocks of 16 rows from the first and the second half in turn."""
    return np.arange(rows).reshape(2, -1, HALF).transpose(1, 0, 2).ravel()
