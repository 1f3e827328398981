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
    """Return the processor's name; where the system has them, with family and model: several have one name."""
    fields: dict[str, str] = {}
    if _CPUINFO.is_file():
        # The first processor's lines, up to an empty one.
        for line in _CPUINFO.read_text().partition("\n\n")[0].splitlines():
            name, _, value = line.partition(":")
            fields[name.strip()] = value.strip()
    name = fields.get("model name") or platform.processor() or platform.machine()
    if "cpu family" in fields and "model" in fields:
        return f"{name} (family {fields['cpu family']}, model {fields['model']})"
    return name
