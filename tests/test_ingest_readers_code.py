"""The reader of source code: definitions of every language with their symbols and lines."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from serotine.errors import InputFileError
from serotine.ingest import SourceFile, read
from serotine.ingest.chunking import Chunker, Chunking
from serotine.ingest.file_types import TEXT_READERS
from serotine.ingest.readers import code, reading_process
from serotine.ingest.readers.grammars import GRAMMARS

pytest.importorskip("tree_sitter")

PYTHON = """\
import os

# Above a class.
@decorated
class Bat(Animal):
    \"\"\"Flies — late.\"\"\"

    wings = 2

    @property
    def late(self):
        def inner():
            return 1
        return inner()

    class Nested:
        def f(self): ...

if True:
    def conditional():
        pass

async def hunt(): pass
main()
"""
SOURCES: dict[str, tuple[str, list[tuple[str | None, str]]]] = {
    "a.py": (
        PYTHON,
        [
            (None, "import os"),
            ("Bat", "# Above a class."),
            ("Bat.late", "    @property"),
            ("Bat.Nested", "    class Nested:"),
            ("Bat.Nested.f", "        def f(self): ..."),
            (None, "if True:"),
            ("conditional", "    def conditional():"),
            ("hunt", "async def hunt(): pass"),
            (None, "main()"),
        ],
    ),
    "a.js": (
        "import x from 'x';\n/** Late. */\nexport default class Bat {\n  wings = 2;\n  fly() { return 1; }\n}\n"
        "export const hunt = async (moth) => {\n  eat(moth);\n};\nconst n = 1;\nfunction* roost() {}\n",
        [
            (None, "import x from 'x';"),
            ("Bat", "/** Late. */"),
            ("Bat.fly", "  fly() { return 1; }"),
            ("hunt", "export const hunt = async (moth) => {"),
            (None, "const n = 1;"),
            ("roost", "function* roost() {}"),
        ],
    ),
    "a.ts": (
        "namespace Cave {\n  export interface Bat { wings: number }\n"
        "  export abstract class Owl { hunt(): void {} }\n}\n"
        "type Moth = string;\nenum Hour { Late }\n",
        [
            ("Cave", "namespace Cave {"),
            ("Cave.Bat", "  export interface Bat { wings: number }"),
            ("Cave.Owl", "  export abstract class Owl { "),
            ("Cave.Owl.hunt", "hunt(): void {} }"),
            ("Moth", "type Moth = string;"),
            ("Hour", "enum Hour { Late }"),
        ],
    ),
    "a.tsx": ("const Bat = () => <div>late</div>;\n", [("Bat", "const Bat = () => <div>late</div>;")]),
    "a.c": (
        "#include <a.h>\n#ifdef X\n/* Late. */\nstatic int *fly(struct bat *b)\n{\n  return 0;\n}\n#endif\n"
        "struct bat { int wings; };\ntypedef struct { int n; } owl;\nint n = 1;\n",
        [
            (None, "#include <a.h>"),
            ("fly", "/* Late. */"),
            ("bat", "struct bat { int wings; };"),
            ("owl", "typedef struct { int n; } owl;"),
            (None, "int n = 1;"),
        ],
    ),
    "a.h": (
        "namespace cave {\ntemplate <class T>\nclass Bat {\n public:\n  void fly() const { go(); }\n"
        "  int wings;\n};\n}\n"
        "void cave::Bat::land() {}\n",
        [
            ("cave", "namespace cave {"),
            ("cave::Bat", "template <class T>"),
            ("cave::Bat::fly", "  void fly() const { go(); }"),
            ("cave::Bat", "  int wings;"),
            ("cave::Bat::land", "void cave::Bat::land() {}"),
        ],
    ),
    "A.java": (
        "package a;\n/** Late. */\npublic class Bat {\n"
        "  Bat() {}\n  @Override\n  public int wings() { return 2; }\n}\n",
        [
            (None, "package a;"),
            ("Bat", "/** Late. */"),
            ("Bat.Bat", "  Bat() {}"),
            ("Bat.wings", "  @Override"),
        ],
    ),
    "a.go": (
        "package a\n\ntype Bat struct{ wings int }\n\n// Late.\nfunc (b *Bat) Fly() {}\n\nfunc Hunt[T any](x T) {}\n",
        [
            (None, "package a"),
            ("Bat", "type Bat struct{ wings int }"),
            ("Bat.Fly", "// Late."),
            ("Hunt", "func Hunt[T any](x T) {}"),
        ],
    ),
    "a.rs": (
        "use a;\n/// Late.\n#[derive(Debug)]\nstruct Bat<T> { n: T }\n"
        "impl<T> Fly for Bat<T> {\n    fn fly(&self) {}\n}\n"
        "mod tests {\n    #[test]\n    fn flies() {}\n}\n",
        [
            (None, "use a;"),
            ("Bat", "/// Late."),
            ("Bat::fly", "    fn fly(&self) {}"),
            ("tests", "mod tests {"),
            ("tests::flies", "    #[test]"),
        ],
    ),
    "a.sh": ("#!/bin/sh\nfly() {\n  echo late\n}\nfly\n", [("fly", "#!/bin/sh"), (None, "fly")]),
    "a.rb": (
        "module Cave\n  class Bat\n    def fly\n      1\n    end\n    def self.hunt; end\n  end\nend\n",
        [
            ("Cave", "module Cave"),
            ("Cave::Bat", "  class Bat"),
            ("Cave::Bat::fly", "    def fly"),
            ("Cave::Bat::hunt", "    def self.hunt; end"),
        ],
    ),
    "a.cs": (
        "using A;\nnamespace Cave {\n  class Bat {\n    int Wings { get; }\n    void Fly() {}\n  }\n}\n",
        [
            (None, "using A;"),
            ("Cave", "namespace Cave {"),
            ("Cave.Bat", "  class Bat {"),
            ("Cave.Bat.Wings", "    int Wings { get; }"),
            ("Cave.Bat.Fly", "    void Fly() {}"),
        ],
    ),
    "a.php": (
        "<?php\nclass Bat {\n  public function fly() {}\n}\nfunction hunt() {}\n",
        [
            (None, "<?php"),
            ("Bat", "class Bat {"),
            ("Bat::fly", "  public function fly() {}"),
            ("hunt", "function hunt() {}"),
        ],
    ),
}


@pytest.mark.parametrize("name", SOURCES)
def test_source_code_is_cut_at_its_definitions(name: str) -> None:
    source, expected = SOURCES[name]
    for text in (source, source.replace("\n", "\r\n")):
        extract = TEXT_READERS[Path(name).suffix](text.encode(), name)
        assert extract.text == text
        assert "".join(text[section.start : section.end] for section in extract.sections) == text
        found = []
        for section in extract.sections:
            content = text[section.start : section.end]
            metadata = extract.passage_metadata(section.start, section.end, section.headings)
            found.append((metadata.get("symbol"), content.strip("\r\n").splitlines()[0]))
            assert metadata["line"] == text.count("\n", 0, section.start) + 1
        assert found == expected


def test_every_grammar_parses() -> None:
    for suffix, grammar in GRAMMARS.items():
        extract = TEXT_READERS[suffix]("naïve ünïcode\n".encode(), f"a{suffix}")
        assert extract.metadata["language"] in (grammar.language, "cpp")
        assert TEXT_READERS[suffix](b"", f"a{suffix}").text == ""


class WordEncoder:
    name = "words"
    dimension = 8


def passages(path: Path, tokens: int) -> list[tuple[dict[str, Any], str]]:
    chunker = Chunker(WordEncoder(), Chunking(tokens, 0))  # type: ignore[arg-type]
    return [(document.metadata, document.text) for document in SourceFile.named(path, path.name).documents(chunker)]


def test_a_passage_names_its_symbol_and_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    body = "\n".join(f"    variable_{i} = call_{i}(argument)" for i in range(20))
    path.write_text(
        f'"""Ä module."""\nimport os\n\n\ndef first():\n{body}\n\n\nclass Bat:\n    def fly(self):\n{body}\n'
    )
    found = passages(path, 256)
    assert [(metadata["symbol"], metadata["line"], metadata["last_line"]) for metadata, _ in found] == [
        ("first", 1, 25),
        ("Bat.fly", 28, 49),
    ]
    assert all(metadata["language"] == "python" and metadata["source"] == "a.py" for metadata, _ in found)
    # A definition that is too long is cut; its passages keep its symbol.
    cut = passages(path, 64)
    assert {metadata["symbol"] for metadata, _ in cut} == {"first", "Bat.fly"}
    lines = path.read_text().splitlines()
    for metadata, text in cut:
        assert text.splitlines()[-1].strip() == lines[metadata.get("last_line", metadata["line"]) - 1].strip()


def test_broken_and_deep_source_code_is_still_text(tmp_path: Path) -> None:
    broken = "def f(:\n  x = (\nclass\n}}}}"
    deep = "namespace a {" * 500 + "int x;" + "}" * 500
    for suffix, text in ((".py", broken), (".cpp", deep), (".js", "(" * 5_000)):
        path = tmp_path / f"a{suffix}"
        path.write_text(text)
        (document,) = read([path])
        assert document.text == text


_NOT_PARSED = ((1, "too many errors of syntax to find definitions; it was read as one text"),)


def test_source_code_that_takes_too_long_to_parse_is_one_text(monkeypatch: pytest.MonkeyPatch) -> None:
    # Minutes without a limit.
    monkeypatch.setattr(code, "_SECONDS", 0.5)
    text = "def f():\n    pass\n" + "<!--" * 25_000
    extract = TEXT_READERS[".py"](text.encode(), "a.py")
    assert (extract.text, len(extract.sections), extract.problems) == (text, 1, _NOT_PARSED)


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory need Linux")
@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".java", "x = a " + "<a " * 21_000),
        (".java", "int f; " * 9_360 + "x = a " + "<a " * 21_000),
        (".c", "a=>" * 2_700),
        (".php", "<?php //" + "x" * 16_350 + "\n" + ";+" * 24_000),
    ],
)
def test_source_code_that_takes_too_much_memory_to_parse_is_one_text(suffix: str, text: str) -> None:
    # Gigabytes without a limit; where there is no more, tree-sitter ends its process.
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    extract = TEXT_READERS[suffix](text.encode(), f"a{suffix}")
    assert (extract.text, extract.problems) == (text, _NOT_PARSED)
    # Of all processes that have ended, in KiB.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss - before < 512 << 10
    # The next file is parsed.
    assert len(TEXT_READERS[".py"](b"def f(): pass\ndef g(): pass\n", "a.py").sections) == 2


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".py", 'X = """{prose}"""\ndef f(): pass\n'),
        (".c", "/* {prose} */\nint f() {{}}\n"),
        (".js", "const x = `{prose}`\nfunction f() {{}}\n"),
    ],
)
def test_long_comments_and_strings_are_no_errors_of_syntax(suffix: str, text: str) -> None:
    source = text.format(prose="It's what \"they\" don't (say) {of; bats\n" * 4_000)
    extract = TEXT_READERS[suffix](source.encode(), f"a{suffix}")
    assert (extract.problems, extract.sections[-1].headings) == ((), ("f",))


def test_where_no_process_starts_source_code_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code._PROCESSES.end_idle()
    program = tmp_path / "program.py"
    program.write_text("raise SystemExit(7)")
    monkeypatch.setattr(reading_process, "_PROGRAM", program)
    message = "^a.py: the process that reads source code did not start "
    with pytest.raises(InputFileError, match=rf"{message}\(exit status 7\); "):
        TEXT_READERS[".py"](b"def f(): pass\n", "a.py")
    # It writes what is no JSON, and waits.
    program.write_text("import time; print('hello', flush=True); time.sleep(60)")
    with pytest.raises(InputFileError, match=rf"{message}\(no answer\); "):
        TEXT_READERS[".py"](b"def f(): pass\n", "a.py")


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
def test_a_process_that_something_else_has_ended_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    source = b"def f(): pass\ndef g(): pass\n"
    expected = TEXT_READERS[".py"](source, "a.py")
    (process,) = code._PROCESSES._idle
    monkeypatch.setattr(process, "has_ended", lambda: False)
    os.kill(process._process.pid, signal.SIGKILL)
    process._process.wait()
    assert TEXT_READERS[".py"](source, "a.py") == expected
    assert len(expected.sections) == 2
    assert not expected.problems


def test_without_an_executable_of_python_source_code_is_parsed_here(monkeypatch: pytest.MonkeyPatch) -> None:
    code._PROCESSES.end_idle()
    source = b"class A:\n  def f(self): pass\n"
    expected = TEXT_READERS[".py"](source, "a.py")
    code._PROCESSES.end_idle()
    monkeypatch.setattr(sys, "executable", "/usr/bin/uwsgi")
    assert TEXT_READERS[".py"](source, "a.py") == expected
    assert code._PROCESSES._idle == []


def test_binary_under_the_name_of_source_code_is_one_message() -> None:
    with pytest.raises(InputFileError, match=r"^a\.c: not a text file[^\n]*$"):
        TEXT_READERS[".c"](b"\x7fELF\0\0\1", "a.c")


def test_missing_grammars_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tree_sitter_go", None)
    with pytest.raises(InputFileError, match=r"a\.go: reading source code needs the extra \[ingest\]"):
        TEXT_READERS[".go"](b"package a", "a.go")
