"""`import serotine` is fast and pulls in nothing heavy."""

from __future__ import annotations

import statistics
import subprocess
import sys

import pytest

import serotine

PROGRAM = """
import sys, time
started = time.perf_counter()
import serotine
spent = time.perf_counter() - started
serotine.maxsim, serotine.Index
heavy = [name for name in ("torch", "triton", "onnxruntime", "transformers") if name in sys.modules]
print(spent, *heavy)
"""


def test_import_is_fast_and_light() -> None:
    times = []
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
        spent, *heavy = done.stdout.split()
        assert heavy == []
        times.append(float(spent))
    assert statistics.median(times) < 0.5


def test_every_public_name_is_there() -> None:
    for name in serotine.__all__:
        assert getattr(serotine, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = serotine.Nothing  # type: ignore[attr-defined]


def test_what_needs_torch_says_so() -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from serotine import maxsim\n"
        "try:\n    maxsim.score_contrastive_train\nexcept ImportError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert "pip install 'serotine[torch]'" in done.stdout
