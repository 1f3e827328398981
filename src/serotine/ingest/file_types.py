"""The types of files, by the suffix of their names, and the reader of each."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from serotine.ingest.extract import Extract
from serotine.ingest.fields import Fields
from serotine.ingest.readers.code import code_reader
from serotine.ingest.readers.docx import read_docx
from serotine.ingest.readers.email_message import read_eml
from serotine.ingest.readers.epub import read_epub
from serotine.ingest.readers.grammars import GRAMMARS
from serotine.ingest.readers.html import read_html
from serotine.ingest.readers.json_records import read_json
from serotine.ingest.readers.jsonl import read_jsonl
from serotine.ingest.readers.markdown import read_markdown
from serotine.ingest.readers.mbox import read_mbox
from serotine.ingest.readers.notebook import read_notebook
from serotine.ingest.readers.odt import read_odt
from serotine.ingest.readers.parquet import read_parquet
from serotine.ingest.readers.pdf import read_pdf
from serotine.ingest.readers.pptx import read_pptx
from serotine.ingest.readers.restructured import read_restructured
from serotine.ingest.readers.subtitles import read_subtitles
from serotine.ingest.readers.table import read_csv, read_tsv
from serotine.ingest.readers.text import read_text
from serotine.ingest.readers.xlsx import read_xlsx, read_xlsx_rows
from serotine.ingest.readers.xml import read_xml
from serotine.ingest.rows import ReadRow

RECORD_READERS: dict[str, Callable[[Path, str, Fields], Iterator[ReadRow]]] = {
    ".jsonl": read_jsonl,
    ".json": read_json,
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".mbox": lambda path, name, _: read_mbox(path, name),
    ".parquet": read_parquet,
    ".xlsx": read_xlsx_rows,
}
"""Readers of files with many documents."""

TABLES = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".xlsx")
"""Types whose fields are named by whoever wrote them, so that `Fields` apply; .xlsx is also a text."""

TEXT_READERS: dict[str, Callable[[bytes, str], Extract]] = {
    ".txt": read_text,
    ".text": read_text,
    ".log": read_text,
    ".org": read_text,
    ".adoc": read_text,
    ".asciidoc": read_text,
    ".tex": read_text,
    ".yaml": read_text,
    ".yml": read_text,
    ".toml": read_text,
    ".ini": read_text,
    ".cfg": read_text,
    ".md": read_markdown,
    ".markdown": read_markdown,
    ".rst": read_restructured,
    ".html": read_html,
    ".htm": read_html,
    ".xhtml": read_html,
    ".pdf": read_pdf,
    ".ipynb": read_notebook,
    ".docx": read_docx,
    ".epub": read_epub,
    ".odt": read_odt,
    ".pptx": read_pptx,
    ".xlsx": read_xlsx,
    ".xml": read_xml,
    ".eml": read_eml,
    ".srt": read_subtitles,
    ".vtt": read_subtitles,
    **{suffix: code_reader(suffix) for suffix in GRAMMARS},
}
"""Readers of files that are one text."""

CONTAINERS = (".docx", ".epub", ".odt", ".pdf", ".pptx", ".xlsx")
"""Types whose text is a small part of the file, and is unpacked from it."""


_WITH_OWN_ENCODING = frozenset((*CONTAINERS, ".eml", ".ipynb", ".mbox", ".parquet", ".xml"))


def has_own_encoding(type_: str) -> bool:
    """Return whether files of a type say how they are encoded, so that `Fields.encoding` is not for them."""
    return type_ in _WITH_OWN_ENCODING


def described_types() -> str:
    """Return the types of files that are read, in words."""
    tables, code = [*RECORD_READERS], [*GRAMMARS]
    texts = [suffix for suffix in TEXT_READERS if suffix not in GRAMMARS]
    return (
        f"One text each: {' '.join(texts)}, README and the like. Many documents each: {' '.join(tables)}. "
        f"Source code: {' '.join(code)}. All of them plain or as .gz."
    )


SUFFIXES = tuple(dict.fromkeys((*RECORD_READERS, *TEXT_READERS)))
# Names of text files without a suffix, such as LICENSE-MIT.
_TEXT_NAMES = re.compile(
    r"(?:authors|changelog|changes|contributing|contributors|copying|copyright|history|install|licen[cs]e|"
    r"maintainers|news|notice|readme|security|thanks|todo|upgrading)(?:[-_][\w-]*)?"
)


def file_type(name: str) -> str:
    """Return the suffix in lower case that decides how a file is read, without .gz; ".txt" for README and its like."""
    base = os.path.basename(name.lower().removesuffix(".gz"))  # noqa: PTH119 - a name need not be a path
    suffix = os.path.splitext(base)[1]  # noqa: PTH122
    return ".txt" if not suffix and _TEXT_NAMES.fullmatch(base) else suffix
