"""What chunking relies on, of every reader of texts: sections cover the text, positions rise, metadata is JSON."""

from __future__ import annotations

import json
import zlib
from itertools import pairwise
from pathlib import Path

import pytest
import test_ingest_readers as texts
import test_ingest_readers_code as code
import test_ingest_readers_office as office
import test_ingest_readers_pdf as pdf
import test_ingest_readers_records as records
import test_ingest_readers_text as marked_up

from serotine.errors import InputFileError
from serotine.ingest.chunking import Chunker, Chunking
from serotine.ingest.extract import Extract
from serotine.ingest.file_types import TEXT_READERS


def sample(suffix: str, folder: Path) -> bytes:
    """Return a file of a type with a structure."""
    if suffix == ".pdf":
        pytest.importorskip("pypdfium2")
        pdf.write_pdf(folder / "a.pdf", ["Bats fly late", "", "Owls hunt"], title="On bats")
        return (folder / "a.pdf").read_bytes()
    if suffix in (".html", ".htm", ".xhtml", ".epub"):
        pytest.importorskip("selectolax")
    cells = [{"cell_type": "markdown", "source": "# Bats"}, {"cell_type": "code", "source": "fly()", "outputs": []}]
    makers = {
        ".docx": office.write_docx,
        ".pptx": office.write_pptx,
        ".xlsx": lambda: office.write_xlsx({"Bats": [["name", "n"], ["Serotine", 1]], "Owls": [["Barn"]]}),
        ".odt": lambda: office.write_odt('<text:h text:outline-level="1">Bats</text:h><text:p>late</text:p>'),
        ".epub": office.write_epub,
        ".eml": lambda: records.message().as_bytes(),
        ".ipynb": lambda: marked_up.notebook(cells),
        ".xml": lambda: b"<a><title>Bats</title><p>fly</p><p>late</p></a>",
        ".rst": lambda: marked_up.RST.encode(),
        ".srt": lambda: b"1\n00:00:01,000 --> 00:00:02,000\nBats fly\n\n2\n00:00:03,000 --> 00:00:04,000\nlate\n",
        ".vtt": lambda: b"WEBVTT\n\n00:01.000 --> 00:02.000\nBats fly\n",
        **dict.fromkeys((".html", ".htm", ".xhtml"), lambda: texts.PAGE.format(charset="utf-8").encode()),
    }
    if suffix in makers:
        return makers[suffix]()
    sources = {Path(name).suffix: source for name, (source, _) in code.SOURCES.items()}
    return sources.get(suffix, "preface\n\n# Bats\n\nfly\n\n# Owls\n\nhunt\n").encode()


class WordEncoder:
    name = "words"
    dimension = 8


def check(extract: Extract) -> None:
    text = extract.text
    json.dumps(extract.metadata, allow_nan=False).encode()
    text.encode()
    covered = 0
    for section in extract.sections:
        assert not text[covered : section.start].strip()
        assert covered <= section.start <= section.end <= len(text)
        covered = section.end
    assert not text[covered:].strip()
    for positions in extract.positions:
        assert len(positions.offsets) == len(positions.values)
        assert all(first < second for first, second in pairwise(positions.offsets))
        assert all(0 <= offset <= len(text) for offset in positions.offsets)
    chunker = Chunker(WordEncoder(), Chunking(16, 2))  # type: ignore[arg-type]
    inside = {offset for chunk in chunker.chunks(extract) for offset in range(chunk.start, chunk.end)}
    assert not "".join(letter for offset, letter in enumerate(text) if offset not in inside).strip()


@pytest.mark.parametrize("suffix", TEXT_READERS)
def test_every_reader_keeps_its_contract(suffix: str, tmp_path: Path) -> None:
    data = sample(suffix, tmp_path)
    extract = TEXT_READERS[suffix](data, f"a{suffix}")
    assert extract.text.strip()
    check(extract)
    # Damaged in many places, a file is read as far as it goes, or is one message.
    for i in range(24):
        broken = bytearray(data)
        at = zlib.crc32(bytes([i])) % len(data)
        broken[at : at + 3] = zlib.crc32(bytes([i, i])).to_bytes(4, "big")[: i % 4]
        try:
            check(TEXT_READERS[suffix](bytes(broken), f"a{suffix}"))
        except InputFileError as error:
            assert str(error).startswith(f"a{suffix}")  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017
