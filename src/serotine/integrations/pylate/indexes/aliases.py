"""`indexes.WARP` and `indexes.Tachiom`: names of PyLate's other indexes whose searches return documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serotine.integrations.pylate.ignored_parameters import warn_ignored
from serotine.integrations.pylate.indexes.engine import SAME_INDEX
from serotine.integrations.pylate.indexes.plaid import PLAID

__all__ = ["WARP", "Tachiom"]


class WARP(PLAID):
    """`PLAID` by another name; parameters other than these have no effect.

    Args:
        index_folder, index_name, override, nbits, show_progress: as in `PLAID`.
        kwargs: without effect.

    Warns:
        IgnoredParameterWarning: always; it names the parameters without effect.
    """

    def __init__(
        self,
        index_folder: str = "indexes",
        index_name: str = "warp",
        override: bool = False,
        nbits: int = 4,
        show_progress: bool = True,
        **kwargs: Any,
    ) -> None:
        _warn("indexes.WARP", kwargs)
        super().__init__(index_folder, index_name, override, nbits=nbits, show_progress=show_progress)


class Tachiom(PLAID):
    """`PLAID` by another name; parameters other than these have no effect.

    Args:
        index_folder, index_name, override, show_progress: as in `PLAID`.
        kwargs: without effect.

    Warns:
        IgnoredParameterWarning: always; it names the parameters without effect.
    """

    def __init__(
        self,
        index_folder: str = "indexes",
        index_name: str = "tachiom",
        override: bool = False,
        show_progress: bool = True,
        **kwargs: Any,
    ) -> None:
        _warn("indexes.Tachiom", kwargs)
        super().__init__(index_folder, index_name, override, show_progress=show_progress)


def _warn(owner: str, values: Mapping[str, object]) -> None:
    ignored = dict.fromkeys(values, (None, "of another engine"))
    warn_ignored(owner, ignored, values, stacklevel=3, note=SAME_INDEX)
