"""PDF read in another process, and what is said of a file that ends it."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import closing
from typing import Any

from serotine.ingest.readers import pdf_pages
from serotine.ingest.readers.reading_process import EndedError, ReadingProcesses, StartError

# A page may draw a form that draws others, and so on: a few KB are then gigabytes of objects. Beside what the process
# takes at its start; a PDF as large as 256 MiB may take more.
_MEMORY, _MEMORY_PER_BYTE = 1 << 30, 4
# Processor seconds of the pages, and more for every MiB of the file. Pages may share one content, so that many of a
# small file take seconds each; thousands of ordinary ones take less than a minute.
_SECONDS, _SECONDS_PER_MIB = 120.0, 20.0
_PROCESSES = ReadingProcesses("PDF", pdf_pages)


def pages(data: bytes, characters: int) -> Generator[dict[str, Any], None, None]:
    """Yield the messages of `pdf_pages.read` about a file; close the generator where one stops before its end.

    pdfium runs in another process, which reads the files that follow too.
    """
    seconds = _SECONDS + _SECONDS_PER_MIB * len(data) / (1 << 20)
    memory = _MEMORY + _MEMORY_PER_BYTE * len(data)
    arguments = {"characters": characters, "seconds": seconds}
    begun = 0
    try:
        with closing(_PROCESSES.read(data, arguments, memory=memory, seconds=seconds)) as messages:
            for message in messages:
                begun += 1
                yield message
    except StartError as error:
        yield {"problem": str(error)}
    except EndedError as error:
        place = f"its page {begun:,}" if begun else "it"
        if error.is_late:
            problem = f"{place} takes too long: a PDF may take {seconds:.0f} seconds of the processor"
        else:
            more = f", or takes more than {memory >> 20:,} MiB of memory" if sys.platform == "linux" else ""
            problem = f"{place} ended the process that reads PDF ({error.status}): it is damaged{more}"
        yield {"problem": f"{problem}; print it to a PDF again, or split it"}
