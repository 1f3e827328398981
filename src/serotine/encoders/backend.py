"""The protocol of what runs a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Backend(Protocol):
    """A loaded model.

    Attributes:
        batch_tokens: number of tokens, padding included, that it takes at once.
    """

    @property
    def batch_tokens(self) -> int: ...  # noqa: D102

    def run(
        self, ids: Sequence[NDArray[np.int64]], attention: Sequence[NDArray[np.bool_]]
    ) -> list[NDArray[np.float32]]:
        """Return the token vectors of every text, before they are scaled to length 1.

        Args:
            ids: int64 (tokens,) per text; one token or more.
            attention: bool (tokens,) per text, whether others attend to a token.

        Returns:
            float32 (tokens, dim) per text.

        Raises:
            EncoderError: the model fails on them.
        """
        ...
