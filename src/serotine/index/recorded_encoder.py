"""The encoder of an index: recorded by name and fingerprint, passed by the caller or loaded by that name."""

from __future__ import annotations

from pathlib import Path

from serotine.encoders import NATIVE_ARITHMETIC, source_fingerprint
from serotine.errors import EncoderError
from serotine.index.store import Settings
from serotine.text_encoder import AnyEncoder, TextEncoder
from serotine.wording import local_fix

_MEMBERS = ("name", "dim", "fingerprint", "encode_queries", "encode_documents", "tokens")


class RecordedEncoder:
    """The encoder of one index.

    Args:
        settings: settings of the index.
        folder: its folder, for messages.
        encoder: the encoder, or None to load the recorded one when it is first needed.

    Raises:
        EncoderError: `encoder` is not the one the index was built with.
    """

    def __init__(self, settings: Settings, folder: Path | str, encoder: TextEncoder | None) -> None:
        if encoder is not None:
            check_encoder(settings, encoder, folder)
        self._settings = settings
        self._folder = folder
        self._encoder = encoder

    @property
    def loaded(self) -> bool:
        """Whether the encoder was given, or has been needed before."""
        return self._encoder is not None

    def get(self) -> TextEncoder:
        """Return the encoder.

        Raises:
            EncoderError: the index records none, it cannot be loaded, or it has changed.
        """
        if self._encoder is None:
            self._encoder = load_encoder(self._settings, self._folder)
        return self._encoder


def adapt(encoder: AnyEncoder | None) -> TextEncoder | None:
    """Return an encoder of any accepted class as a `TextEncoder`."""
    if encoder is None:
        return None
    from serotine.encoders import as_text_encoder

    return as_text_encoder(encoder)


def describe(encoder: TextEncoder) -> Settings:
    """Return the settings that record an encoder.

    Raises:
        TypeError: it lacks members of `TextEncoder`.
    """
    if not all(hasattr(encoder, member) for member in _MEMBERS):
        raise TypeError(
            f"encoder: must be an encoder such as serotine.Encoder, got {type(encoder).__name__}; "
            f"it needs {', '.join(_MEMBERS)}"
        )
    # Only encoders that can be loaded in more than one way have options.
    return Settings(encoder.dim, encoder.name, encoder.fingerprint, dict(getattr(encoder, "options", {})))


def check_encoder(settings: Settings, encoder: TextEncoder, folder: Path | str) -> None:
    """Raise EncoderError unless it is the index's encoder; an index of vectors takes any encoder of its dimension."""
    actual = describe(encoder)
    if settings.encoder is None:
        if actual.dim != settings.dim:
            raise EncoderError(f"{folder}: dim of the encoder must be {settings.dim}, got {actual.dim}")
    elif settings.fingerprint not in getattr(encoder, "agreeing_fingerprints", (actual.fingerprint,)):
        recorded = settings.fingerprint or ""
        advice = "use that encoder"
        if source_fingerprint(recorded) == source_fingerprint(actual.fingerprint or ""):
            # The same weights in another arithmetic.
            backend = "native" if recorded.endswith(NATIVE_ARITHMETIC) else "torch"
            advice = local_fix(f"load it with backend={backend!r}", command=f"load it with --backend {backend}")
        raise EncoderError(
            f"{folder}: was built with encoder {_described(settings)}, got {_described(actual)}; "
            f"{advice}, or rebuild the index"
        )


def load_encoder(settings: Settings, folder: Path | str) -> TextEncoder:
    """Load the encoder that an index records.

    Raises:
        EncoderError: the index records none, it cannot be loaded, or it has changed.
    """
    if settings.encoder is None:
        raise EncoderError(
            f"{folder}: this index has no encoder; search it with vectors of shape (tokens, {settings.dim})"
        )
    from serotine.encoders import load_recorded

    encoder = load_recorded(settings.encoder, settings.encoder_options, settings.fingerprint)
    check_encoder(settings, encoder, folder)
    return encoder


def _described(settings: Settings) -> str:
    options = "".join(f", {key}={value!r}" for key, value in settings.encoder_options.items())
    return f"{settings.encoder!r}{options} (fingerprint {settings.fingerprint})"
