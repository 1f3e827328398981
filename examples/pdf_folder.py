"""Search a folder of PDF files and cite the page of every passage; needs the extra [ingest] and serotine-mini.

python examples/pdf_folder.py manuals "how is the pump primed?"

The index is stored beside the folder. Later calls read and encode only the files that changed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from serotine import Encoder, Index
from serotine.excerpts import MARK, UNMARK, passage
from serotine.index import Hit
from serotine.ingest import FileSelection, update


def main(folder: Path, query: str) -> None:
    """Update the index of a folder and print the three best passages for a query."""
    with Index.open_or_create(f"{folder}.serotine", encoder=Encoder()) as index:
        report = update(index, [folder], selection=FileSelection(include=("*.pdf",)))
        for file in report.skipped:
            print(f"not read: {file.message}")
        hits = index.search(query, k=3)
        for number, hit in enumerate(hits):
            excerpt = passage(hit.text or "", hits.spans(number), width=200)
            print(f"{citation(hit)}\n    {excerpt.replace(MARK, '*').replace(UNMARK, '*')}")


def citation(hit: Hit) -> str:
    """Return where a passage is: "manuals/pump.pdf, page 3", or the pages from which to which."""
    first, last = hit.metadata["page"], hit.metadata.get("last_page")
    pages = f"page {first}" if last is None else f"pages {first} to {last}"
    return f"{hit.metadata['source']}, {pages}"


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit('usage: python examples/pdf_folder.py FOLDER "QUERY"')
    main(Path(sys.argv[1]), sys.argv[2])
