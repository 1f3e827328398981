"""Files in an encoding that somebody names: decoded with it, refused where they are not in it, and remembered."""

from __future__ import annotations

import encodings.aliases
import json
from pathlib import Path
from typing import Any

import pytest
from helpers.fakes import WordEncoder
from test_cli import Shell, shell

from serotine import Index
from serotine.errors import InputFileError
from serotine.ingest import Fields, Ingest, SourceFile, sample_texts, update

__all__ = ["shell"]  # the fixture

TEXT = "Øre og hår, 5 €"
FILES = {
    "a.txt": TEXT,
    "a.md": f"# {TEXT}",
    "a.py": f"# {TEXT}",
    "a.html": f"<meta charset=utf-8><p>{TEXT}</p>",
    "a.csv": f'text\n"{TEXT}"\n',
    "a.jsonl": json.dumps({"text": TEXT}, ensure_ascii=False) + "\n",
    "a.json": json.dumps([{"text": TEXT}], ensure_ascii=False),
}


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    with Index.create(tmp_path / "i", encoder=WordEncoder()) as created:
        yield created


def texts(index: Index) -> dict[str, str | None]:
    return {hit.metadata["source"]: hit.text for hit in index.get(list(index.ids()))}


@pytest.mark.parametrize("encoding", ["cp1252", "UTF-16", "utf_8", "cp865"])
@pytest.mark.parametrize("name", FILES)
def test_files_are_decoded_as_named(index: Index, name: str, encoding: str) -> None:
    if name in ("a.html", "a.py"):
        pytest.importorskip("selectolax" if name == "a.html" else "tree_sitter")
    # cp865 has no euro.
    text = FILES[name].replace("€", "kr") if encoding == "cp865" else FILES[name]
    Path(name).write_bytes(text.encode(encoding))
    fields = Fields(encoding=encoding)
    report = update(index, [name], fields=fields)
    assert (report.skipped, report.skipped_rows.count, report.problems.count) == ((), 0, 0)
    (hit,) = index.get(list(index.ids()))
    expected = TEXT.replace("€", "kr") if encoding == "cp865" else TEXT
    assert expected in (hit.text or "")
    assert hit.metadata.get("encoding") == (None if encoding == "utf_8" else encoding.lower())
    assert expected in sample_texts([name], fields=fields)[0]
    # It is remembered.
    assert update(index, [name]).files_unchanged == 1


def test_a_file_in_another_encoding_is_skipped_with_its_line(index: Index) -> None:
    for name, text in FILES.items():
        Path(name).write_bytes(text.encode("cp1252"))
    names = ["a.txt", "a.md", "a.csv", "a.jsonl", "a.json"]
    report = update(index, names, fields=Fields(encoding="utf-8"))
    fix = "as which Fields(encoding=...) has it read"
    assert all(f" not utf-8, {fix}" in skipped.message for skipped in report.skipped)
    assert [skipped.message.partition(" not ")[0] for skipped in report.skipped] == [
        *("a.txt:", "a.md:", "a.csv:1:", "a.jsonl:1:", "a.json:"),
    ]


@pytest.mark.parametrize("given", ["latin-1", "cp1252", "utf-8", "utf-16-be"])
def test_a_file_with_the_mark_of_another_encoding_is_skipped(index: Index, given: str) -> None:
    for name, text in FILES.items():
        Path(name).write_bytes(text.encode("utf-16"))
    report = update(index, list(FILES), fields=Fields(encoding=given))
    assert texts(index) == {}
    assert len(report.skipped) == len(FILES)
    assert all(": has the byte order mark of utf-16; name another" in skipped.message for skipped in report.skipped)


def test_a_named_encoding_is_not_detected_again(index: Index) -> None:
    for name in ("a.txt", "a.csv"):
        Path(name).write_bytes("text\nplain".encode("utf-16-le"))
    report = update(index, ["a.txt", "a.csv"], fields=Fields(encoding="latin-1"))
    assert [skipped.message.partition("; ")[0].partition(": ")[2] for skipped in report.skipped] == 2 * [
        "not iso8859-1, as which Fields(encoding=...) has it read: contains NUL characters"
    ]
    for name in ("a.txt", "a.csv"):
        Path(name).write_bytes("\ufefftext\nplain".encode("utf-16-le"))
    assert update(index, ["a.txt", "a.csv"], fields=Fields(encoding="utf-16-le")).skipped == ()
    assert texts(index) == {"a.txt": "text\nplain", "a.csv": "plain"}


