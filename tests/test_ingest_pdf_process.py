"""The process that runs pdfium: what it may take, how it ends, and what becomes of the file and of the next one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest
from helpers.fakes import WordEncoder
from helpers.pdf_cases import nested_forms, text_pdf

from serotine import Index
from serotine.errors import InputFileError
from serotine.ingest import update
from serotine.ingest.readers import definitions, pdf_pages, pdf_process, reading_process, reading_program
from serotine.ingest.readers.pdf import read_pdf

pytest.importorskip("pypdfium2")
linux = pytest.mark.skipif(sys.platform != "linux", reason="limits of memory need Linux")
posix = pytest.mark.skipif(sys.platform == "win32", reason="sends signals")


@pytest.fixture(autouse=True)
def no_idle_process() -> Iterator[None]:
    pdf_process._PROCESSES.end_idle()
    yield
    pdf_process._PROCESSES.end_idle()


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A program in place of `reading_program`, which says that a file has two pages, and then runs what is appended."""
    path = tmp_path / "program.py"
    path.write_text(
        textwrap.dedent("""
            import json, os, signal, sys, time
            print('{"ready": true}', flush=True)
            sys.stdin.buffer.read(json.loads(sys.stdin.buffer.readline())["bytes"])
            print('{"pages": 2, "metadata": {}}', flush=True)
            print('{"text": "a", "comments": 0}', flush=True)
        """)
    )
    monkeypatch.setattr(reading_process, "_PROGRAM", path)
    yield path
    monkeypatch.undo()
    # The next file is read.
    assert read_pdf(text_pdf(), "next.pdf").text == "Bats eat moths\n\nBats eat moths"


@linux
def test_forms_that_fill_the_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf_process, "_MEMORY", 1 << 27)
    for name, data in (("a.pdf", text_pdf()), ("b.pdf", nested_forms(40)), ("c.pdf", text_pdf(b"Owls"))):
        assert len(data) < 10_000
        (tmp_path / name).write_bytes(data)
    started = time.monotonic()
    with Index.create(tmp_path / "i", encoder=WordEncoder()) as index:
        report = update(index, [tmp_path / name for name in ("a.pdf", "b.pdf", "c.pdf")])
    assert time.monotonic() - started < 30
    assert report.files_added == 2
    (skipped,) = report.skipped
    assert skipped.file.endswith("b.pdf")
    assert "its page 1 ended the process that reads PDF (" in skipped.reason
    assert "it is damaged, or takes more than 128 MiB of memory; print it to a PDF again" in skipped.reason


@linux
def test_forms_that_take_hours_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf_process, "_MEMORY", 1 << 36)
    monkeypatch.setattr(pdf_process, "_SECONDS", 0.2)
    with pytest.raises(InputFileError, match="its page 1 takes too long: a PDF may take 0 seconds of the processor"):
        read_pdf(nested_forms(40), "a.pdf")
    assert read_pdf(text_pdf(), "b.pdf").text


def test_forms_that_are_nested_a_little_are_read() -> None:
    assert read_pdf(nested_forms(3), "a.pdf").text.count("a") > 0


@posix
@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", r"its page 2 ended the process that reads PDF \(SIGSEGV\): it is dam"),
        ("sys.exit(3)", r"its page 2 ended the process that reads PDF \(exit status 3\): it is damaged"),
        ("print('{\"text', end='', flush=True); os._exit(0)", r"its page 2 ended .* \(exit status 0\)"),
    ],
)
def test_a_file_that_ends_the_process_is_refused(program: Path, end: str, reason: str) -> None:
    with program.open("a") as file:
        file.write(end)
    parts: list[float] = []
    with pytest.raises(InputFileError, match=f"^a.pdf: {reason}"):
        read_pdf(text_pdf(), "a.pdf", parts.append)
    assert parts == [0.5]
    assert pdf_process._PROCESSES._idle == []


