"""PyLate's surface on this engine: change ``from pylate import …`` to ``from serotine.integrations.pylate import …``.

Names, parameters, defaults and what comes back are those of PyLate 1.6: `models`, `indexes`, `retrieve`, `rank`,
`scores`, `losses`, `evaluation`, `utils`. A parameter that has no meaning here is accepted with one
`IgnoredParameterWarning` that says why; one that PyLate does not have is a TypeError. What differs, and why, is in
docs/pylate.md. Needs torch (``pip install 'serotine[pylate]'``); the evaluators and the trainer need
sentence-transformers 6.
"""

from __future__ import annotations

import importlib.util

from serotine.integrations.pylate.ignored import IgnoredParameterWarning

if importlib.util.find_spec("torch") is None:
    raise ImportError("serotine.integrations.pylate needs torch; run: pip install 'serotine[pylate]'")

__all__ = ["IgnoredParameterWarning"]
