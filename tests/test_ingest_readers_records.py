"""Readers of JSON, tab-separated tables and e-mail."""

from __future__ import annotations

import json
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from serotine.errors import InputFileError
from serotine.ingest import Document, SourceFile
from serotine.ingest.readers.email_message import read_eml
from serotine.ingest.rows import SkippedRow


def documents(path: Path, data: str | bytes) -> tuple[list[Document], list[SkippedRow]]:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    rows: list[SkippedRow] = []
    return list(SourceFile.named(path, path.name).documents(on_bad_row=rows.append)), rows


RECORDS: list[dict[str, Any]] = [
    {"_id": "a", "title": "Bats", "text": "fly", "year": 2026},
    {"_id": "b", "text": "owls"},
]


@pytest.mark.parametrize(
    "value",
    [RECORDS, {"version": 1, "records": RECORDS}, {"tags": ["x"], "empty": [], "rows": RECORDS}],
)
def test_json_is_an_array_of_objects_or_holds_one(tmp_path: Path, value: object) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        found, rows = documents(tmp_path / "a.json", json.dumps(value, indent=1).encode(encoding))
        assert [(document.id, document.text) for document in found] == [("a", "Bats fly"), ("b", "owls")]
        assert found[0].metadata["year"] == 2026
        assert rows == []


def test_an_element_that_is_no_object_is_one_bad_row(tmp_path: Path) -> None:
    value = {"meta": {"a": 1}, "tags": ["x"], "items": [RECORDS[0], "str", RECORDS[1]]}
    found, rows = documents(tmp_path / "a.json", json.dumps(value))
    assert [document.id for document in found] == ["a", "b"]
    assert [(row.line, row.reason) for row in rows] == [(2, "must be an object, got str")]


def test_json_of_one_object_is_one_document(tmp_path: Path) -> None:
    found, _ = documents(tmp_path / "a.json", json.dumps({"_id": "a", "text": "fly", "links": [{"to": "b"}]}))
    assert [(document.id, document.text) for document in found] == [("a", "fly")]
    assert found[0].metadata["links"] == [{"to": "b"}]
    assert documents(tmp_path / "b.json", " \n") == ([], [])


def test_bad_json_is_named(tmp_path: Path) -> None:
    found, rows = documents(
        tmp_path / "a.json", '[{"_id": "a", "text": "x"}, 7, {"_id": "b", "text": "\\ud800"}, {"n": NaN}]'
    )
    assert [document.id for document in found] == ["a"]
    assert [(row.line, row.reason.split(";")[0]) for row in rows[:2]] == [
        (2, "must be an object, got int"),
        (3, "contains a lone surrogate (\\ud800 to \\udfff)"),
    ]
    assert rows[2].line == 4
    for data, message in (
        ('{"a": 1,\n}', r"a\.json:2: not valid JSON"),
        ("7", r"a\.json: must be an object or an array of objects, got int"),
        ("[" * 100_000, r"a\.json: not valid JSON"),
    ):
        with pytest.raises(InputFileError, match=message):
            documents(tmp_path / "a.json", data)


def test_a_table_of_tabs(tmp_path: Path) -> None:
    found, rows = documents(tmp_path / "a.tsv", 'id\ttext\tyear\na\tbats, late\t2026\nb\t"owls\thunt"\t2025\n')
    assert [(document.id, document.text, document.metadata["year"]) for document in found] == [
        ("a", "bats, late", "2026"),
        ("b", "owls\thunt", "2025"),
    ]
    assert rows == []


def message(**parts: Any) -> EmailMessage:
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = "Bäts at night", "Anna <anna@a.b>", "ben@a.b"
    mail["Date"], mail["Message-ID"] = "Tue, 24 Nov 2026 10:30:00 +0100", "<1@a.b>"
    mail.set_content(parts.get("text", "They fly late.\n"))
    if "html" in parts:
        mail.add_alternative(parts["html"], subtype="html")
    for name in parts.get("attachments", ()):
        mail.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename=name)
    return mail


METADATA = {
    "title": "Bäts at night",
    "author": "Anna <anna@a.b>",
    "to": "ben@a.b",
    "date": "2026-11-24T10:30:00+01:00",
    "message_id": "<1@a.b>",
}


