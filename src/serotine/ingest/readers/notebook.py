"""Jupyter notebooks: Markdown, code and the text of outputs; a passage names its cells."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from serotine.errors import InputFileError
from serotine.ingest.extract import Extract, Positions, sections
from serotine.ingest.readers.json_text import parse_json
from serotine.ingest.readers.markdown import read_headings
from serotine.ingest.readers.titles import given_title

_SEPARATOR = "\n\n"
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# An output is there to be seen; what follows repeats.
_MAX_OUTPUT = 4_000


def read_notebook(data: bytes, name: str) -> Extract:
    """Return the text of a .ipynb file: its cells in order, each code with its output.

    Outputs are cut at 4,000 characters; images and cut outputs are counted.

    Raises:
        InputFileError: it is not a notebook, or of a version before 4.
    """
    notebook = _parse(data, name)
    language = _get(notebook, "metadata", "kernelspec", "language") or _get(
        notebook, "metadata", "language_info", "name"
    )
    texts: list[str] = []
    offsets: list[int] = []
    numbers: list[int] = []
    headings: list[tuple[int, int, str]] = []
    unread: Counter[str] = Counter()
    length = 0
    for number, cell in enumerate(notebook["cells"], 1):
        if not isinstance(cell, dict):
            continue
        source = _text(cell.get("source")).strip("\r\n")
        pieces = [source, *_outputs(cell, unread)] if cell.get("cell_type") == "code" else [source]
        text = _SEPARATOR.join(piece for piece in pieces if piece.strip())
        attachments = cell.get("attachments")
        unread["images"] += len(attachments) if isinstance(attachments, dict) else 0
        if not text:
            continue
        length += len(_SEPARATOR) if texts else 0
        if cell.get("cell_type") == "markdown":
            headings += [(length + offset, level, title) for offset, level, title in read_headings(source)]
        texts.append(text)
        offsets.append(length)
        numbers.append(number)
        length += len(text)
    metadata = {
        "title": given_title(_text(str(_get(notebook, "metadata", "title") or "")))
        or (headings[0][2] if headings else ""),
        "language": _text(language),
    }
    return Extract(
        _SEPARATOR.join(texts),
        sections(length, headings),
        {key: value for key, value in metadata.items() if value},
        (Positions("cell", offsets, numbers),),
        unread=+unread,
    )


def _parse(data: bytes, name: str) -> dict[str, Any]:
    try:
        text = data.decode("utf-8-sig")
        notebook = parse_json(text)
    except ValueError as error:
        raise InputFileError(f"{name}: not a notebook: not valid JSON ({error}); save it again") from None
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        old = isinstance(notebook, dict) and "worksheets" in notebook
        fix = "convert it with jupyter nbconvert --to notebook" if old else "save it again"
        raise InputFileError(f"{name}: {'a notebook of a version before 4' if old else 'has no cells'}; {fix}")
    return notebook


def _get(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _text(value: Any) -> str:
    """Return a text, which notebooks may store as a list of lines."""
    if isinstance(value, list):
        value = "".join(line for line in value if isinstance(line, str))
    # Lone surrogates are legal in JSON, but not in an index.
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _outputs(cell: Mapping[str, Any], unread: Counter[str]) -> list[str]:
    texts = []
    outputs = cell.get("outputs")
    for output in outputs if isinstance(outputs, list) else []:
        content = output.get("data") if isinstance(output, dict) else None
        if isinstance(content, dict):
            unread["images"] += any(key.startswith("image/") for key in content)
            text = _text(content.get("text/markdown") or content.get("text/plain"))
            # "<Figure size 640x480 with 1 Axes>"
            text = "" if any(key.startswith("image/") for key in content) else text
        elif _get(output, "output_type") == "error":
            text = f"{_text(output.get('ename'))}: {_text(output.get('evalue'))}"
        else:
            text = _text(_get(output, "text"))
        text = _ESCAPES.sub("", text).strip("\r\n")
        if len(text) > _MAX_OUTPUT:
            unread["ends of long outputs"] += 1
            text = text[:_MAX_OUTPUT]
        texts.append(text)
    return texts
