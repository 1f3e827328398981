"""What several test modules share."""

from __future__ import annotations

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
