"""The index compared with a dictionary, through changes, reopenings and forks in any order; see torture/model.py."""

from __future__ import annotations

import sys

import pytest
from hypothesis import HealthCheck, settings
from torture.model import IndexMachine

TestIndexModel = IndexMachine.TestCase
TestIndexModel.settings = settings(
    max_examples=12,
    stateful_step_count=15,
    deadline=None,
    report_multiple_bugs=False,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the attacks fork, and read /proc")
