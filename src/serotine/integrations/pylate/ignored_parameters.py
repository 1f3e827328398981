"""Parameters of PyLate's that have no effect on this engine."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from serotine.errors import IgnoredParameterWarning

# By parameter: PyLate's default, and why another value has no effect here.
IgnoredParameters = Mapping[str, tuple[object, str]]


def warn_ignored(
    owner: str, ignored: IgnoredParameters, values: Mapping[str, object], *, stacklevel: int, note: str = ""
) -> None:
    """Warn once about all parameters without effect that were set.

    Args:
        owner: the class or function they belong to, "indexes.PLAID" for example.
        ignored: each parameter's default, and why it has no effect.
        values: the parameters' values in this call.
        stacklevel: the caller the warning points at, counted from the caller of this function as in `warnings.warn`.
        note: what to say first, whatever was set.

    Warns:
        IgnoredParameterWarning: at least one value is not PyLate's default, or there is a note.
    """
    reasons = []
    for name, value in values.items():
        default, why = ignored[name]
        if type(value) is not type(default) or value != default:
            reasons.append(f"{name} ({why})")
    parts = [note] if note else []
    if reasons:
        parts.append(f"parameters without effect: {', '.join(reasons)}")
    if parts:
        warnings.warn(f"{owner}: {'; '.join(parts)}", IgnoredParameterWarning, stacklevel=stacklevel + 1)
