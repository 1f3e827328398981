"""What a result must say about where it was measured."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from pathlib import Path

from serotine import maxsim


def describe(packages: list[str]) -> dict[str, object]:
    """Processor, cores, instruction set, date and versions, for a JSON result."""
    info = Path("/proc/cpuinfo")
    models = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "instruction_set": maxsim.capabilities().current,
        "python": platform.python_version(),
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "versions": versions,
    }
