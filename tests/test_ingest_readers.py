"""Readers of text files: encodings, structure, PDF, Parquet, and broken files."""

from __future__ import annotations

import datetime
import gzip
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from serotine.errors import InputFileError
from serotine.ingest import SourceFile, read
from serotine.ingest.decoding import Encoding, decode
from serotine.ingest.extract import Extract
from serotine.ingest.readers.html import read_html
from serotine.ingest.readers.markdown import read_markdown

JAPANESE = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。"
FRENCH = "Les élèves étaient très fatigués après la journée passée à l'école."
RUSSIAN = "Летучие мыши летают ночью и спят днём в пещерах."


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Grüße 東京", "utf-8"),
        ("Grüße 東京", "utf-8-sig"),
        ("Grüße 東京", "utf-16"),
        ("Grüße\nan alle", "utf-16-le"),
        ("Grüße\nan alle", "utf-16-be"),
        ("Grüße 東京", "utf-32"),
        (JAPANESE, "cp932"),
        (FRENCH, "latin-1"),
        ("“Naïve”, he said. It cost 5 €. " * 3, "cp1252"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8_r"),
        ("蝙蝠在夜间飞行。白天在洞穴中睡觉。", "gb18030"),
        ("박쥐는 밤에 날아다니고 낮에는 동굴에서 잠을 잔다.", "cp949"),
        ("", "utf-8"),
    ],
)
def test_encodings(text: str, encoding: str) -> None:
    if not encoding.startswith("utf"):
        pytest.importorskip("chardet")
    assert decode(text.encode(encoding), "f")[0] == text


def test_late_non_ascii_letters_decide_the_encoding() -> None:
    pytest.importorskip("chardet")
    text = "plain words\n" * 50_000 + FRENCH
    assert decode(text.encode("cp1252"), "f") == (text, Encoding("cp1252", is_guess=True))


def test_binary_is_not_text() -> None:
    for data in (bytes(range(256)), b"\x89PNG\r\n\x1a\n\x00", bytes([1, 2, 3, 200, 201]) * 99):
        with pytest.raises(InputFileError, match="f: not a text file: contains"):
            decode(data, "f")


def test_a_guessed_encoding_is_in_the_metadata(tmp_path: Path) -> None:
    pytest.importorskip("chardet")
    (tmp_path / "a.txt").write_bytes(JAPANESE.encode("shift_jis"))
    (tmp_path / "b.csv").write_bytes(f"id,text\n1,{FRENCH}\n".encode("cp1252"))
    (tmp_path / "c.csv").write_bytes(f"id,text\r\n1,{JAPANESE}\r\n".encode("utf-16"))
    first, second, third = read([tmp_path])
    assert (first.text, first.metadata) == (JAPANESE, {"encoding": "cp932"})
    assert (second.text, third.text) == (FRENCH, JAPANESE)


def headings(extract: Extract) -> list[tuple[tuple[str, ...], str]]:
    return [(section.headings, extract.text[section.start : section.end]) for section in extract.sections]


def test_markdown_structure() -> None:
    front = "---\ntitle: settings\n---\n"
    source = (
        "preface\n\n# One `code` *two*\nbody\n```\n# no heading\n```\n> # quoted\n\n"
        "Set\next\n------\n\n#### Deep\u2028 #\ntext\n# Last\n"
    )
    for end in ("\n", "\r\n"):
        text = source.replace("\n", end)
        extract = read_markdown((front.replace("\n", end) + text).encode(), "f")
        assert extract.text == text
        assert extract.metadata == {"title": "settings"}
        assert read_markdown(text.encode(), "f").metadata == {"title": "One code two"}
        assert "".join(content for _, content in headings(extract)) == text
        assert [(path, content.split(end)[0]) for path, content in headings(extract)] == [
            ((), "preface"),
            (("One code two",), "# One `code` *two*"),
            (("One code two", "Set ext"), "Set"),
            (("One code two", "Set ext", "Deep"), "#### Deep\u2028 #"),
            (("Last",), "# Last"),
        ]


