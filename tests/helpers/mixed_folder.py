"""A folder of 60 small files of all kinds, with the faults that real folders have."""

from __future__ import annotations

import json
import mailbox
import zipfile
from email.message import EmailMessage
from pathlib import Path
from zlib import crc32

FACT = "The {animal} in {name} sleeps {number} hours."
ANIMALS = ("otter", "badger", "heron", "lynx", "marten", "newt", "osprey", "polecat", "quail", "raven", "stoat", "toad")


def fact(name: str) -> str:
    """Return a sentence that only one file has."""
    number = crc32(name.encode()) % 10_000
    return FACT.format(animal=ANIMALS[number % len(ANIMALS)], name=name, number=number)


def create(root: Path) -> Path:
    """Write the folder `root` and return it."""
    root.mkdir()
    _texts(root / "texts")
    _web(root / "web")
    _office(root / "office")
    _tables(root / "tables")
    _code(root / "code")
    _others(root / "others")
    return root


def _write(folder: Path, files: dict[str, str | bytes]) -> None:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def _texts(folder: Path) -> None:
    filler = "The committee met and talked about the weather for a while without any result. "
    _write(
        folder,
        {
            "README": f"# The project\n\n{fact('README')}\n",
            "todo.txt": fact("todo.txt"),
            "long.txt": filler * 66 + fact("long.txt"),
            "one line.txt": "budget " * 900 + fact("one line.txt"),
            "wrapped.txt": "The quarterly report was\nlate again because the\nprinter had no paper.\n"
            + fact("wrapped.txt"),
            "latin1.txt": ("Les élèves étaient très fatigués après la journée à l'école. " * 3).encode("latin-1"),
            "utf16.txt": ("\ufeff" + fact("utf16.txt")).encode("utf-16-le"),
            "empty.txt": "",
            "binary.txt": bytes(range(256)) * 4,
            "notes.md": f"---\ntitle: Meeting\ntags: [a, b]\ndate: 2026-11-03\n---\n# Notes\n\n{fact('notes.md')}\n",
            "broken.md": f"---\ntitle: [never closed\n---\n# Broken\n\n{fact('broken.md')}\n",
            "guide.markdown": f"# Guide\n\n{fact('guide.markdown')}\n",
            "settings.yaml": f"# {fact('settings.yaml')}\ncolor: red\n",
            "server.log": "12:00 started\n12:01 " + fact("server.log"),
            "thai.txt": "ค้างคาวออกหากินในเวลากลางคืนและนอนในถ้ำตอนกลางวัน " * 4,
            "chinese.md": "# 蝙蝠\n\n蝙蝠在夜间飞行。白天在洞穴中睡觉。它们用回声定位来寻找昆虫。\n",
            'it\'s a "name" & more.txt': fact("it's a name"),
        },
    )


def _web(folder: Path) -> None:
    code = "<span class='k'>try</span>:\n    <span class='n'>open_door</span>()\n<span class='k'>except</span> Locked:"
    _write(
        folder,
        {
            "manual.html": "<html><head><title>Opening doors &#8212; Doors 2.1 documentation</title></head><body>"
            "<a class='skip' href='#main'>Skip to content</a><nav>Home | Next</nav><main id='main'>"
            f"<h1>Opening doors<a class='headerlink' href='#opening'>¶</a></h1><p>{fact('manual.html')}</p>"
            f"<pre>{code}</pre><img alt='{fact('alt')}'><noscript>{fact('noscript')}</noscript>"
            f"<svg><text>{fact('svg')}</text></svg><textarea>{fact('textarea')}</textarea></main></body></html>",
            "russian.html": (
                "<meta charset=windows-1251><p>Летучие мыши летают ночью и спят днём в пещерах.</p>".encode("cp1251")
            ),
            "feed.xml": f"<?xml version='1.0'?><notes lang='en'><note>{fact('feed.xml')}</note></notes>",
            "film.srt": f"1\n00:00:01,000 --> 00:00:03,000\n{fact('film.srt')}\n",
        },
    )