def test_only_the_file_itself_keeps_its_encoding_and_others_are_detected(index: Index) -> None:
    Path("a.txt").write_bytes(TEXT.encode("utf-16-le"))
    Path("a.csv").write_text("Body\nx\n")
    update(index, ["a.txt"], fields=Fields(encoding="utf-16-le"))
    Path("b.txt").write_text(TEXT)
    report = update(index, ["a.txt", "b.txt", "a.csv"], fields=Fields(text="body"))
    assert report.files_unchanged == 1
    assert texts(index) == {"a.txt": TEXT, "b.txt": TEXT, "a.csv": "x"}
    # Types that name their encoding themselves are not decoded with it.
    Path("a.xml").write_text(f"<a>{TEXT}</a>")
    update(index, ["a.xml"], fields=Fields(encoding="cp1252"))
    assert texts(index)["a.xml"] == TEXT


@pytest.mark.parametrize("name", ["klingon", "hex", "", "a\0b"])
def test_unknown_encodings_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^encoding: must be the name of a text encoding"):
        Fields(encoding=name)


@pytest.mark.parametrize(
    "names",
    [
        ("latin-1", "ISO-8859-1", "l1", "iso8859_1", "csisolatin1"),
        ("cp1252", "windows-1252", "1252"),
        ("utf-8", "UTF8", "utf_8", "u8", "utf-8-sig", "cp65001"),
        ("gbk", "CP936", "ms936"),
        ("utf-16-le", "UTF-16LE", "utf_16_le"),
    ],
)
def test_another_name_of_the_same_encoding_reads_no_file_again(index: Index, names: tuple[str, ...]) -> None:
    Path("a.txt").write_bytes("Bats fly late.".encode(names[0]))
    Path("a.csv").write_bytes("id,text\n1,Owls hear.\n".encode(names[0]))
    assert update(index, ["a.txt", "a.csv"], fields=Fields(encoding=names[0])).files_added == 2
    for name in names[1:]:
        ingest = Ingest(["a.txt", "a.csv"], index.encoder, fields=Fields(encoding=name))
        assert ingest.plan(index).unchanged == ("a.txt", "a.csv"), name


def test_every_name_that_python_knows_for_an_encoding_is_one_encoding() -> None:
    for alias, module in encodings.aliases.aliases.items():
        spellings = (alias, alias.upper(), alias.replace("_", "-"), module)
        try:
            names = {Fields(encoding=spelling).encoding for spelling in spellings}
        except ValueError:
            # No encoding of texts, such as rot13, or one that this system or this version lacks.
            continue
        assert len(names) == 1, alias


def test_the_command_line_takes_an_encoding(shell: Shell) -> None:
    Path("a.txt").write_bytes(b"Br\xd8d er \xe6\xe5")
    shell("index", "a.txt", "-o", "i", "--encoder", "fake")
    shell("add", "i", "a.txt", "--encoding", "cp1252")
    with Index.open("i", read_only=True) as index:
        assert texts(index) == {"a.txt": "BrØd er æå"}
    assert "--encoding: must be the name of a text encoding" in shell.fails(
        "add", "i", "a.txt", "--encoding", "x", status=2
    )


@pytest.mark.parametrize(
    ("data", "fix"),
    [
        ("الخفافيش تطير ليلا وتصيد الحشرات".encode("cp1256"), "cp1256"),
        ("Летучие мыши летают ночью и ловят насекомых".encode("cp1251"), "cp1251"),
    ],
)
def test_a_line_that_is_not_utf8_names_the_encoding_it_looks_like(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, fix: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.jsonl").write_bytes(b'{"text": "' + data + b'"}\n')
    with pytest.raises(InputFileError) as raised:
        list(SourceFile.at(Path("a.jsonl")).documents())
    assert "a.jsonl:1: not UTF-8 (byte 0x" in str(raised.value)
    assert f"; it looks like {fix}: name its encoding, Fields(encoding='{fix}'), or convert" in str(raised.value)
    assert str(raised.value).endswith(f"iconv -f {fix} -t UTF-8")


def test_a_line_of_utf8_with_a_broken_letter_is_to_be_corrected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = json.dumps({"text": "größer als Fledermäuse über Würzburg"}, ensure_ascii=False).encode()
    Path("a.jsonl").write_bytes(line.replace("ü".encode(), b"\xc3", 1) + b"\n")
    with pytest.raises(InputFileError, match=r"at column \d+\); correct the line$"):
        list(SourceFile.at(Path("a.jsonl")).documents())