PAGE = """<!doctype html><html><head><title>A &amp; B</title><meta charset="{charset}"><style>p {{}}</style></head>
<body><nav>menu</nav><script>var x = "<p>no</p>";</script>
<h1>First <b>head</b></h1><p>One  <i>é</i>l<br>two</p><pre>  kept
    as is</pre><!-- comment --><div hidden>secret</div>
<h2>Second</h2><ul><li>item<li>other</ul><table><tr><td>a<td>b<tr><td>c</table><textarea>form</textarea>
<h1> </h1><h1>Third</h1>end</body></html>"""


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [
        ("utf-8", "utf-8"),
        ("iso-8859-1", "utf-8"),
        ("utf-8", "cp1252"),
        ("no-such-thing", "cp1252"),
        ("windows-1252", "cp1252"),
        ("hex", "utf-8"),
        ("utf-8", "utf-16"),
    ],
)
def test_html_with_right_and_wrong_declarations(declared: str, encoding: str) -> None:
    pytest.importorskip("selectolax")
    if encoding == "cp1252":
        pytest.importorskip("chardet")
    extract = read_html(PAGE.format(charset=declared).encode(encoding), "f")
    assert extract.text == (
        "First head\n\nOne él\ntwo\n\n  kept\n    as is\n\nSecond\n\nitem\nother\n\na\tb\nc\n\nform\n\nThird\n\nend"
    )
    assert extract.metadata["title"] == "A & B"
    assert headings(extract) == [
        (("First head",), "First head\n\nOne él\ntwo\n\n  kept\n    as is\n\n"),
        (("First head", "Second"), "Second\n\nitem\nother\n\na\tb\nc\n\nform\n\n"),
        (("Third",), "Third\n\nend"),
    ]


def test_html_trusts_a_declaration_that_fits() -> None:
    pytest.importorskip("selectolax")
    source = f"<meta http-equiv=content-type content='text/html; charset=EUC-JP'><p>{JAPANESE}"
    extract = read_html(source.encode("euc_jp"), "f")
    assert (extract.text, extract.metadata) == (JAPANESE, {"encoding": "euc_jp"})


