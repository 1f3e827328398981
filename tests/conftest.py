"""What several test modules share."""

from __future__ import annotations

import os
from pathlib import Path

# Triton reads this while it is being imported, and transformers imports it: before any test module does. Where there
# is an NVIDIA driver the kernels run on the GPU.
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")

from typing import TYPE_CHECKING

import pytest

from serotine import maxsim

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=maxsim.capabilities().supported)
def path(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every instruction set this machine can run, one after the other."""
    maxsim.use(request.param)
    yield request.param
    maxsim.use("auto")
