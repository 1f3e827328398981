"""The pages of a PDF as pdfium reads them; run as a program, of the files that another process sends it.

It imports nothing of Serotine, so that the program starts fast and takes little memory. `pdf_process` starts it.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import queue
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if sys.platform != "win32":
    import resource

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage

_MAX_VALUE = 1 << 20
_LINE_END = re.compile(r"\r\n|\r")
_AGAIN = "print it to a PDF again, or split it"


def read_pages(data: bytes, characters: int, seconds: float) -> Iterator[dict[str, Any]]:
    """Yield what a PDF has: {"pages": count, "metadata": dict}, then {"text": str, "comments": count} of each page.

    {"problem": str} is the last message about a file that cannot be read.

    Args:
        data: the file.
        characters: where its text is longer, it is cut to one more, and no page follows.
        seconds: of this thread's processor, after which no page is begun.
    """
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        encrypted = "encrypted; save it without a password first, for example with qpdf --decrypt"
        is_encrypted = "password" in str(error).lower()
        yield {"problem": encrypted if is_encrypted else "damaged, or not a PDF; write it again"}
        return
    try:
        document.init_forms()
        count = len(document)
        values = {key: _clean(str(value)) for key, value in document.get_metadata_dict().items() if value}
        yield {"pages": count, "metadata": values}
        latest = time.thread_time() + seconds
        for number in range(count):
            if time.thread_time() > latest:
                spent = f"its first {number:,} of {count:,} pages took more than {seconds:.0f} seconds"
                yield {"problem": f"{spent}; {_AGAIN}"}
                return
            try:
                text, comments = _page(document, number)
            except pypdfium2.PdfiumError as error:
                yield {"problem": f"page {number + 1} is damaged ({error}); write it again"}
                return
            yield {"text": text[: characters + 1], "comments": comments}
            characters -= len(text)
            if characters < 0:
                return
    finally:
        document.close()


def _page(document: PdfDocument, number: int) -> tuple[str, int]:
    """Return the text of a page, with the values of its form after it, and how many comments it has."""
    page = document[number]
    try:
        textpage = page.get_textpage()
        try:
            text = str(textpage.get_text_bounded())
        finally:
            textpage.close()
        values, comments = _read_annotations(document, page)
        return _clean("\n".join((text, *values))), comments
    finally:
        page.close()


def _clean(text: str) -> str:
    text = _LINE_END.sub("\n", text).replace("\0", "")
    # Damaged fonts give lone surrogates.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _read_annotations(document: PdfDocument, page: PdfPage) -> tuple[list[str], int]:
    """Return the values of the form fields of a page, "name: value", and how many comments it has.

    Args:
        document: after `init_forms`.
        page: of it.
    """
    import pypdfium2.raw as pdfium

    shown = (pdfium.FPDF_FORMFIELD_TEXTFIELD, pdfium.FPDF_FORMFIELD_COMBOBOX, pdfium.FPDF_FORMFIELD_LISTBOX)
    form = document.formenv
    values: list[str] = []
    comments = 0
    for annotation in _annotations(page):
        kind = pdfium.FPDFAnnot_GetSubtype(annotation)
        if kind == pdfium.FPDF_ANNOT_WIDGET and form is not None:
            if pdfium.FPDFAnnot_GetFormFieldType(form, annotation) not in shown:
                continue
            value = _string(pdfium.FPDFAnnot_GetFormFieldValue, form, annotation)
            name = _string(pdfium.FPDFAnnot_GetFormFieldAlternateName, form, annotation) or _string(
                pdfium.FPDFAnnot_GetFormFieldName, form, annotation
            )
            if value:
                values.append(f"{name}: {value}" if name else value)
        elif kind not in (pdfium.FPDF_ANNOT_LINK, pdfium.FPDF_ANNOT_POPUP):
            comments += bool(_string(pdfium.FPDFAnnot_GetStringValue, annotation, b"Contents"))
    return values, comments


def _annotations(page: PdfPage) -> Iterator[Any]:
    import pypdfium2.raw as pdfium

    for number in range(pdfium.FPDFPage_GetAnnotCount(page)):
        with _opened(page, number) as annotation:
            if annotation:
                yield annotation


@contextmanager
def _opened(page: PdfPage, number: int) -> Iterator[Any]:
    import pypdfium2.raw as pdfium

    annotation = pdfium.FPDFPage_GetAnnot(page, number)
    try:
        yield annotation
    finally:
        if annotation:
            pdfium.FPDFPage_CloseAnnot(annotation)


def _string(function: Callable[..., int], *arguments: Any) -> str:
    """Return the string that a function of pdfium writes to a buffer, as UTF-16 that ends with a NUL."""
    import pypdfium2.raw as pdfium

    length = min(function(*arguments, None, 0), _MAX_VALUE)
    buffer = ctypes.create_string_buffer(max(length, 2))
    function(*arguments, ctypes.cast(buffer, ctypes.POINTER(pdfium.FPDF_WCHAR)), length)
    return buffer.raw.decode("utf-16-le", "replace").partition("\0")[0].strip()


def main() -> None:
    """Read the files that come from standard input, until it ends; `sys.path` is the arguments.

    A file is a line of JSON, the arguments of `read_pages` with "bytes" and "memory", and then its bytes. The answer is
    a line of JSON for each message, and {"end": true} after them. The first line, {"ready": true}, answers no file.
    """
    sys.path[:] = sys.argv[1:]
    # A service is stopped by a signal to all its processes; its parent may still wait for the file.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    # What a library prints is no answer.
    os.dup2(2, 1)

    def answer(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
        answers.flush()

    try:
        import pypdfium2  # noqa: F401

        limits = _Limits()
        requests: queue.SimpleQueue[tuple[dict[str, Any], bytes]] = queue.SimpleQueue()
        threading.Thread(target=_receive, args=(requests,), daemon=True).start()
        answer({"ready": True})
        while True:
            request, data = requests.get()
            limits.apply(request["memory"], request["seconds"])
            try:
                for message in read_pages(data, request["characters"], request["seconds"]):
                    answer(message)
            except (MemoryError, OSError):
                raise
            except Exception as error:
                answer({"problem": f"damaged ({type(error).__name__}); write it again"})
            del data
            limits.lift()
            answer({"end": True})
    finally:
        # Without what Python does at its end, which would wait for the thread that receives.
        os._exit(1)


def _receive(requests: queue.SimpleQueue[tuple[dict[str, Any], bytes]]) -> None:
    """Put files into a queue; end the process as soon as nobody can send another, also in the middle of a page."""
    try:
        with open(0, "rb", closefd=False) as source:
            while line := source.readline():
                request = json.loads(line)
                data = source.read(request["bytes"])
                if len(data) < request["bytes"]:
                    break
                requests.put((request, data))
                del data
    finally:
        os._exit(0)


class _Limits:
    """The limits that the operating system enforces: memory on Linux, processor time wherever it is not Windows."""

    def __init__(self) -> None:
        if sys.platform == "win32":
            return
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        self._inherited = resource.getrlimit(resource.RLIMIT_AS)
        statm = Path("/proc/self/statm")
        # Elsewhere the addresses of a process say little about its memory.
        self._base = int(statm.read_text().split()[0]) * resource.getpagesize() if sys.platform == "linux" else None

    def apply(self, memory: int, seconds: float) -> None:
        """End this process where it takes more bytes than it did at its start, or more seconds from now on."""
        if sys.platform == "win32":
            return
        # After the last look between pages, so that the message about those comes first.
        most = math.ceil(time.process_time() + seconds) + 1
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (_least(most, hard), hard))
        if self._base is not None:
            soft, hard = self._inherited
            resource.setrlimit(resource.RLIMIT_AS, (_least(self._base + memory, soft), hard))

    def lift(self) -> None:
        """Let a file of any size be received."""
        if sys.platform != "win32" and self._base is not None:
            resource.setrlimit(resource.RLIMIT_AS, self._inherited)


def _least(limit: int, inherited: int) -> int:
    return limit if sys.platform == "win32" or inherited == resource.RLIM_INFINITY else min(limit, inherited)


if __name__ == "__main__":
    main()