def test_html_with_little_structure() -> None:
    pytest.importorskip("selectolax")
    for source, text in (
        ("", ""),
        ("just words", "just words"),
        ("<p>open <b>never closed", "open never closed"),
        ("<div>" * 5_000 + "deep", "deep"),
        ("<frameset><frame src=x></frameset>", ""),
        ("a\0b<script>x", "a b"),
    ):
        data = source.encode()
        if "\0" in source:
            with pytest.raises(InputFileError, match="NUL"):
                read_html(data, "f")
        else:
            assert read_html(data, "f").text == text


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    day = datetime.datetime(2026, 11, 24, 16, 30)
    rows: list[dict[str, Any]] = [
        {"id": "a", "title": "Bats", "text": "fly", "when": day, "price": Decimal("1.50"), "raw": b"\0", "n": 1.5},
        {"id": "b", "title": None, "text": "owls", "when": None, "price": None, "raw": None, "n": float("nan")},
    ]
    file = tmp_path / "t.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    first, second = read([file])
    assert (first.id, first.text, first.origin) == ("a", "Bats fly", f"{file}:1")
    assert first.metadata == {"title": "Bats", "when": "2026-11-24T16:30:00", "price": 1.5, "raw": "AA==", "n": 1.5}
    assert second.metadata == {"when": None, "price": None, "raw": None, "n": None}
    # As `Index.add` stores them: a time zone in UTC; digits that no float holds stay as text.
    zoned = datetime.datetime(2026, 11, 24, 16, 30, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))
    rows = [{"id": "a", "text": "x", "when": zoned, "day": zoned.date(), "price": Decimal("0.12345678901234567890")}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    (document,) = read([file])
    assert document.metadata == {
        "when": "2026-11-24T14:30:00+00:00",
        "day": "2026-11-24",
        "price": "0.12345678901234567890",
    }
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(InputFileError, match=r"t\.parquet: damaged, or not a Parquet file"):
        list(read([file]))
    parquet.write_table(pyarrow.table({"words": ["x"]}), file)
    with pytest.raises(InputFileError, match="must have a column 'text', got words"):
        list(read([file]))


def test_parquet_values_without_a_json_type(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "t.parquet"
    pairs = pyarrow.array([[("day", datetime.date(2026, 11, 24))]], pyarrow.map_(pyarrow.string(), pyarrow.date32()))
    parquet.write_table(pyarrow.table({"id": ["a"], "text": ["x"], "pairs": pairs}), file)
    (document,) = read([file])
    assert document.metadata == {"pairs": [["day", "2026-11-24"]]}
    # The year 12,013.
    late = pyarrow.array([3_668_000], pyarrow.int32()).cast(pyarrow.date32())
    parquet.write_table(pyarrow.table({"id": ["a"], "text": ["x"], "late": late}), file)
    with pytest.raises(InputFileError, match=r"t\.parquet: damaged, or not a Parquet file \(date value out of range\)"):
        list(read([file]))


def test_parquet_within_gzip(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    plain, packed = tmp_path / "t.parquet", tmp_path / "t.parquet.gz"
    parquet.write_table(pyarrow.table({"id": ["a"], "text": ["x"]}), plain)
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert [(document.id, document.text) for document in read([packed])] == [("a", "x")]
    packed.write_bytes(plain.read_bytes())
    with pytest.raises(InputFileError, match=r"t\.parquet\.gz: damaged, or not a gzip file"):
        list(read([packed]))


@pytest.mark.parametrize("written", [{"row_group_size": 700}, {"dictionary_pagesize_limit": 1000}])
def test_parquet_with_nested_texts_is_read_however_it_is_written(tmp_path: Path, written: dict[str, int]) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    # Arrow refuses dictionaries of nested texts over several row groups, if they are read at once.
    tags = [[f"tag {number} " * 20, "bat"] for number in range(3000)]
    table = pyarrow.table({"text": [f"text {number}" for number in range(3000)], "tags": tags})
    file = tmp_path / "t.parquet"
    parquet.write_table(table, file, data_page_size=500, **written)
    documents = list(read([file]))
    assert [document.text for document in documents] == table["text"].to_pylist()
    assert [document.metadata["tags"] for document in documents] == tags


def test_parquet_nanoseconds_without_pandas_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")

    def without_pandas(_: object) -> None:
        raise ValueError("Nanosecond resolution temporal type 1 is not safely convertible")

    file = tmp_path / "t.parquet"
    parquet.write_table(pyarrow.table({"id": ["a"], "text": ["x"]}), file)

    class Batch:
        columns = ()
        to_pylist = without_pandas

        def __len__(self) -> int:
            return 1

        def slice(self, *_: int) -> Batch:
            return self

    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", lambda *_, **__: iter([Batch()]))
    with pytest.raises(InputFileError, match=r"t\.parquet: .*Nanosecond resolution"):
        list(read([file]))


def test_a_named_file_is_read_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "upload").write_bytes(gzip.compress(b"# Title\n\nwords"))
    (document,) = SourceFile.named(tmp_path / "upload", "notes/a.md.gz").documents()
    assert (document.id, document.metadata, document.origin) == ("notes/a.md.gz", {"title": "Title"}, "notes/a.md.gz")


@pytest.mark.parametrize(
    ("module", "name", "data"),
    [
        ("chardet", "a.txt", "é".encode("latin-1")),
        ("selectolax.lexbor", "a.html", b"<p>x"),
        ("pypdfium2", "a.pdf", b"%PDF"),
        ("pyarrow", "a.parquet", b"PAR1"),
    ],
)
def test_a_missing_library_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, name: str, data: bytes
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputFileError, match=r"pip install 'serotine\[ingest\]'"):
        list(read([tmp_path / name]))
