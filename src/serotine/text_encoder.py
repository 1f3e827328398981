"""What the index asks of an encoder: anything with these members will do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder


class TextToken(Protocol):
    """One token of a text: its surface and its character span; an empty span for a special token."""

    @property
    def text(self) -> str:
        """The token as the tokeniser writes it."""
        ...

    @property
    def start(self) -> int:
        """First character, in the original text."""
        ...

    @property
    def end(self) -> int:
        """One past its last character."""
        ...


class TextEncoder(Protocol):
    """Text in, token vectors out."""

    @property
    def name(self) -> str:
        """What `serotine.Encoder` can load it by again."""
        ...

    @property
    def dim(self) -> int:
        """Dimension of a token vector."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes whenever the same text would get other vectors."""
        ...

    def encode_queries(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """One float32 (tokens, dim) array a text."""
        ...

    def encode_documents(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """One float32 (tokens, dim) array a text."""
        ...

    def tokens(self, text: str, *, query: bool) -> Sequence[Any]:
        """The `TextToken` of every row that encoding `text` gives, in order."""
        ...


AnyEncoder: TypeAlias = Union[TextEncoder, "MultiVectorEncoder"]
"""What an index takes as its encoder: sentence-transformers' own class too."""
