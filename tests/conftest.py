"""What several test modules share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from serotine import maxsim


@pytest.fixture(params=maxsim.capabilities().supported)
def path(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every instruction set this machine can run, one after the other."""
    maxsim.use(request.param)
    yield request.param
    maxsim.use("auto")
