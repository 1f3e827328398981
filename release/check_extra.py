"""Check one extra of an installed Serotine: its requirements are there, and import.

Run it as `release/check_extra.py serve` with the Python of an environment that has serotine[serve]. With `--list` it
prints the extras as JSON, and needs no installation.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Modules whose import needs more than the extra: a GPU's libraries, a driver manager.
IMPORT_NEEDS_MORE = {"adbc_driver_duckdb", "triton"}


def main() -> int:
    """Check the extra that is named."""
    if sys.argv[1:] == ["--list"]:
        print(json.dumps(extras()))
        return 0
    if len(sys.argv) != 2 or sys.argv[1] not in extras():
        raise SystemExit(f"extra: must be one of {', '.join(extras())}, got {sys.argv[1:]!r}")
    importlib.import_module("serotine.cli")
    modules = modules_of(sys.argv[1])
    for module in modules:
        importlib.import_module(module)
    print(f"serotine[{sys.argv[1]}]: imported {', '.join(modules) or 'nothing'}")
    return 0


def extras() -> list[str]:
    """Return the names of the extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return list(project["optional-dependencies"])


def modules_of(extra: str) -> list[str]:
    """Return the importable names of an extra's own requirements; an absent requirement raises."""
    owners = importlib.metadata.packages_distributions()
    modules = []
    for requirement in importlib.metadata.requires("serotine") or []:
        if not re.search(rf"extra == ['\"]{re.escape(extra)}['\"]", requirement):
            continue
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        if name == "serotine" or ("platform_system" in requirement and sys.platform != "linux"):
            continue
        name = importlib.metadata.metadata(name)["Name"]
        owned = sorted(m for m, distributions in owners.items() if name in distributions and m.isidentifier())
        modules += [module for module in owned if module not in IMPORT_NEEDS_MORE and not module.startswith("_")]
    return modules


if __name__ == "__main__":
    sys.exit(main())
