"""The arguments of a new index: validated, and compared with those an existing index was created with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict

from serotine.errors import EncoderError, IndexExistsError, check_flags, invalid, not_one_of, wrong_type
from serotine.index import recorded_encoder
from serotine.index.files import MAX_CENTROIDS
from serotine.index.pooled_model import Pooled, adapt_pooled, check_pooled, described
from serotine.index.store import PooledSettings, Settings, check_filterable
from serotine.text_encoder import AnyEncoder, PooledEncoder, TextEncoder

_DEFAULT_NBITS = 4


class CreateKeywords(TypedDict, total=False):
    """The keywords of `Index.create`, for methods that pass them through."""

    encoder: AnyEncoder | None
    dim: int | None
    nbits: int | None
    keep_vectors: bool | None
    filterable: dict[str, type] | None
    centroids: int | None
    pooled: Pooled | None


@dataclass(frozen=True, slots=True)
class CreateOptions:
    """The validated arguments of `Index.create`; None for each one that was not given.

    Attributes:
        encoder: the encoder.
        dim: dimension of the vectors of an index without an encoder.
        nbits: bits per dimension of the residual codes.
        keep_vectors: whether float16 vectors stay beside the codes.
        filterable: declared fields with the names of their types.
        centroids: number of centroids of a codebook.
        pooled: what the index records of pooled vectors.
        pooled_model: the dense model of these, if there is one.

    Raises:
        TypeError, ValueError: names the argument.
    """

    encoder: TextEncoder | None
    dim: int | None
    nbits: int | None
    keep_vectors: bool | None
    filterable: dict[str, str] | None
    centroids: int | None
    pooled: PooledSettings | None = None
    pooled_model: PooledEncoder | None = None

    @classmethod
    def of(
        cls,
        encoder: AnyEncoder | None = None,
        dim: int | None = None,
        nbits: int | None = None,
        keep_vectors: bool | None = None,
        filterable: dict[str, type] | None = None,
        centroids: int | None = None,
        pooled: Pooled | None = None,
    ) -> CreateOptions:
        """Validate the arguments of `Index.create`."""
        if encoder is not None and dim is not None:
            raise ValueError("encoder, dim: at most one of the two is allowed; dim is for an index without an encoder")
        if dim is not None:
            if isinstance(dim, bool) or not isinstance(dim, int):
                raise wrong_type("dim", "an int of at least 1", dim)
            if dim < 1:
                raise invalid("dim", "at least 1", dim)
        if nbits not in (None, 2, 4, 8):
            raise not_one_of("nbits", (2, 4, 8), nbits)
        if centroids is not None and (type(centroids) is not int or not 1 <= centroids <= MAX_CENTROIDS):
            raise invalid("centroids", f"an int from 1 to {MAX_CENTROIDS:,}", centroids)
        if keep_vectors is not None:
            check_flags(keep_vectors=keep_vectors)
        text_encoder = recorded_encoder.adapt(encoder)
        if pooled is True and text_encoder is None and dim is None:
            from serotine.encoders import Encoder

            text_encoder = Encoder()
        recorded, model = adapt_pooled(pooled, text_encoder) or (None, None)
        return cls(
            encoder=text_encoder,
            dim=dim,
            nbits=None if nbits is None else int(nbits),
            keep_vectors=None if keep_vectors is None else bool(keep_vectors),
            filterable=None if filterable is None else check_filterable(filterable),
            centroids=centroids,
            pooled=recorded,
            pooled_model=model,
        )

    def with_encoder(self) -> CreateOptions:
        """Return these options with the default encoder where neither an encoder nor a dimension was given."""
        if self.encoder is not None or self.dim is not None:
            return self
        from serotine.encoders import Encoder

        return replace(self, encoder=Encoder())

    def settings(self) -> Settings:
        """Return the settings of a new index; requires an encoder or a dimension."""
        if self.encoder is not None:
            settings = recorded_encoder.describe(self.encoder)
            if settings.dim < 1:
                raise invalid("encoder: its dim", "at least 1", settings.dim)
        else:
            settings = Settings(self.dim or 0)
        return replace(
            settings,
            nbits=_DEFAULT_NBITS if self.nbits is None else self.nbits,
            keep_vectors=self.keep_vectors is not False,
            filterable=self.filterable or {},
            centroids=self.centroids,
            pooled=self.pooled,
        )

    def check_existing(self, path: Path, settings: Settings) -> None:
        """Compare the arguments that were given with the settings of the index at `path`.

        Raises:
            EncoderError: the encoder is not the one the index was built with.
            IndexExistsError: another argument differs; names every difference.
        """
        if self.encoder is not None:
            recorded_encoder.check_encoder(settings, self.encoder, path)
            if settings.encoder is None:
                raise EncoderError(
                    f"{path}: was created with dim={settings.dim} and no encoder, got encoder {self.encoder.name!r}; "
                    "pass dim, or choose another path"
                )
        if self.dim is not None and settings.encoder is not None:
            raise EncoderError(
                f"{path}: was created with encoder {settings.encoder!r}, got dim={self.dim} and no encoder; "
                "leave dim out, or choose another path"
            )
        if self.pooled_model is not None:
            check_pooled(settings.pooled, self.pooled_model, path)
        elif self.pooled is not None and self.pooled != settings.pooled:
            recorded_pooled = "without" if settings.pooled is None else f"with {described(settings.pooled)} as"
            raise IndexExistsError(
                f"{path}: was created {recorded_pooled} pooled vectors, got pooled={self.pooled.dim}; "
                "leave pooled out, or choose another path"
            )
        requested = {
            "dim": self.dim,
            "nbits": self.nbits,
            "keep_vectors": self.keep_vectors,
            "filterable": self.filterable,
            "centroids": self.centroids,
        }
        different = {
            name: value for name, value in requested.items() if value is not None and value != getattr(settings, name)
        }
        if different:
            recorded = ", ".join(f"{name}={getattr(settings, name)!r}" for name in different)
            given = ", ".join(f"{name}={value!r}" for name, value in different.items())
            raise IndexExistsError(
                f"{path}: was created with {recorded}, got {given}; leave {', '.join(different)} out, "
                "or choose another path"
            )
