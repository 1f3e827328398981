"""Telemetry of dependencies, switched off before any of them is imported."""

from __future__ import annotations

import os

# Every library that Serotine imports and that reports usage, with the variable that stops it. They are read when the
# library is imported or first used; child processes inherit them.
SWITCHES = {
    # ONNX Runtime >= 1.29 writes a device id into ~/.cache and uploads events unless this is set before its import.
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HAYSTACK_TELEMETRY_ENABLED": "False",
    # Ray's usage statistics.
    "RAY_USAGE_STATS_ENABLED": "0",
    # The convention (consoledonottrack.com) that several other libraries follow.
    "DO_NOT_TRACK": "1",
}


def disable_telemetry() -> None:
    """Switch off the telemetry of dependencies; a variable that the user has set stays as it is."""
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)
