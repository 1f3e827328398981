"""The options that change an encoder's vectors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from serotine.encoders.spec import EncoderSpec, MarkerPosition
from serotine.errors import EncoderError, invalid, not_one_of, unknown_key

_POSITIONS = ("prepend", "after_first")


@dataclass(frozen=True, slots=True)
class EncoderOptions:
    """Options that override a checkpoint's settings; None leaves the checkpoint's own.

    Attributes:
        marker_position: position of the markers, such as "[Q] ": "prepend" or "after_first".
        dim: number of leading dimensions of every vector, for models trained that way (Matryoshka).
        pool_factor: document vectors are merged until about one in `pool_factor` remains.
        query_length: most tokens of a query, special tokens included.

    Raises:
        ValueError: an option is not valid.
    """

    marker_position: MarkerPosition | None = None
    dim: int | None = None
    pool_factor: float | None = None
    query_length: int | None = None

    def __post_init__(self) -> None:
        if self.marker_position is not None and self.marker_position not in _POSITIONS:
            raise not_one_of("marker_position", _POSITIONS, self.marker_position)
        for name in ("dim", "query_length"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise invalid(name, "an integer of at least 1", value)
        factor = self.pool_factor
        if factor is not None:
            if isinstance(factor, bool) or not isinstance(factor, (int, float)) or not 1 <= factor < math.inf:
                raise invalid("pool_factor", "a number of at least 1", factor)
            object.__setattr__(self, "pool_factor", float(factor))

    @classmethod
    def from_recorded(cls, name: str, options: Mapping[str, Any]) -> EncoderOptions:
        """Return the options that an index recorded for the encoder `name`.

        Raises:
            EncoderError: they are not valid.
        """
        valid = [field.name for field in fields(cls)]
        for key in options:
            if key not in valid:
                raise EncoderError(f"encoder {name!r}: {unknown_key(key, valid)}; install a newer Serotine")
        try:
            return cls(**options)
        except ValueError as error:
            raise EncoderError(f"encoder {name!r}: {error}") from None

    def values(self) -> dict[str, Any]:
        """Return the options that are set, by name."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    def apply(self, spec: EncoderSpec) -> EncoderSpec:
        """Return a spec with these options; `dim` is left to the caller, because the model's own states stay whole.

        Raises:
            ValueError: the model has fewer than `dim` dimensions.
        """
        if self.dim is not None and self.dim > spec.dim:
            raise invalid("dim", f"between 1 and {spec.dim}, the dimension of {spec.name!r}", self.dim)
        if self.marker_position is not None:
            spec = spec.with_marker_position(self.marker_position)
        if self.pool_factor is not None:
            spec = replace(spec, pooling=replace(spec.pooling, factor=self.pool_factor, normalize=True))
        if self.query_length is not None:
            spec = spec.with_query_length(self.query_length)
        return spec
