"""Write the corpus of `fuzzing`: one small file of every type that a reader takes, from the samples of the tests.

`sample` is one text, and `records` many documents.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from pathlib import Path

import pyarrow
import pyarrow.parquet

sys.path.insert(0, str(Path(__file__).parents[1]))

from test_ingest_readers_contract import sample

from serotine.ingest.file_types import RECORD_READERS, TEXT_READERS

_ROWS = [{"id": str(i), "text": f"bat {i}", "tags": ["owl"] * i} for i in range(4)]
_MESSAGE = "From a@b Tue Nov 24 10:00:00 2026\nSubject: Bats\nFrom: a@b\n\nThey eat moths.\n\n"


def records(suffix: str) -> bytes:
    """Return a small file of records."""
    if suffix == ".parquet":
        sink = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(_ROWS), sink, row_group_size=2)
        return sink.getvalue()
    separator = "\t" if suffix == ".tsv" else ","
    table = "".join(separator.join((row["id"], f'"{row["text"]}"')) + "\n" for row in _ROWS)
    contents = {
        ".jsonl": "".join(json.dumps(row) + "\n" for row in _ROWS),
        ".json": json.dumps(_ROWS),
        ".csv": f"id{separator}text\n{table}",
        ".tsv": f"id{separator}text\n{table}",
        ".mbox": _MESSAGE * 2,
    }
    return contents[suffix].encode()


def main() -> None:
    """Write the files."""
    corpus = Path(__file__).with_name("corpus")
    corpus.mkdir(exist_ok=True)
    for suffix in TEXT_READERS:
        with tempfile.TemporaryDirectory() as folder:
            (corpus / f"sample{suffix}").write_bytes(sample(suffix, Path(folder)))
    # A workbook is in the corpus as a text.
    for suffix in RECORD_READERS.keys() - TEXT_READERS.keys():
        (corpus / f"records{suffix}").write_bytes(records(suffix))


if __name__ == "__main__":
    main()
