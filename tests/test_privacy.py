"""Nothing is sent, and nothing is written outside the index: dependencies' telemetry is off."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from serotine.privacy import SWITCHES

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("serotine_mini")
# Indexes and searches with the default encoder, with ONNX Runtime loaded if it is installed, then stays alive for as
# long as argv says: ONNX Runtime uploads after some seconds.
PROGRAM = """
import contextlib, sys, time
import serotine
with contextlib.suppress(ImportError):
    import onnxruntime
from serotine import Encoder, Index
with Index.create("notes.serotine", encoder=Encoder()) as index:
    index.add(ids=["a"], texts=["The serotine is a late bat."])
    assert index.search("bats", k=1)[0].id == "a"
time.sleep(float(sys.argv[1]))
"""


def run(folder: Path, seconds: float, *prefix: str, **variables: str) -> Path:
    """Run the program with an empty home folder, and return that folder."""
    home = folder / "home"
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if name not in SWITCHES}
    environment = {name: value for name, value in environment.items() if not name.startswith(("HF_", "XDG_"))}
    environment |= {"HOME": str(home), **variables}
    command = [*prefix, sys.executable, "-c", PROGRAM, str(seconds)]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return home


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_nothing_is_written_into_the_home_folder(tmp_path: Path) -> None:
    assert files(run(tmp_path, 0)) == []


def test_a_variable_set_by_the_user_stays(tmp_path: Path) -> None:
    program = "import os, serotine; print(os.environ['ORT_DISABLE_TELEMETRY'], os.environ['DO_NOT_TRACK'])"
    environment = {name: value for name, value in os.environ.items() if name not in SWITCHES}
    environment["DO_NOT_TRACK"] = "0"
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["1", "0"]


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_nothing_is_sent(tmp_path: Path) -> None:
    traces = tmp_path / "calls"
    probe = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True)  # noqa: S607
    if probe.returncode:
        pytest.skip("this machine forbids tracing")
    home = run(tmp_path, 12, "strace", "-f", "-e", "trace=%network", "-o", str(traces))
    sent = [line for line in traces.read_text().splitlines() if "AF_INET" in line or "sendto(" in line]
    assert sent == []
    assert files(home) == []
