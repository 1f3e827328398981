"""The protocol of what runs a model."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Backend(Protocol):
    """A loaded model."""

    def run(self, ids: NDArray[np.int64], attention: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return token vectors, before they are scaled to length 1.

        Args:
            ids: int64 (batch, tokens).
            attention: int64 (batch, tokens), 1 for tokens that others attend to.

        Returns:
            float32 (batch, tokens, dim).

        Raises:
            EncoderError: the model fails on them.
        """
        ...
