"""The encoder protocol: the members that an index needs of an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder


class TextToken(Protocol):
    """A token of a text: its surface and its character span, empty for a special token."""

    @property
    def text(self) -> str:
        """The token as the tokenizer writes it."""
        ...

    @property
    def start(self) -> int:
        """First character in the original text."""
        ...

    @property
    def end(self) -> int:
        """One past its last character."""
        ...


class TextEncoder(Protocol):
    """An encoder of texts into token vectors."""

    @property
    def name(self) -> str:
        """Name that `serotine.Encoder` loads it by."""
        ...

    @property
    def dim(self) -> int:
        """Dimension of a token vector."""
        ...

    @property
    def fingerprint(self) -> str:
        """Fingerprint that changes whenever the same text would get other vectors."""
        ...

    def encode_queries(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """Return one float32 (tokens, dim) array per text."""
        ...

    def encode_documents(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """Return one float32 (tokens, dim) array per text."""
        ...

    def tokens(self, text: str, *, query: bool) -> Sequence[Any]:
        """Return the `TextToken` of every row that encoding `text` gives, in order."""
        ...


class PooledEncoder(Protocol):
    """A dense model with one vector of a whole text; `serotine.Encoder` of a dense checkpoint is one."""

    @property
    def name(self) -> str:
        """Name that `serotine.Encoder` loads it by."""
        ...

    @property
    def fingerprint(self) -> str:
        """Fingerprint that changes whenever the same text would get another vector."""
        ...

    @property
    def pooled_dim(self) -> int | None:
        """Dimension of such a vector; None for an encoder that has none."""
        ...

    @property
    def pooled_similarity(self) -> str | None:
        """How vectors are compared: "cosine", whose vectors have length 1, or "dot"."""
        ...

    def encode_pooled(self, texts: Sequence[str], *, query: bool) -> NDArray[np.float32]:
        """Return one vector per text, float32 (texts, dim)."""
        ...


AnyEncoder: TypeAlias = Union[TextEncoder, "MultiVectorEncoder", str, Path]
"""An encoder that an index accepts; a string or a path is a name for `serotine.Encoder`."""