def test_a_file_that_gets_no_answer_is_refused(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with program.open("a") as file:
        file.write("time.sleep(60)")
    monkeypatch.setattr(pdf_process, "_SECONDS", 0.2)
    started = time.monotonic()
    with pytest.raises(InputFileError, match="its page 2 takes too long: a PDF may take"):
        read_pdf(text_pdf(), "a.pdf")
    assert time.monotonic() - started < 10
    monkeypatch.undo()


def test_a_process_that_does_not_start_is_named(program: Path) -> None:
    program.write_text("raise SystemExit(7)")
    with pytest.raises(InputFileError, match=r"^a.pdf: the process that reads PDF did not start \(exit status 7\); "):
        read_pdf(text_pdf(), "a.pdf")


def test_one_process_reads_many_files_and_is_replaced_when_it_is_gone() -> None:
    for data, message in ((b"%PDF", "damaged, or not a PDF"), (text_pdf(b""), "contains no text on its 2 pages")):
        with pytest.raises(InputFileError, match=message):
            read_pdf(data, "a.pdf")
    (process,) = pdf_process._PROCESSES._idle
    pid = process._process.pid
    assert read_pdf(text_pdf(), "b.pdf").text
    assert [each._process.pid for each in pdf_process._PROCESSES._idle] == [pid]
    process._process.kill()
    process._process.wait()
    assert read_pdf(text_pdf(), "b.pdf").text
    assert [each._process.pid for each in pdf_process._PROCESSES._idle] != [pid]


def test_what_the_caller_raises_ends_the_process() -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    assert read_pdf(text_pdf(), "b.pdf").text
    (process,) = pdf_process._PROCESSES._idle
    with pytest.raises(KeyboardInterrupt):
        read_pdf(text_pdf(), "a.pdf", interrupt)
    assert pdf_process._PROCESSES._idle == []
    assert process.has_ended()


def test_threads_read_at_once() -> None:
    with ThreadPoolExecutor(4) as executor:
        texts = list(executor.map(lambda i: read_pdf(text_pdf(b"%d" % i, 20), "a.pdf").text, range(24)))
    assert texts == ["\n\n".join([str(i)] * 20) for i in range(24)]
    assert 1 <= len(pdf_process._PROCESSES._idle) <= 4


@posix
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_starts_its_own() -> None:
    expected = read_pdf(text_pdf(), "a.pdf").text
    if (pid := os.fork()) == 0:
        status = 1
        try:
            status = 0 if pdf_process._PROCESSES._idle == [] and read_pdf(text_pdf(), "a.pdf").text == expected else 2
            pdf_process._PROCESSES.end_idle()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert not pdf_process._PROCESSES._idle[0].has_ended()
    assert read_pdf(text_pdf(), "a.pdf").text == expected


def test_without_an_executable_of_python_files_are_read_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    files = (text_pdf(), text_pdf(b"a (b) \\(c", 3), nested_forms(2))
    expected = [read_pdf(data, "a.pdf") for data in files]
    pdf_process._PROCESSES.end_idle()
    monkeypatch.setattr(sys, "executable", "/usr/bin/uwsgi")
    assert [read_pdf(data, "a.pdf") for data in files] == expected
    with pytest.raises(InputFileError, match=r"^a.pdf: damaged, or not a PDF; write it again"):
        read_pdf(b"%PDF", "a.pdf")
    assert pdf_process._PROCESSES._idle == []


def test_the_pages_that_are_read_before_the_time_is_over_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(100))
    monkeypatch.setattr(pdf_pages.time, "thread_time", lambda: next(seconds))
    *_, last = pdf_pages.read(text_pdf(pages=3), 1000, 2.0)
    assert last["problem"].startswith("its first 2 of 3 pages took more than 2 seconds; print it")


def test_texts_beyond_the_limit_are_not_sent() -> None:
    messages = list(pdf_pages.read(text_pdf(b"abc", 9), 7, 60.0))
    assert [message["text"] for message in messages[1:]] == ["abc", "abc", "ab"]


@pytest.mark.parametrize("module", [reading_program, pdf_pages, definitions])
def test_the_program_imports_neither_this_package_nor_numpy(module: ModuleType) -> None:
    code = "import runpy, sys; runpy.run_path(sys.argv[1]); print(*sys.modules)"
    command = [sys.executable, "-P", "-S", "-c", code, str(module.__file__)]
    modules = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert not {"serotine", "numpy", "torch"} & {module.partition(".")[0] for module in modules}


_READER = """
    import sys
    sys.path[:0] = {paths!r}
    from helpers.pdf_cases import nested_forms, text_pdf
    from serotine.ingest.readers import pdf_process
    from serotine.ingest.readers.pdf import read_pdf
    pdf_process._MEMORY = 1 << 36
    read_pdf(text_pdf(), "a.pdf")
    print(pdf_process._PROCESSES._idle[0]._process.pid, flush=True)
    read_pdf(nested_forms(40), "c.pdf")
"""


@linux
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_its_parent(number: signal.Signals) -> None:
    code = textwrap.dedent(_READER).format(paths=[str(Path(__file__).parent), *sys.path])
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stderr is not None
        pid = int(parent.stdout.readline())
        time.sleep(0.5)
        # As a terminal does: to the whole group.
        os.killpg(parent.pid, number)
        parent.wait(10)
        errors = parent.stderr.read()
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        if "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]:
            break
        time.sleep(0.05)
    else:
        assert not Path(f"/proc/{pid}").exists()
    assert errors.count("Traceback") == (number == signal.SIGINT)
