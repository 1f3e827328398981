"""No brackets of a text read as a reference, and a link that names a file leads to it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "models").glob("*/README.md")])
# `FLOAT[128][]` outside of code: the site's generator looks for a page of the name.
REFERENCE = re.compile(r"\S*\]\[\S*")
CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_brackets_of_pages_are_no_references(page: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    # A picture within a link is `[![`.
    assert [found for found in REFERENCE.findall(CODE.sub("", prose)) if not found.startswith("[![")] == []


def test_brackets_of_docstrings_are_no_references() -> None:
    found = []
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                described = (ast.get_docstring(node) or "").partition(">>>")[0]
                found += [f"{path.name}: {text}" for text in REFERENCE.findall(CODE.sub("", described))]
    assert found == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_named_by_a_file_lead_to_it(page: Path) -> None:
    links = []
    for token in MarkdownIt("commonmark").enable("table").parse(page.read_text("utf-8")):
        children = token.children or []
        links += [
            (children[number + 1].content, str(child.attrs["href"]).partition("#")[0])
            for number, child in enumerate(children)
            if child.type == "link_open"
        ]
    named = [(text, target) for text, target in links if re.fullmatch(r"[\w./-]+\.md", text)]
    assert [(text, target) for text, target in named if text not in (target, Path(target).name)] == []
