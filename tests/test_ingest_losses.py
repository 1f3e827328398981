"""What a file says beside its text, and what of it may be wrong: found by searches or reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.fakes import WordEncoder
from test_ingest_readers_office import write_odt
from test_ingest_readers_pdf import write_pdf

from serotine import Index
from serotine.ingest import Fields, IngestReport, update
from serotine.ingest.readers.html import read_html
from serotine.ingest.readers.odt import read_odt
from serotine.ingest.readers.pdf import read_pdf
from serotine.ingest.readers.xml import read_xml

CHINESE = "编号,标题,text\n1,蝙蝠,蝙蝠在夜间飞行。白天在洞穴中睡觉。\n2,天气,今天北京的天气很好。我们去公园散步。\n"
JAPANESE = (
    "番号,題名,text\n1,コウモリ,コウモリは夜に飛び、昼は洞窟で眠ります。\n"
    "2,天気,今日は天気がよいので公園を散歩しました。\n"
)
KOREAN = (
    "번호,제목,text\n1,박쥐,박쥐는 밤에 날아다니고 낮에는 동굴에서 잠을 잔다.\n2,날씨,오늘은 날씨가 좋아서 산책했다.\n"
)
RUSSIAN = "номер,имя,text\n1,Мыши,Летучие мыши летают ночью и спят днём в пещерах.\n2,Погода,Сегодня хорошая погода.\n"
TRADITIONAL = "編號,標題,text\n1,蝙蝠,蝙蝠在夜間飛行。白天在洞穴中睡覺。\n2,天氣,今天台北的天氣很好。我們去公園散步。\n"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    with Index.create(tmp_path / "i", encoder=WordEncoder(), filterable={"year": int}) as created:
        yield created


def problems(report: IngestReport) -> list[tuple[int, str]]:
    return [(row.line, row.reason.split(";")[0]) for row in report.problems.first]


def test_title_and_tags_of_front_matter_are_searched(index: Index) -> None:
    Path("a.md").write_text(
        "---\ntitle: Nocturnal animals\ntags: [owls, 7]\ndate: 2026-01-02\n---\n\n# Notes\n\nBats fly.\n"
    )
    Path("b.md").write_text("---\ntitle: On foxes\n---\nA text on foxes, as in its title.\n")
    update(index, ["a.md", "b.md"])
    for query in ("nocturnal", "owls"):
        assert [hit.id for hit in index.search(query, mode="bm25")] == ["a.md"]
    hit = index["a.md"]
    assert hit.text == "Nocturnal animals\ntags: owls, 7\n\n\n# Notes\n\nBats fly."
    assert (hit.metadata["title"], hit.metadata["heading"], hit.metadata["start"]) == ("Nocturnal animals", "Notes", 0)
    # What the beginning of a text has is not repeated.
    assert index["b.md"].text == "A text on foxes, as in its title."


@pytest.mark.parametrize(
    ("text", "encoding", "name"),
    [
        (CHINESE, "gbk", "gb18030"),
        (TRADITIONAL, "big5", "big5hkscs"),
        (JAPANESE, "shift_jis", "cp932"),
        (KOREAN, "euc_kr", "cp949"),
        (RUSSIAN, "cp1251", "cp1251"),
    ],
)
def test_rows_of_a_table_name_its_encoding(index: Index, text: str, encoding: str, name: str) -> None:
    Path("a.csv").write_bytes(text.encode(encoding))
    update(index, ["a.csv"])
    row = index["a.csv:2"]
    assert row.text == text.splitlines()[1].split(",")[2]
    assert row.metadata["encoding"] == name


@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a.md", "a.json", "a.html", "a.py", "a.eml"])
def test_an_encoding_that_is_a_guess_is_reported(index: Index, name: str) -> None:
    text = {
        "a.csv": "id,text\na,你好世界\n",
        "a.json": '[{"text": "你好世界"}]',
        "a.eml": "Subject: x\n\n你好世界\n",
        "a.py": "# 你好世界\n",
    }.get(name, "你好世界\n")
    Path(name).write_bytes(text.encode("gbk"))
    report = update(index, [name])
    ((line, reason),) = problems(report)
    (document,) = index.documents()
    assert line == 1
    assert reason == f"not UTF-8, and read as {document.metadata['encoding']}, which is a guess"
    # An update that does not read the file reports it again.
    assert problems(update(index, [name])) == [(line, reason)]


def test_an_encoding_that_a_page_declares_is_not_reported(index: Index) -> None:
    Path("b.html").write_bytes("<meta charset=gbk><p>你好世界".encode("gbk"))
    assert problems(update(index, ["b.html"])) == []


POLISH = "Nietoperz łowi nocą owady i śpi w dzień w jaskini, źdźbło"
HUNGARIAN = "A denevér éjjel repül, és rovarokat eszik; nagyon kicsi szőrös állat, fülei hosszúak, repülő emlős"
CZECH = "Netopýr loví v noci hmyz a přes den spí v jeskyni, což mu umožní přežít dlouhou zimu"
FRENCH = "La chauve-souris a été observée près de la forêt, où elle dort l'été"


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.html", "a.eml", "a.srt", "a.py", "a.json"])
@pytest.mark.parametrize("fault", ["byte", "latin-1", "end"])
def test_utf8_with_a_broken_letter_stays_utf8(index: Index, name: str, fault: str) -> None:
    before, after = {
        "a.csv": ("id,text\na,", "\n"),
        "a.eml": ("Content-Type: text/plain; charset=utf-8\n\n", "\n"),
        "a.srt": ("1\n00:00:01,000 --> 00:00:02,000\n", "\n"),
        "a.html": ("<meta charset=utf-8><p>", "</p>"),
        "a.py": ("# ", "\n"),
        "a.json": ('[{"text": "', '"}]'),
    }.get(name, ("", ""))
    text = {
        "byte": "Übermaß ".encode() + b"\xff" + " und Größe".encode(),
        "latin-1": "Übermaß und Größe der Fledermäuse ".encode() + "Füße".encode("latin-1"),
        "end": "Übermaß für 5 €".encode()[:-1],
    }[fault]
    Path(name).write_bytes(before.encode() + text + after.encode())
    assert problems(update(index, [name])) == [(before.count("\n") * (name != "a.eml") + 1, "not valid UTF-8")]
    (document,) = index.documents()
    assert document.text is not None
    assert text.decode("utf-8", "replace") in document.text
    assert "encoding" not in document.metadata


def test_the_first_of_the_broken_lines_is_named(index: Index) -> None:
    lines = ["Größe und Übermaß".encode()] * 9000
    lines[7000] = lines[8000] = "Größe und Übermaß".encode("latin-1")
    Path("a.txt").write_bytes(b"\n".join(lines))
    assert problems(update(index, ["a.txt"])) == [(7001, "not valid UTF-8, nor is 1 later line")]


def test_a_letter_at_the_end_is_not_a_cut_one(index: Index) -> None:
    Path("a.txt").write_bytes("un café".encode("latin-1"))
    update(index, ["a.txt"])
    assert index["a.txt"].text == "un café"


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.html", "a.eml", "a.srt", "a.md"])
@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("コウモリは夜に昆虫を捕まえる動物です。", "iso2022_jp"),
        ("ｺｳﾓﾘは夜に\n飛ぶ", "iso2022_jp_ext"),
        ("박쥐는 밤에\n곤충을 잡는다", "iso2022_kr"),
    ],
)
def test_text_of_seven_bits_with_switches_is_decoded(index: Index, name: str, text: str, encoding: str) -> None:
    source = {
        "a.csv": f'id,text\na,"{text}"\n',
        "a.eml": f"Subject: x\n\n{text}\n",
        "a.srt": f"1\n00:00:01,000 --> 00:00:02,000\n{text}\n",
        "a.html": f"<pre>{text}</pre>",
    }.get(name, text)
    Path(name).write_bytes(source.encode(encoding))
    assert problems(update(index, [name])) == []
    (document,) = index.documents()
    assert text.replace("\n", " ") in (document.text or "").replace("\n", " ")
    assert document.metadata["encoding"].startswith("iso2022_")


def test_colors_of_a_terminal_are_no_switches(index: Index) -> None:
    Path("a.txt").write_bytes(b"plain \x1b[31mred\x1b[0m and \x1b$ then \x1b$B")
    assert problems(update(index, ["a.txt"])) == []
    assert "encoding" not in index["a.txt"].metadata


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        *((text, encoding) for text in (POLISH, HUNGARIAN, CZECH) for encoding in ("cp1250", "iso8859-2", "cp852")),
        *((FRENCH, encoding) for encoding in ("cp1252", "cp850", "mac-roman")),
        ("Летучая мышь ловит насекомых ночью и спит днём в пещере", "cp866"),
        ("id,text\n" + "".join(f"{i},コウモリは夜に昆虫を捕まえる動物です\n" for i in range(30)), "shift_jis"),
        ("id,text\n1,大雁南飞\n", "gbk"),
    ],
)
def test_an_old_encoding_is_found_by_its_letters_and_reported(index: Index, text: str, encoding: str) -> None:
    Path("a.txt").write_bytes(text.encode(encoding))
    (_, reason), *others = problems(update(index, ["a.txt"]))
    assert others == []
    assert index["a.txt"].text == text.rstrip()
    assert reason == f"not UTF-8, and read as {index['a.txt'].metadata['encoding']}, which is a guess"


def test_fields_that_say_where_a_record_is_are_never_its_own(index: Index) -> None:
    Path("a.csv").write_text("id,text,source,line,page\na,bat,the web,7,3\nb,owl,a book,8,4\n")
    report = update(index, ["a.csv"])
    assert index["b"].metadata == {
        "document_source": "a book",
        "document_line": "8",
        "page": "4",
        "source": "a.csv",
        "line": 3,
    }
    names = "'line' (2), 'source' (2), which are 'document_line', 'document_source' in the metadata"
    assert problems(report) == [(2, f"records have fields of their own named {names}")]


def test_a_nul_byte_costs_a_row_and_a_repeated_column_nothing(index: Index) -> None:
    Path("a.csv").write_bytes(b"id,text,tag,tag,,\na,bat,x,y,,\nb,o\0wl,x,y,,\nc,fox,x,z,,\n")
    report = update(index, ["a.csv"])
    assert [(row.line, row.reason) for row in report.skipped_rows.first] == [(3, "contains a NUL byte; remove it")]
    assert problems(report) == [(1, "the header has 'tag' more than once")]
    assert {document.id: document.metadata["tag_2"] for document in index.documents()} == {"a": "y", "c": "z"}
    assert "" not in index["a"].metadata


def test_names_of_records_may_be_of_any_case_and_ids_are_integers_or_strings(index: Index) -> None:
    Path("a.jsonl").write_text(
        '{"_ID": 1, "TITLE": "On", "Text": "bats"}\n{"ID": 1e3, "text": "owls"}\n{"id": 1.5, "text": "a"}\n'
        '{"id": null, "text": "a"}\n{"id": true, "text": "a"}\n{"text": "foxes", "Text": "other"}\n'
    )
    report = update(index, ["a.jsonl"])
    assert {document.id: document.text for document in index.documents()} == {
        "1": "On bats",
        "1000": "owls",
        "a.jsonl:6": "foxes",
    }
    assert [row.reason.rpartition(" got ")[2] for row in report.skipped_rows.first] == ["1.5", "null", "a boolean"]


def test_html_text_that_is_easily_lost() -> None:
    extract = read_html(
        b"<p>A <img alt='bat at night'> flies.<img><svg><title>Map</title><g><text>Caves</text></g></svg>"
        b"<noscript>Plain <b>version</b></noscript><noscript>Please enable JavaScript.</noscript>"
        b"<textarea>Dear all</textarea><iframe></iframe><video></video>",
        "f",
    )
    assert extract.text == "A bat at night flies.\nMap\nCaves\n\nPlain version\n\nDear all"
    assert extract.unread == {"images": 2, "frames": 1, "videos": 1}


def test_page_headers_are_read_once() -> None:
    styles = (
        "<s xmlns:s='urn:s'><s:master-page><s:header><s:p>Bat Society</s:p></s:header><s:footer><s:p>3</s:p></s:footer>"
        "</s:master-page><s:master-page><s:header><s:p>Bat Society</s:p></s:header></s:master-page></s>"
    )
    assert read_odt(_with(write_odt("<text:p>Text</text:p>"), "styles.xml", styles), "f").text == "Text\n\nBat Society"


def _with(package: bytes, name: str, content: str) -> bytes:
    import io
    import zipfile

    data = io.BytesIO(package)
    with zipfile.ZipFile(data, "a") as archive:
        archive.writestr(name, content)
    return data.getvalue()


def test_values_of_forms_and_comments_in_pdf() -> None:
    objects = [
        b"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[4 0 R]>>>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]/Annots[4 0 R 5 0 R]>>",
        b"<</Type/Annot/Subtype/Widget/FT/Tx/T(name)/V(Anna Owl)/Rect[10 10 90 30]/P 3 0 R>>",
        b"<</Type/Annot/Subtype/Text/Contents(a remark)/Rect[10 50 30 70]/P 3 0 R>>",
    ]
    body = b"".join(b"%d 0 obj" % number + content + b"endobj\n" for number, content in enumerate(objects, 1))
    extract = read_pdf(b"%PDF-1.4\n" + body + b"trailer<</Root 1 0 R/Size 6>>\n%%EOF", "f")
    assert extract.text == "name: Anna Owl"
    assert extract.unread == {"comments": 1}


def test_attributes_of_xml_are_counted() -> None:
    extract = read_xml(b"<a xml:lang='en' b='1'><c d='e'>Text</c></a>", "f")
    assert (extract.text, extract.unread) == ("Text", {"attributes": 2})


def test_hidden_sheets_are_indexed_and_reported(index: Index) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["bats"])
    book.create_sheet("Costs").append(["owls"])
    book["Costs"].sheet_state = "veryHidden"
    book.save("a.xlsx")
    report = update(index, ["a.xlsx"])
    assert problems(report) == [(1, "sheet 'Costs' is hidden, and indexed like the others")]
    assert [hit.metadata["sheet"] for hit in index.search("owls", mode="bm25")] == ["Costs"]


@pytest.mark.parametrize("suffix", [".yaml", ".yml", ".toml", ".ini", ".cfg", ".tex"])
def test_settings_and_tex_are_texts(index: Index, suffix: str) -> None:
    Path(f"a{suffix}").write_text("bats = owls\n")
    update(index, [f"a{suffix}"])
    assert index[f"a{suffix}"].text == "bats = owls"


def test_a_file_without_a_text_is_found_by_its_title_summary_and_tags(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    pytest.importorskip("selectolax")
    (tmp_path / "stub.md").write_text("---\ntitle: On echolocation\nsummary: How bats hear\ntags: [night]\n---\n\n")
    (tmp_path / "date.md").write_text("---\ndate: 2026-11-03\n---\n")
    (tmp_path / "shell.html").write_text("<title>Caves of the north</title><script>run()</script><img>")
    with Index.create(tmp_path / "i", encoder=WordEncoder()) as index:
        report = update(index, [tmp_path])
        texts = {Path(hit.id).name: (hit.text, hit.metadata["title"]) for hit in index.get(list(index.ids()))}
    assert texts == {
        "stub.md": ("On echolocation\nHow bats hear\ntags: night", "On echolocation"),
        "shell.html": ("Caves of the north", "Caves of the north"),
    }
    assert report.unread == {"images": 1}
    assert [Path(skipped.file).name for skipped in report.skipped] == ["date.md"]
    assert {(Path(row.file).name, row.reason) for row in report.problems.first} == {
        (
            "stub.md",
            "has no text but in its metadata, and is found by its title, summary, tags only; check that it is complete",
        ),
        ("shell.html", "has no text but in its metadata, and is found by its title only; check that it is complete"),
    }


def test_what_is_not_read_of_records_is_counted(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    from openpyxl.comments import Comment

    book = openpyxl.Workbook()
    book.active.append(["text", "price"])
    book.active.append(["a bat", 3])
    book.active["A2"].comment = Comment("a note", "Anna")
    book.save(tmp_path / "a.xlsx")
    mail = "From a@b.c Tue Nov 24 10:00:00 2026\nSubject: A\nContent-Type: multipart/mixed; boundary=x\n\n"
    mail += "--x\n\na fox\n--x\nContent-Type: image/png\n\nabc\n--x--\n"
    (tmp_path / "a.mbox").write_text(mail)
    with Index.create(tmp_path / "i", encoder=WordEncoder()) as index:
        report = update(index, [tmp_path], fields=Fields(text="text"))
        assert report.unread == {"comments": 1, "attachments": 1}
        assert update(index, [tmp_path]).unread == report.unread


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", ""),
        ("a.md", " \n"),
        ("a.html", "<p></p>"),
        ("a.py", "\n"),
        ("a.jsonl", ""),
        ("a.csv", "id,text\n"),
        ("a.json", "[]"),
    ],
)
def test_a_file_that_has_no_text_any_more_is_removed_and_reported(
    index: Index, tmp_path: Path, name: str, content: str
) -> None:
    first = {"a.jsonl": '{"_id": "1", "text": "yak"}\n{"_id": "2", "text": "ox"}\n', "a.csv": "id,text\n1,yak\n"}
    first["a.json"] = '[{"_id": "1", "text": "yak"}]'
    file = tmp_path / "notes" / name
    file.parent.mkdir()
    (tmp_path / "notes" / "other.txt").write_text("gnu")
    file.write_text(first.get(name, "yak"))
    update(index, [file.parent])
    ids = list(index.sources.ids(str(file)))
    assert ids
    file.write_text(content)
    report = update(index, [file.parent])
    assert (report.removed, report.files_removed, report.files_replaced) == (len(ids), 1, 0)
    (skipped,) = report.skipped
    kind = "documents" if name in ("a.jsonl", "a.csv", "a.json") else "text"
    fault = f"contains no {kind}; check that it is the right file"
    leave = (
        f"its {len(ids)} documents leave the index, the first is" if len(ids) > 1 else "its document leaves the index:"
    )
    assert skipped.reason == f"{fault}; {leave} {ids[0]!r}"
    assert index.sources.ids(str(file)) == []
    # Reported by every run, like a file that was always empty.
    assert [skipped.reason for skipped in update(index, [file.parent]).skipped] == [fault]
    file.write_text(first.get(name, "yak"))
    assert update(index, [file.parent]).added == len(ids)


def test_a_pdf_that_has_only_images_now_is_removed_and_reported(index: Index, tmp_path: Path) -> None:
    pytest.importorskip("pypdfium2")
    file = tmp_path / "notes" / "a.pdf"
    file.parent.mkdir()
    (file.parent / "other.txt").write_text("gnu")
    write_pdf(file, [f"{animal} " * 40 for animal in ("yak", "ox")])
    update(index, [file.parent])
    (first, second) = index.sources.ids(str(file))
    write_pdf(file, ["", ""])
    report = update(index, [file.parent])
    assert (report.removed, report.files_removed, len(index)) == (2, 1, 1)
    (skipped,) = report.skipped
    fault = "contains no text on its 2 pages, only images; run OCR first, for example with ocrmypdf"
    assert skipped.reason == f"{fault}; its 2 documents leave the index, the first is {first!r}"
    assert [skipped.reason for skipped in update(index, [file.parent]).skipped] == [fault]
    # One that cannot be read may have its text still.
    write_pdf(file, [f"{animal} " * 40 for animal in ("yak", "ox")])
    update(index, [file.parent])
    file.write_bytes(file.read_bytes()[:200])
    (skipped,) = update(index, [file.parent]).skipped
    assert skipped.reason.endswith("write it again; what the index has of it stays searchable")
    assert index.sources.ids(str(file)) == [first, second]
