"""Titles that programs write where the author wrote none: names of files, and "Untitled"."""

from __future__ import annotations

import re

_SUFFIXES = (
    "docx? dotx? dvi eps epub fm html? indd key md odp ods odt pages pdf pptx? ps qxd rst rtf tex txt xhtml xlsx?"
)
_PLACEHOLDER = re.compile(
    rf"""(?:
        \W*(?:untitled|unnamed|no[ ]title|title|document|new[ ](?:page|document))
            (?:[ ](?:document|page|slide|presentation))?\W*\d*\W*
        | powerpoint[ ]presentation | slide[ ]\d+ | \(anonymous\)
        | microsoft[ ](?:word|powerpoint|excel)[ ]-[ ].*
        | .*\.(?:{_SUFFIXES.replace(" ", "|")})
    )""",
    re.IGNORECASE | re.VERBOSE,
)


def given_title(title: str) -> str:
    """Return the title that a document has in its properties; "" where a program wrote it.

    >>> given_title("A guide to bats"), given_title("Microsoft Word - bats.doc"), given_title("Untitled-1")
    ('A guide to bats', '', '')
    """
    title = " ".join(title.split())
    return "" if _PLACEHOLDER.fullmatch(title) else title