def test_an_email_is_subject_and_body() -> None:
    extract = read_eml(message(html="<p>No</p>", attachments=["a.pdf", "b.pdf"]).as_bytes(), "a.eml")
    assert extract.text == "Bäts at night\n\nThey fly late."
    assert extract.metadata == METADATA
    assert extract.unread == {"attachments": 2}


def test_an_email_of_html_alone() -> None:
    pytest.importorskip("selectolax")
    mail = message()
    mail.set_content("<p>They fly <b>late</b>.</p><script>x</script>", subtype="html")
    assert read_eml(mail.as_bytes(), "a.eml").text == "Bäts at night\n\nThey fly late."
    # The header names the encoding, the page another one.
    head = "Subject: s\nContent-Type: text/html; charset=koi8-r\n\n<meta charset=ascii><p>"
    assert read_eml(head.encode() + "идёт".encode("koi8-r"), "a.eml").text == "s\n\nидёт"


def test_an_email_within_an_email_is_an_attachment() -> None:
    mail = message()
    mail.add_attachment(message(text="inner"))
    extract = read_eml(mail.as_bytes(), "a.eml")
    assert "inner" not in extract.text
    assert extract.unread == {"attachments": 1}


@pytest.mark.parametrize(
    ("head", "body", "text"),
    [
        ("Content-Type: text/plain; charset=no-such", "naïve".encode(), "naïve"),
        ("Content-Type: text/plain; charset=punycode", "naïve-a".encode(), "naïve-a"),
        ("Content-Type: text/plain; charset=undefined", "naïve".encode(), "naïve"),
        ("Content-Type: text/plain; charset=unicode_escape", b"\\x61", "\\x61"),
        ('Content-Type: text/plain; charset="utf\x008"', "naïve".encode(), "naïve"),
        ("Content-Type: text/plain; charset=us-ascii", "naïve".encode(), "naïve"),
        (
            "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable",
            b"na=EFve=",
            "naïve",
        ),
        ("Content-Type: text/plain\nContent-Transfer-Encoding: base64", b"bmFp*", "nai"),
        ("Content-Type: multipart/mixed; boundary=x", b"--x\n\nunclosed", "unclosed"),
        ("From: =?x?y?z\nTo: <<>>,;\nDate: never\nMessage-ID: <[>", b"plain", "plain"),
        # Python's parser raises for such a charset.
        ("Content-Type: text/html; charset*0*=utf-16''%00", b"<p>plain", "<p>plain"),
        ("Content-Disposition: attachment; filename*0*=utf-16''%00", b"plain", "plain"),
        (
            "Content-Type: multipart/mixed; boundary=x",
            b"--x\nContent-Type: text/plain; charset*0*=utf-16''%00\n\nin a part\n--x--",
            "in a part",
        ),
    ],
)
def test_broken_emails_are_read_as_far_as_they_go(head: str, body: bytes, text: str) -> None:
    assert read_eml(f"Subject: s\n{head}\n\n".encode() + body, "a.eml").text == f"s\n\n{text}"


def test_what_is_no_email_is_named() -> None:
    with pytest.raises(InputFileError, match=r"^a\.eml: not an e-mail: has no headers; rename it to \.txt$"):
        read_eml(b"\njust words", "a.eml")


def test_a_mailbox_is_a_document_for_each_email(tmp_path: Path) -> None:
    first = message(text="They fly.\n\nFrom here on, late.\n>From quoted\n", attachments=["a.pdf"]).as_string()
    second = "From ben@a.b Tue Nov 24 10:31:00 2026\nSubject: Re\n\nYes.\n"
    source = f"From anna@a.b Tue Nov 24 10:30:00 2026\n{first}\n\n{second}"
    found, rows = documents(tmp_path / "a.mbox", source)
    assert rows == []
    assert [document.text for document in found] == [
        "Bäts at night They fly.\n\nFrom here on, late.\nFrom quoted",
        "Re Yes.",
    ]
    assert {key: found[0].metadata[key] for key in ("author", "date", "message_id", "attachments")} == {
        "author": "Anna <anna@a.b>",
        "date": "2026-11-24T10:30:00+01:00",
        "message_id": "<1@a.b>",
        "attachments": 1,
    }
    assert len({document.id for document in found}) == 2
    with pytest.raises(InputFileError, match=r"a\.mbox:1: not a mailbox"):
        documents(tmp_path / "a.mbox", "just words")
