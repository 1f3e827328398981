"""The description that PyPI shows says what the README says, and needs no file of the repository."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
DESCRIPTION = (ROOT / PROJECT["readme"]).read_text("utf-8")


def test_no_link_leads_to_a_file() -> None:
    assert [link for link in re.findall(r"\]\(([^)]*)\)", DESCRIPTION) if not link.startswith("https://")] == []
    assert "./" not in DESCRIPTION


def test_claim_and_programs_are_those_of_the_readme() -> None:
    (claim,) = re.findall(r"^\*\*(.*)\*\*$", README.split("\n![")[0], re.MULTILINE)
    assert claim in DESCRIPTION
    for fence in ("python", "console"):
        (ours,), theirs = (re.findall(rf"```{fence}\n(.*?)```", text, re.DOTALL) for text in (DESCRIPTION, README))
        commands = [line for line in ours.splitlines() if not line.startswith("$ pip")]
        assert set(commands) <= set(theirs[0].splitlines())


def test_the_container_has_what_the_package_is_built_from() -> None:
    copied = re.findall(r"^COPY (?!--)(.*) /source", (ROOT / "Containerfile").read_text("utf-8"), re.MULTILINE)
    files = {word for line in copied for word in line.split()}
    assert {PROJECT["readme"], "LICENSE", "pyproject.toml", "native", "src"} <= files
    # Everything else is kept out of the build's context.
    admitted = re.findall(r"^!(.*)", (ROOT / ".dockerignore").read_text("utf-8"), re.MULTILINE)
    assert set(admitted) == files
