"""The dense model of an index's pooled vectors: recorded by name and fingerprint, as the encoder is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from serotine.errors import EncoderError, invalid, wrong_type
from serotine.index.documents import check_pooled_list, finite_pooled, pooled_query, stored_pooled
from serotine.index.recorded_encoder import RecordedEncoder
from serotine.index.store import PooledSettings, Settings
from serotine.issued_warnings import muted_warnings
from serotine.text_encoder import AnyEncoder, PooledEncoder, TextEncoder
from serotine.texts import has_visible

Pooled = bool | int | AnyEncoder
"""What `Index.create` accepts: whose vectors are stored, or the dimension of those that callers give."""


# Far above that of any model; a document's vector stays below a megabyte.
_MAX_DIM = 1 << 18


class PooledModel:
    """The dense model of one index.

    Args:
        settings: settings of the index.
        folder: its folder, for messages.
        model: the model, or None to load the recorded one when it is first needed.
        encoder: of its token vectors, which may be the same model.

    Raises:
        EncoderError: `model` is not the one the index was built with.
    """

    def __init__(
        self, settings: Settings, folder: Path | str, model: PooledEncoder | None, encoder: RecordedEncoder
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._encoder = encoder
        if model is not None:
            check_pooled(settings.pooled, model, folder)
        self._model = model

    @property
    def settings(self) -> PooledSettings | None:
        """What the index records of its pooled vectors; None where it stores none."""
        return self._settings.pooled

    @property
    def dim(self) -> int:
        """Dimension of a pooled vector; 0 where the index stores none."""
        return self._settings.pooled_dim

    @property
    def encodes(self) -> bool:
        """Whether the vectors are of a model, not given by callers."""
        return self.settings is not None and self.settings.encoder is not None

    def get(self) -> PooledEncoder:
        """Return the model.

        Raises:
            EncoderError: the index records none, it cannot be loaded, or it has changed.
        """
        if self._model is None:
            self._model = self._loaded()
        return self._model

    def shares_pass(self) -> bool:
        """Return whether one pass of the encoder gives both the token vectors and the pooled ones of documents."""
        encoder: Any = self._encoder.get()
        return self.get() is encoder and hasattr(encoder, "encode_documents_with_pooled")

    def vectors(self, texts: Sequence[str], *, query: bool) -> NDArray[np.float16]:
        """Return the vectors of texts as they are stored, float16 (texts, dim); zeros for a text without words.

        Raises:
            EncoderError, TypeError, ValueError: the model returned something else.
        """
        model, dim = self.get(), self._settings.pooled_dim
        out = np.zeros((len(texts), dim), dtype=np.float16)
        visible = [i for i, text in enumerate(texts) if has_visible(text)]
        if visible:
            with muted_warnings():
                encoded = model.encode_pooled([texts[i] for i in visible], query=query)
            out[visible] = checked_pooled(model, encoded, len(visible), dim)
        return out

    def query_vectors(self, texts: Sequence[str | None], given: Sequence[Any] | None) -> list[NDArray[np.float32]]:
        """Return the pooled vectors of queries, float32 (dim,): those given, or else of their texts.

        Raises:
            TypeError, ValueError: vectors of another number, shape or dtype; none, where there is no text or no model.
            EncoderError, TypeError, ValueError: the model returned something else.
        """
        settings = self._settings.pooled
        count, dim = len(texts), self.dim
        if not count:
            return []
        if given is not None:
            check_pooled_list(given, count)
            is_cosine = settings is not None and settings.similarity == "cosine"
            names = ["pooled"] if count == 1 else [f"pooled[{i}]" for i in range(count)]
            return [pooled_query(row, name, dim, normalize=is_cosine) for row, name in zip(given, names, strict=True)]
        if not self.encodes or None in texts:
            why = "a query is given as vectors" if self.encodes else "this index has no model of pooled vectors"
            raise ValueError(
                f"pooled: needed in the mode 'pooled', because {why}; pass a vector of shape ({dim},) for every query"
            )
        model = self.get()
        with muted_warnings():
            encoded = model.encode_pooled([text or "" for text in texts], query=True)
        return list(finite_pooled(encoded, f"encoder {model.name!r}", count, dim))

    def _loaded(self) -> PooledEncoder:
        pooled, settings = self._settings.pooled, self._settings
        if pooled is None:
            raise EncoderError(f"{self._folder}: stores no pooled vectors; create the index with them")
        if pooled.encoder is None:
            raise EncoderError(f"{self._folder}: has no model of pooled vectors: callers give them")
        same = (settings.encoder, settings.fingerprint) == (pooled.encoder, pooled.fingerprint)
        if same and hasattr(encoder := self._encoder.get(), "encode_pooled"):
            return cast("PooledEncoder", encoder)
        from serotine.encoders import load_recorded

        model = cast("PooledEncoder", load_recorded(pooled.encoder, pooled.options, pooled.fingerprint))
        check_pooled(pooled, model, self._folder)
        return model


def checked_pooled(model: PooledEncoder, encoded: NDArray[Any], texts: int, dim: int) -> NDArray[np.float16]:
    """Return what a model returned for texts as it is stored; errors as for `PooledModel.vectors`."""
    return stored_pooled(encoded, f"encoder {model.name!r}", texts, dim)


def adapt_pooled(pooled: Pooled | None, encoder: TextEncoder | None) -> tuple[PooledSettings, Any] | None:
    """Return what an index records of pooled vectors, and the model; None for an index without them.

    Args:
        pooled: True for the vectors of `encoder`, another encoder or its name, or a dimension.
        encoder: of the token vectors, if any.

    Raises:
        TypeError, ValueError: an invalid argument.
        EncoderError: a late-interaction encoder, which has no vector of a whole text.
    """
    if pooled is None or pooled is False:
        return None
    if pooled is True:
        if encoder is None:
            raise ValueError("pooled: True needs an encoder; without one, pass the dimension of the vectors to add")
        return describe_pooled(encoder), encoder
    if isinstance(pooled, (int, np.integer)):
        if not 1 <= pooled <= _MAX_DIM:
            raise invalid("pooled", f"a dimension from 1 to {_MAX_DIM:,}", pooled)
        return PooledSettings(int(pooled)), None
    if not _is_model(pooled):
        raise wrong_type("pooled", "True, the name of a dense model, an encoder or a dimension", pooled)
    model = as_pooled_encoder(pooled)
    return describe_pooled(model), model


def as_pooled_encoder(model: AnyEncoder) -> Any:
    """Return a model of any accepted class as an encoder.

    Raises:
        TypeError: it is no model, such as the dimension that `Index.create` takes.
    """
    if not _is_model(model):
        raise wrong_type("pooled", "a dense model or its name", model, fix="leave it out: the index has recorded it")
    from serotine.encoders import as_text_encoder

    return as_text_encoder(model)


def _is_model(value: object) -> bool:
    return isinstance(value, (str, Path)) or hasattr(value, "encode_queries")


def describe_pooled(model: Any) -> PooledSettings:
    """Return the settings that record a dense model.

    Raises:
        EncoderError: it has no vector of a whole text.
    """
    dim = getattr(model, "pooled_dim", None)
    if dim is None or not hasattr(model, "encode_pooled"):
        raise EncoderError(
            f"pooled: encoder {model.name!r} has no vector of a whole text; pass the name of a dense model, such as "
            "'sentence-transformers/all-MiniLM-L6-v2'"
        )
    options = dict(getattr(model, "options", {}))
    return PooledSettings(dim, model.name, model.fingerprint, options, model.pooled_similarity)


def check_pooled(recorded: PooledSettings | None, model: Any, folder: Path | str) -> None:
    """Raise EncoderError unless a model is the one whose pooled vectors an index stores."""
    if recorded is None:
        raise EncoderError(f"{folder}: stores no pooled vectors; leave pooled out, or create the index with it")
    actual = describe_pooled(model)
    if recorded.encoder is None:
        raise EncoderError(
            f"{folder}: its pooled vectors of {recorded.dim} dimensions are given by callers, got the model "
            f"{model.name!r}; leave pooled out, or rebuild the index"
        )
    agrees = recorded.fingerprint in getattr(model, "agreeing_fingerprints", (actual.fingerprint,))
    if not agrees or (recorded.dim, recorded.similarity) != (actual.dim, actual.similarity):
        raise EncoderError(
            f"{folder}: was built with pooled vectors of {described(recorded)}, got {described(actual)}; "
            "use that model, or rebuild the index"
        )


def described(pooled: PooledSettings) -> str:
    """Return in words what pooled vectors are of."""
    if pooled.encoder is None:
        return f"{pooled.dim} dimensions given by callers"
    return f"{pooled.encoder!r} ({pooled.dim} dimensions, {pooled.similarity}, fingerprint {pooled.fingerprint})"
