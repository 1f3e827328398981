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


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of two layers, as a dense encoder."""
    # Imports torch, which not every test needs.
    from helpers.checkpoints import dense

    return dense(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A folder with a small training set."""
    from helpers.training_cases import pairs

    pairs(tmp_path / "pairs.jsonl", range(160))
    return tmp_path
