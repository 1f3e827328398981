"""The page of licenses names every package that Serotine installs, with the license that it declares."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from types import ModuleType

import pytest
from helpers.scripts import load_script

ROOT = Path(__file__).parent.parent
PERMISSIVE = re.compile(r"Apache|MIT|BSD|MPL-2\.0|PSF-2\.0|ISC")


@pytest.fixture(scope="module")
def licenses() -> ModuleType:
    return load_script(ROOT / "release/licenses.py")


def rows(licenses: ModuleType) -> dict[str, tuple[str, str]]:
    lines = licenses.PAGE.read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")][1:]
    return {name: (license_, extras) for name, license_, extras in cells}


def test_every_package_is_named_with_the_extras_that_install_it(licenses: ModuleType) -> None:
    named = {name: extras for name, (_, extras) in rows(licenses).items()}
    assert named == {name: ", ".join(extras) or "base install" for name, extras in licenses.dependencies().items()}
    assert len(named) > 50


def test_every_license_permits_use_in_any_product(licenses: ModuleType) -> None:
    assert [name for name, (license_, _) in rows(licenses).items() if not PERMISSIVE.search(license_)] == []


def test_installed_packages_declare_what_the_page_says(licenses: ModuleType) -> None:
    compared = 0
    for name, (license_, _) in rows(licenses).items():
        try:
            installed = metadata(name)
        except PackageNotFoundError:
            continue
        declared = licenses.declared(
            installed.get("License-Expression"), installed.get("License"), installed.get_all("Classifier") or ()
        )
        assert declared == license_, name
        compared += 1
    assert compared > 8


def test_licenses_are_read_from_what_packages_declare(licenses: ModuleType) -> None:
    osi = "License :: OSI Approved :: "
    assert licenses.declared("MIT", "other", [f"{osi}BSD License"]) == "MIT"
    assert licenses.declared(None, "long text", [f"{osi}BSD License", f"{osi}MIT License", "Typing"]) == "BSD OR MIT"
    assert licenses.declared(None, "Apache License 2.0\nmore", []) == "Apache-2.0"
    assert licenses.declared(None, "", ["License :: Freely Distributable"]) == "not declared"