def _office(folder: Path) -> None:
    import docx
    import fpdf
    import openpyxl
    import pptx

    folder.mkdir()
    slides = fpdf.FPDF()
    slides.set_font("helvetica", size=20)
    for page in range(1, 5):
        slides.add_page()
        slides.cell(text=f"Slide {page}: {fact(f'slide {page}')}")
    slides.output(str(folder / "slides.pdf"))

    hyphens = fpdf.FPDF()
    hyphens.add_page()
    hyphens.set_font("helvetica", size=12)
    lines = ("It is self-evident that infor-", "mation is kept. A self-", f"evident rule. {fact('hyphens.pdf')}")
    for line in lines:
        hyphens.cell(text=line, new_x="LMARGIN", new_y="NEXT")
    hyphens.output(str(folder / "hyphens.pdf"))

    locked = fpdf.FPDF()
    locked.add_page()
    locked.set_encryption(owner_password="owner", user_password="user")
    locked.set_font("helvetica", size=12)
    locked.cell(text=fact("locked.pdf"))
    locked.output(str(folder / "locked.pdf"))

    drawing = fpdf.FPDF()
    drawing.add_page()
    drawing.line(10, 10, 100, 100)
    drawing.output(str(folder / "scan.pdf"))

    whole = (folder / "slides.pdf").read_bytes()
    (folder / "cut.pdf").write_bytes(whole[: len(whole) // 3])

    report = docx.Document()
    report.add_heading("Annual report", 1)
    report.add_paragraph(fact("report.docx"))
    report.sections[0].footer.paragraphs[0].text = fact("footer")
    report.save(str(folder / "report.docx"))
    (folder / "broken.docx").write_bytes(b"PK\x03\x04 not a document")

    talk = pptx.Presentation()
    for number in (1, 2):
        slide = talk.slides.add_slide(talk.slide_layouts[1])
        slide.shapes.title.text = f"Part {number}"
        slide.placeholders[1].text = fact(f"talk {number}")
    talk.save(str(folder / "talk.pptx"))

    book = openpyxl.Workbook()
    book.active.append(["id", "text", "price"])
    book.active.append(["x1", fact("prices.xlsx"), 3])
    book.create_sheet("Costs").append([fact("hidden sheet")])
    book["Costs"].sheet_state = "hidden"
    book.save(folder / "prices.xlsx")

    _epub(folder / "novel.epub")
    _odt(folder / "letter.odt")


def _epub(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as book:
        book.writestr("mimetype", "application/epub+zip")
        book.writestr(
            "META-INF/container.xml",
            "<container xmlns='urn:oasis:names:tc:opendocument:xmlns:container'><rootfiles>"
            "<rootfile full-path='book.opf' media-type='application/oebps-package+xml'/></rootfiles></container>",
        )
        book.writestr(
            "book.opf",
            "<package xmlns='http://www.idpf.org/2007/opf' version='3.0'>"
            "<metadata xmlns:dc='http://purl.org/dc/elements/1.1/'><dc:title>A novel</dc:title></metadata>"
            "<manifest><item id='c1' href='c1.xhtml' media-type='application/xhtml+xml'/></manifest>"
            "<spine><itemref idref='c1'/></spine></package>",
        )
        book.writestr("c1.xhtml", f"<html><body><h1>Chapter one</h1><p>{fact('novel.epub')}</p></body></html>")


def _odt(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as letter:
        letter.writestr("mimetype", "application/vnd.oasis.opendocument.text")
        letter.writestr(
            "content.xml",
            "<office:document-content xmlns:office='urn:oasis:names:tc:opendocument:xmlns:office:1.0' "
            "xmlns:text='urn:oasis:names:tc:opendocument:xmlns:text:1.0'><office:body><office:text>"
            f"<text:p>{fact('letter.odt')}</text:p></office:text></office:body></office:document-content>",
        )


def _tables(folder: Path) -> None:
    records = [{"_id": "r1", "text": fact("r1")}, {"_id": "r2", "text": None}, {"_id": "r1", "text": "again"}]
    _write(
        folder,
        {
            "records.jsonl": "\n".join(map(json.dumps, records))
            + '\n{"_id": "r3", "text": NaN}\nnot json\n{"_id": "r4", "text": "'
            + fact("r4")
            + '", "price": NaN}\n',
            "first.csv": f"text,price\n{fact('first.csv')},1\n",
            # In GBK, with a column of the name that says where a row is, and a repeated one.
            "second.csv": (
                f"text,source,note,note\n{fact('second.csv')},shop,蝙蝠在夜间飞行 白天在洞穴中睡觉,b\n".encode("gbk")
            ),
            "ids-a.csv": f"id,text\n1,{fact('ids-a.csv')}\n",
            "ids-b.csv": f"id,text\n1,{fact('ids-b.csv')}\n",
            "semicolon.csv": f"id;text\ns1;{fact('semicolon.csv')}\n",
            "excel.csv": f"sep=;\nid;text\ne1;{fact('excel.csv')}\n",
            "tabs.tsv": f"id\ttext\nt1\t{fact('tabs.tsv')}\n",
            "ragged.csv": f"id,text\ng1,{fact('ragged.csv')}\ng2,too,many\ng3,a\0b\n",
            "upper.csv": f' ID , Text \nu1,"{fact("upper.csv")}\nsecond line"\n',
            "no-text.csv": "name,price\nchair,3\n",
            "content.jsonl": json.dumps({"id": "c1", "title": "A title", "content": fact("content.jsonl")}) + "\n",
            "array.json": json.dumps([{"ID": "j1", "Text": fact("array.json")}]),
            "long.jsonl": json.dumps({"id": "l1", "text": "The weather was mild. " * 250 + fact("long.jsonl")}) + "\n",
        },
    )


def _code(folder: Path) -> None:
    _write(
        folder,
        {
            "door.py": f'def open_door(key):\n    """{fact("door.py")}"""\n    return key\n\n\nclass Lock:\n    pass\n',
            "door.js": f"// {fact('door.js')}\nfunction openDoor(key) {{\n  return key.turn();\n}}\n",
            "door.c": f"/* {fact('door.c')} */\nint open_door(int key) {{ return key; }}\n",
            "door.ipynb": json.dumps(
                {
                    "cells": [
                        {"cell_type": "markdown", "metadata": {}, "source": [fact("door.ipynb")]},
                        {
                            "cell_type": "code",
                            "execution_count": 1,
                            "metadata": {},
                            "outputs": [],
                            "source": ["open_door(key)"],
                        },
                    ],
                    "metadata": {"language_info": {"name": "python"}},
                    "nbformat": 4,
                    "nbformat_minor": 5,
                }
            ),
            "door.rst": f"Doors\n=====\n\n{fact('door.rst')}\n",
        },
    )


def _others(folder: Path) -> None:
    message = EmailMessage()
    message["Subject"], message["From"], message["Date"] = "Doors", "a@example.org", "Tue, 03 Nov 2026 10:00:00 +0000"
    message.set_content(fact("mail.eml"))
    _write(
        folder,
        {
            "mail.eml": message.as_bytes(),
            "photo.jpg": b"\xff\xd8\xff\xe0" + bytes(64),
            "photo2.jpg": b"\xff\xd8\xff\xe0" + bytes(64),
            "archive.zip": b"PK\x05\x06" + bytes(18),
            "node_modules/readme.md": "# A dependency\n\nNothing of ours.\n",
            "draft.tmp.txt": "A draft that nobody should find.",
            ".gitignore": "*.tmp.txt\n",
            ".hidden.txt": "A hidden file.",
        },
    )
    box = mailbox.mbox(folder / "box.mbox")
    box.add(message)
    box.close()
    (folder / "link.txt").symlink_to(Path("..") / "texts" / "todo.txt")
