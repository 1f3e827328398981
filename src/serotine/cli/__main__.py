"""``python -m serotine.cli``."""

from __future__ import annotations

import sys

from serotine.cli import main

sys.exit(main())
