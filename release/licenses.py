"""Write docs/reference/licenses.md: the licenses of what Serotine installs, as its packages declare them.

    python release/licenses.py

Asks the package index for the packages' metadata; nothing is installed.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/reference/licenses.md"
# Earlier ones do not report License-Expression.
OLDEST_PIP = 25
_NAME = re.compile(r"[A-Za-z0-9._-]+")
# What classifiers call these, and what older packages write instead of an SPDX expression.
_SPDX = {
    "Apache Software License": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    # Which one, they do not say.
    "BSD License": "BSD",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}


def dependencies() -> dict[str, list[str]]:
    """Return the packages of pyproject.toml, by name, with the extras that install them; none for the base install."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found: dict[str, list[str]] = {_name(requirement): [] for requirement in project["dependencies"]}
    for extra, requirements in project["optional-dependencies"].items():
        for requirement in requirements:
            if (name := _name(requirement)) != "serotine":
                found.setdefault(name, []).append(extra)
    return found


def declared(expression: str | None, text: str | None, classifiers: Iterable[str]) -> str:
    """Return the license that metadata declare: the expression, else classifiers, else the first line of the text."""
    if expression:
        return expression
    names = [line.rpartition(" :: ")[2] for line in classifiers if line.startswith("License :: OSI Approved :: ")]
    names = names or [line for line in (text or "").strip().splitlines()[:1] if line]
    return " OR ".join(_SPDX.get(name, name) for name in names) or "not declared"


def _name(requirement: str) -> str:
    match = _NAME.match(requirement)
    if match is None:
        raise ValueError(f"pyproject.toml: no package in {requirement!r}")
    return match[0]


def _licenses(names: Iterable[str]) -> dict[str, str]:
    """Return the licenses that the newest versions declare, by lower-case name."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        options = ["--dry-run", "--no-deps", "--ignore-installed", "--quiet", "--report", str(report)]
        subprocess.run([sys.executable, "-m", "pip", "install", *options, *names], check=True)
        written = json.loads(report.read_text())
    if int(written["pip_version"].partition(".")[0]) < OLDEST_PIP:
        raise SystemExit(f"pip {written['pip_version']} omits licenses; run: python -m pip install 'pip>={OLDEST_PIP}'")
    packages = [package["metadata"] for package in written["install"]]
    return {
        package["name"].lower().replace("_", "-"): declared(
            package.get("license_expression"), package.get("license"), package.get("classifier", ())
        )
        for package in packages
    }


def main() -> int:
    """Write the page."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    names = dependencies()
    licenses = _licenses(names)
    rows = [
        f"| {name} | {licenses[name.lower().replace('_', '-')]} | {', '.join(extras) or 'base install'} |"
        for name, extras in sorted(names.items(), key=lambda item: item[0].lower())
    ]
    PAGE.write_text(
        "# Licenses of dependencies\n"
        "For people who must know what they install. Serotine is Apache-2.0; its core contains no code of others.\n"
        "These are the packages that it names, with the license that each declares; they install others in turn.\n"
        "`release/licenses.py` writes this page.\n\n"
        "| package | license | installed by |\n|---|---|---|\n" + "\n".join(rows) + "\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
