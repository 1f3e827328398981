"""Description of the machine that a benchmark ran on."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serotine import maxsim
from serotine.versions import versions

_CPUINFO = Path("/proc/cpuinfo")


def describe_machine(packages: Sequence[str]) -> dict[str, Any]:
    """Return processor, cores, instruction set, date and versions for a JSON result.

    Packages that are not installed are left out.
    """
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "instruction_set": maxsim.capabilities().current,
        "python": platform.python_version(),
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "versions": versions(packages),
    }


def _processor() -> str:
    if _CPUINFO.is_file():
        for line in _CPUINFO.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
