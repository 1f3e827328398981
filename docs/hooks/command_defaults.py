"""MkDocs hook: the defaults of options in the reference of the command line, as people write them.

mkdocs-click prints Click's internal mark of an option without a default, and knows nothing of defaults in a help text.
"""

from __future__ import annotations

import re

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

from serotine.cli import commands

PAGE = "reference/cli.md"
_DEFAULT = re.compile(r"\s*\[default: (.+)\]$")
_NONE = re.compile(r"<td>(?:None|<code>Sentinel\.UNSET</code>)</td>")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Give options the defaults that their tables show."""
    _document(commands)
    return config


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Leave the cell of an option without a default empty."""
    return _NONE.sub("<td></td>", html) if page.file.src_uri == PAGE else html


def _document(command: click.Command) -> None:
    for option in command.params:
        if isinstance(option, click.Option):
            text = option.help or ""
            if written := _DEFAULT.search(text):
                option.help, option.default = text[: written.start()], written[1]
            elif option.required:
                option.default = "required"
    if isinstance(command, click.Group):
        for subcommand in command.commands.values():
            _document(subcommand)
