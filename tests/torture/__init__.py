"""Attacks on an index: ``python -m tests.torture --minutes 20 --seed 1``; docs/reliability.md says what they try."""

from __future__ import annotations

import sys
from pathlib import Path

# `helpers` is beside this package.
sys.path.insert(0, str(Path(__file__).parents[1]))
