"""Write the corpus of `fuzzing`: one small file of every type that a reader takes, from the samples of the tests."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from test_ingest_readers_contract import sample

from serotine.ingest.file_types import TEXT_READERS


def main() -> None:
    """Write the files."""
    corpus = Path(__file__).with_name("corpus")
    corpus.mkdir(exist_ok=True)
    for suffix in TEXT_READERS:
        with tempfile.TemporaryDirectory() as folder:
            (corpus / f"sample{suffix}").write_bytes(sample(suffix, Path(folder)))


if __name__ == "__main__":
    main()
