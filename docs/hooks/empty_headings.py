"""MkDocs hook: tables without headings have no empty row above them. Markdown has no tables without headings."""

from __future__ import annotations

import re

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

_EMPTY = re.compile(r"<thead>\s*<tr>\s*(?:<th[^>]*>\s*</th>\s*)+</tr>\s*</thead>")


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Remove the empty rows."""
    return _EMPTY.sub("", html)
