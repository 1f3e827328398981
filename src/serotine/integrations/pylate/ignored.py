"""Parameters that PyLate has and this engine has no use for."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

# By parameter: the value PyLate gives it, and why another one changes nothing here.
WithoutEffect = Mapping[str, tuple[object, str]]


class IgnoredParameterWarning(UserWarning):
    """A parameter of PyLate's that changes nothing here was given."""


def explain_ignored(where: str, without_effect: WithoutEffect, given: Mapping[str, object], *, stacklevel: int) -> None:
    """Warns, once for all of them, of parameters without effect that were set.

    Args:
        where: whose they are, "indexes.PLAID" for example.
        without_effect: what each is by default, and why it is not needed.
        given: their values in this call.
        stacklevel: which caller the warning points at, counted from the caller of this function as in `warnings.warn`.

    Warns:
        IgnoredParameterWarning: at least one value is not PyLate's own default.
    """
    told = []
    for name, value in given.items():
        default, why = without_effect[name]
        if type(value) is not type(default) or value != default:
            told.append(f"{name} ({why})")
    if told:
        warnings.warn(
            f"{where}: without effect here: {', '.join(told)}", IgnoredParameterWarning, stacklevel=stacklevel + 1
        )
