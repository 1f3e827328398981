"""PyLate's surface on this engine: change ``from pylate import …`` to ``from serotine.integrations.pylate import …``.

Names, parameters, defaults and return values are those of PyLate 1.6: `models`, `indexes`, `retrieve`, `rank`,
`scores`, `losses`, `evaluation`, `utils`. A parameter without effect is accepted with one `IgnoredParameterWarning`
that says why; an unknown parameter is a TypeError. docs/pylate.md lists the differences and their reasons. Needs torch
(``pip install 'serotine[pylate]'``); the evaluators and the trainer need sentence-transformers 6.
"""

from __future__ import annotations

import importlib.util

from serotine.errors import IgnoredParameterWarning, missing_extra

if importlib.util.find_spec("torch") is None:
    raise ImportError(missing_extra("serotine.integrations.pylate", "pylate"))

__all__ = ["IgnoredParameterWarning"]
