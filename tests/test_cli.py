"""The commands, in this process, with a fake encoder."""

from __future__ import annotations

import io
import json
import shutil
import sys
from typing import TYPE_CHECKING, Any

import pytest
from helpers.cli_fake import FakeEncoder

import serotine.encoders
from serotine.cli import main
from serotine.errors import EmptyTextWarning
from serotine.index import Index
from serotine.maxsim import reference

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = {
    "bat": "Serotine bats emerge late in the evening.",
    "cat": "A cat sleeps all day and all evening.",
    "fish": "Fish swim.",
}


class Terminal(io.StringIO):
    """Standard input of a person who types this."""

    def isatty(self) -> bool:
        return True


class Shell:
    """Runs commands and records their output."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self.capfd = capfd
        self.out = self.err = ""

    def __call__(self, *arguments: object, status: int = 0) -> str:
        self.capfd.readouterr()
        actual_status = main([str(argument) for argument in arguments])
        self.out, self.err = self.capfd.readouterr()
        assert actual_status == status, self.err
        return self.out

    def fails(self, *arguments: object, status: int = 1) -> str:
        """Check that a command writes one error line and nothing to standard output; return that line."""
        self(*arguments, status=status)
        assert self.out == ""
        assert self.err.startswith("error: ")
        assert self.err.count("\n") == 1
        assert self.err.endswith("\n")
        return self.err

    def json(self, *arguments: object) -> Any:
        return json.loads(self(*arguments, "--json", "-"))


@pytest.fixture
def shell(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shell:
    monkeypatch.setattr(serotine.encoders, "Encoder", FakeEncoder)
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "corpus.jsonl", TEXTS)
    return Shell(capfd)


def write_jsonl(path: Path, texts: dict[str, str]) -> Path:
    rows = [{"_id": id_, "text": text, "words": len(text.split())} for id_, text in texts.items()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def ids(path: str = "i.serotine") -> set[str]:
    with Index.open(path, read_only=True) as index:
        return set(index.ids())


def test_index_search_add_delete_info_verify(shell: Shell, tmp_path: Path) -> None:
    result = shell.json("index", "corpus.jsonl", "--output", "i.serotine")
    assert (result["added"], result["skipped"], result["documents"], result["tokens"]) == (3, [], 3, 17)
    assert result["encoder"] == "fake"

    output = shell("search", "i.serotine", "late", "bats", "-k", 1)
    assert "  1    1.000  bat\n     Serotine bats emerge late in the evening.\n" in output
    assert shell.err == ""

    write_jsonl(tmp_path / "more.jsonl", {"bat": "Bats sleep.", "owl": "Owls emerge late."})
    # A row whose id is taken costs no other row, or the whole file with --strict.
    collision = f"more.jsonl:1: id 'bat' is already in the index, from {tmp_path}/corpus.jsonl; add --prefix-ids"
    shell("add", "i.serotine", "more.jsonl", "--strict", status=1)
    assert collision in shell.err
    assert ids() == {"bat", "cat", "fish"}
    shell("add", "i.serotine", "more.jsonl")
    assert f"skipped row: {collision}" in shell.err
    assert ids() == {"bat", "cat", "fish", "owl"}
    replaced = shell("add", "i.serotine", "more.jsonl", "--upsert")
    assert "1 document added, 1 of them replaced (1 unchanged); it has 4" in replaced

    assert "'emu' is not in the index; nothing was deleted" in shell.fails("delete", "i.serotine", "owl", "emu")
    assert "2 documents deleted; it has 2 documents" in shell("delete", "i.serotine", "owl", "cat", "owl")
    assert ids() == {"bat", "fish"}

    description = shell("info", "i.serotine")
    assert "2 documents\n" in description
    assert "Deleted   3 documents" in description
    assert shell.json("info", "i.serotine")["documents"] == 2
    assert "sound; " in shell("verify", "i.serotine")
    assert shell.json("verify", "i.serotine")["sound"] is True


def test_search_json_equals_brute_force(shell: Shell) -> None:
    shell("index", "corpus.jsonl", "-o", "i.serotine")
    result = shell.json("search", "i.serotine", "late evening fish", "-k", 99, "--exact")
    query = FakeEncoder().encode_queries(["late evening fish"])[0]
    with Index.open("i.serotine", read_only=True) as index:
        scores = {id_: reference.score(query, index.vectors(id_)) for id_ in TEXTS}
    assert [hit["id"] for hit in result["hits"]] == sorted(scores, key=lambda id_: -scores[id_])
    for rank, hit in enumerate(result["hits"], 1):
        assert hit["rank"] == rank
        assert hit["score"] == pytest.approx(scores[hit["id"]], rel=1e-5)
        assert hit["text"] == TEXTS[hit["id"]]
        line = list(TEXTS).index(hit["id"]) + 1
        assert hit["metadata"] == {"words": len(TEXTS[hit["id"]].split()), "source": "corpus.jsonl", "line": line}
    assert result["certificate"]["exact"] is True
    # All documents are hits: the bound is infinite, which JSON cannot represent.
    assert result["certificate"]["bound"] is None
    spans = {TEXTS["bat"][start:end] for start, end, _ in next(h for h in result["hits"] if h["id"] == "bat")["spans"]}
    assert {"late", "evening"} <= spans


def test_json_to_a_file_and_text_to_standard_output(shell: Shell, tmp_path: Path) -> None:
    shell("index", "corpus.jsonl", "-o", "i.serotine")
    assert "cat" in shell("search", "i.serotine", "cat", "--json", "out.json")
    assert json.loads((tmp_path / "out.json").read_bytes())["hits"][0]["id"] == "cat"


def test_indexing_into_an_existing_index(shell: Shell, tmp_path: Path) -> None:
    shell("index", "corpus.jsonl", "-o", "i.serotine")
    write_jsonl(tmp_path / "corpus.jsonl", {**TEXTS, "owl": "Owls."})
    result = shell.json("index", "corpus.jsonl", "-o", "i.serotine")
    assert (result["added"], result["unchanged"], result["documents"]) == (1, 3, 4)
    assert "fingerprint" in shell.fails("index", "corpus.jsonl", "-o", "i.serotine", "--encoder", "other")
    write_jsonl(tmp_path / "new.jsonl", {"new": "Other words."})
    assert shell.json("index", "new.jsonl", "-o", "i.serotine", "--overwrite")["documents"] == 1
    assert ids() == {"new"}
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["corpus.jsonl", "i.serotine", "new.jsonl"]


def test_a_failed_overwrite_leaves_the_index_unchanged(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell("index", "corpus.jsonl", "-o", "i.serotine")
    (tmp_path / "empty.jsonl").touch()
    assert "contains no documents" in shell.fails("index", "empty.jsonl", "-o", "i.serotine", "--overwrite")
    with Index.open("i.serotine"):
        assert "another process is writing" in shell.fails("index", "corpus.jsonl", "-o", "i.serotine", "--overwrite")
    with monkeypatch.context() as patch:
        patch.setattr(FakeEncoder, "encode_documents", raises(KeyboardInterrupt()))
        message = shell.fails("index", "corpus.jsonl", "-o", "i.serotine", "--overwrite", status=130)
        assert "i.serotine is unchanged" in message
        patch.setattr(FakeEncoder, "encode_documents", raises(OSError(28, "No space left on device")))
        assert "No space left" in shell.fails("index", "corpus.jsonl", "-o", "i.serotine", "--overwrite")
    (tmp_path / "i.serotine" / "mine.txt").touch()
    assert "'mine.txt'" in shell.fails("index", "corpus.jsonl", "-o", "i.serotine", "--overwrite")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine.txt").touch()
    assert "not a Serotine index" in shell.fails("index", "corpus.jsonl", "-o", "folder", "--overwrite")
    assert ids() == set(TEXTS)
    names = {entry.name for entry in tmp_path.iterdir()}
    assert names == {"corpus.jsonl", "empty.jsonl", "i.serotine", "folder"}


def test_overwrite_through_a_link_and_of_the_current_folder(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk").mkdir()
    shell("index", "corpus.jsonl", "-o", "disk/i.serotine")
    (tmp_path / "link").symlink_to("disk/i.serotine")
    assert shell.json("index", "corpus.jsonl", "-o", "link", "--overwrite")["documents"] == 3
    assert (tmp_path / "link").is_symlink()
    assert [entry.name for entry in (tmp_path / "disk").iterdir()] == ["i.serotine"]
    monkeypatch.chdir(tmp_path / "disk" / "i.serotine")
    assert shell.json("index", "../../corpus.jsonl", "-o", ".")["files"]["unchanged"] == 1
    for ancestor in (".", "..", "/"):
        shell.fails("index", "../../corpus.jsonl", "-o", ancestor, "--overwrite", status=2)
    (tmp_path / "void").mkdir()
    monkeypatch.chdir(tmp_path / "void")
    shell.fails("index", "../corpus.jsonl", "-o", ".", status=2)


def test_overwrite_replaces_a_damaged_index(shell: Shell, tmp_path: Path) -> None:
    shell("index", "corpus.jsonl", "-o", "i.serotine")
    (segment,) = (tmp_path / "i.serotine" / "segments").iterdir()
    segment.write_bytes(segment.read_bytes()[:-1])
    for command in (["verify", "i.serotine"], ["search", "i.serotine", "bats"], ["info", "i.serotine"]):
        assert segment.name in shell.fails(*command)
    shell("index", "corpus.jsonl", "-o", "i.serotine", "--overwrite")
    shell("verify", "i.serotine")


def test_verify_detects_a_flipped_bit(shell: Shell, tmp_path: Path) -> None:
    shell("index", "corpus.jsonl", "-o", "i.serotine")
    (segment,) = (tmp_path / "i.serotine" / "segments").iterdir()
    data = bytearray(segment.read_bytes())
    # Past the header, among the vectors.
    data[80] ^= 1
    segment.write_bytes(data)
    assert "checksum" in shell.fails("verify", "i.serotine")


def raises(error: BaseException) -> Any:
    def encode(*_: object, **__: object) -> None:
        raise error

    return encode


def test_interrupted_indexing_resumes_after_the_last_commit(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    texts = {str(number): f"evening {number}" for number in range(200)}
    write_jsonl(tmp_path / "corpus.jsonl", texts)
    encode = FakeEncoder.encode_documents
    calls: list[int] = []

    def interrupted_encode(self: FakeEncoder, texts: list[str], *, show_progress: bool = False) -> Any:
        calls.append(len(texts))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return encode(self, texts)

    with monkeypatch.context() as patch:
        patch.setattr(FakeEncoder, "encode_documents", interrupted_encode)
        message = shell.fails("index", "corpus.jsonl", "-o", "i.serotine", status=130)
    assert f"{calls[0]} documents of 200 stored in i.serotine; run the same command again" in message
    assert len(ids()) == calls[0]
    again = f"serotine index {tmp_path / 'corpus.jsonl'} -o i.serotine"
    assert f"{tmp_path / 'corpus.jsonl'} was interrupted" in shell("info", "i.serotine")
    assert f"continue it with the options it had: {again}" in shell("info", "i.serotine")
    shell("search", "i.serotine", "evening")
    assert shell.err.count("was interrupted; run it again, hits may be missing") == 1
    calls.clear()
    with monkeypatch.context() as patch:
        patch.setattr(FakeEncoder, "encode_documents", interrupted_encode)
        message = shell.fails("index", "corpus.jsonl", "-o", "i.serotine", status=130)
    first = len(ids()) - calls[0]
    assert f"{calls[0]} documents of {200 - first} stored in i.serotine, which has {len(ids())} now; run" in message
    calls[0] = len(ids())
    result = shell.json("index", "corpus.jsonl", "-o", "i.serotine")
    assert (result["added"], result["unchanged"]) == (200 - calls[0], calls[0])
    assert ids() == set(texts)
    assert "interrupted" not in shell("info", "i.serotine")


def test_bad_input_leaves_no_files(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").unlink()
    for content, message in [
        (b"", "in.jsonl: contains no documents"),
        (
            b'{"_id": "1", "text": "a"}\n{"_id": "1", "text": "b"}\n',
            "in.jsonl:2: duplicate id '1'",
        ),
        (b'{"_id": "1", "text": "a"}\n{"_id": "2", "text": "\xe9"}\n', "in.jsonl:2: not UTF-8"),
        (b'{"_id": "1", "text": "a"}\n{"_id": "2"}\n', "in.jsonl:2: has neither"),
    ]:
        (tmp_path / "in.jsonl").write_bytes(content)
        assert message in shell.fails("index", "in.jsonl", "-o", "i.serotine", "--strict")
        assert [entry.name for entry in tmp_path.iterdir()] == ["in.jsonl"]
    assert "no such file" in shell.fails("index", "nowhere", "-o", "i.serotine")


def test_empty_texts_are_bad_rows(shell: Shell, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "in.jsonl", {"a": "words", "b": "", "c": "  "})
    shell("index", "in.jsonl", "-o", "i.serotine")
    reason = "'text' is empty; give it a text, or remove the row"
    assert shell.err == (
        f"warning: skipped row: in.jsonl:2: {reason}\nwarning: skipped row: in.jsonl:3: {reason}\n"
        "warning: 2 bad rows of 1 file skipped; --strict rejects such files\n"
    )
    assert ids() == {"a"}
    assert reason in shell.fails("index", "in.jsonl", "-o", "other", "--strict")
    # Those that come from Python are stored, but are no hits.
    with Index.open("i.serotine") as index, pytest.warns(EmptyTextWarning):
        index.add(["b", "c"], ["", "  "])
    result = shell.json("search", "i.serotine", "words", "-k", 9)
    assert [hit["id"] for hit in result["hits"]] == ["a"]


def test_documents_are_deleted_by_a_filter(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell("index", "corpus.jsonl", "-o", "i.serotine")
    long = ("delete", "i.serotine", "--where", '{"words": {">=": 6}}')
    with Index.open("i.serotine", read_only=True) as index:
        matching, documents = index.count(where={"words": {">=": 6}}), len(index)
    assert 0 < matching < documents
    noun = "document" if matching == 1 else "documents"
    assert shell(*long, "--dry-run") == (
        f"i.serotine: {matching} {noun} would be deleted; it has {documents} documents.\n"
    )
    assert shell.json(*long, "--dry-run") == {
        "path": "i.serotine",
        "deleted": 0,
        "matching": matching,
        "documents": documents,
    }
    # On a terminal it asks, with the number.
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    shell(*long, status=1)
    question = f"i.serotine: delete {matching} of {documents} documents? [y/N]:"
    assert (shell.out.strip(), " ".join(shell.err.split())) == (
        "",
        f"{question} error: i.serotine: nothing was deleted",
    )
    assert len(ids()) == documents
    assert f"{matching} {noun} deleted" in shell(*long, "--yes")
    assert len(ids()) == documents - matching
    # Nothing to ask about.
    assert "0 documents deleted" in shell(*long)


def test_the_name_of_a_file_of_rows_means_its_rows(shell: Shell, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "more.jsonl", {"owl": "Owls hear.", "fox": "Foxes dig."})
    shell("index", "corpus.jsonl", "more.jsonl", "-o", "i.serotine")
    assert "nothing was deleted" in shell.fails("delete", "i.serotine", "more.jsonl", "less.jsonl")
    report = {"path": "i.serotine", "deleted": 0, "matching": 2, "documents": 5}
    assert shell.json("delete", "i.serotine", "more.jsonl", "owl", "--dry-run") == report
    assert "'less.jsonl' is not in the index" in shell.fails("delete", "i.serotine", "less.jsonl", "owl", "--dry-run")
    assert shell.json("delete", "i.serotine", "more.jsonl", "owl")["deleted"] == 2
    assert ids() == {"bat", "cat", "fish"}
    # As documents of other files, they stay deleted.
    assert shell.json("index", "more.jsonl", "-o", "i.serotine")["deleted"] == {"more.jsonl": 2}
    assert ids() == {"bat", "cat", "fish"}


def test_a_dry_run_counts_what_deleting_would_delete(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("Bats fly at night. " * 200, encoding="utf-8")
    write_jsonl(tmp_path / "rows.jsonl", {"row": "Owls hear well. " * 200, "fox": "Foxes dig."})
    shell("index", "corpus.jsonl", "long.txt", "rows.jsonl", "-o", "i.serotine", "--chunk-tokens", "100")
    for names in (["cat"], ["long.txt"], ["row", "row#1"], ["rows.jsonl", "fox", "long.txt#2"]):
        preview = shell.json("delete", "i.serotine", *names, "--dry-run")
        shutil.copytree(tmp_path / "i.serotine", tmp_path / "copy.serotine")
        assert preview["matching"] == shell.json("delete", "copy.serotine", *names)["deleted"]
        shutil.rmtree(tmp_path / "copy.serotine")


def test_paths_without_an_index_are_errors(shell: Shell) -> None:
    for path in ("nowhere", "corpus.jsonl", "."):
        for command in (["search", path, "x"], ["info", path], ["verify", path], ["delete", path, "x"]):
            shell.fails(*command)
        shell.fails("add", path, "corpus.jsonl")


def test_commands_on_an_index_without_an_encoder(shell: Shell) -> None:
    with Index.create("v.serotine", dim=2) as index:
        index.add(["a"], vectors=[FakeEncoder().encode_queries(["x"])[0][:, :2]])
    assert "has no encoder" in shell.fails("search", "v.serotine", "x")
    assert "has no encoder for texts" in shell.fails("add", "v.serotine", "corpus.jsonl")
    assert "none: created for vectors" in shell("info", "v.serotine")


def test_searching_an_empty_index(shell: Shell) -> None:
    shell("index", "corpus.jsonl", "-o", "i.serotine")
    shell("delete", "i.serotine", *TEXTS)
    assert "has no documents" in shell("search", "i.serotine", "x")
    assert shell.json("search", "i.serotine", "x")["hits"] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--unknown"],
        ["frobnicate"],
        ["search"],
        ["search", "i"],
        ["search", "i", "  "],
        ["search", "i", "\udcff"],
        ["delete", "i", "a", "\udcff"],
        ["search", "i", "x", "-k", "0"],
        ["search", "i", "x", "-k", "many"],
        ["search", "i", "x", "--json", "no/such/folder.json"],
        ["info", "i", "--json", "."],
        ["index", "-o", "i"],
        ["index", "corpus.jsonl", "more.jsonl"],
        ["index", "corpus.jsonl", "-o", "i", "--no-chunk", "--overlap", "3"],
        ["add", "i"],
        ["delete", "i"],
        ["delete", "i", "a", "--where", '{"n": 1}'],
        ["delete", "i", "--where", "n"],
    ],
)
def test_bad_usage_exits_with_2(shell: Shell, arguments: list[str]) -> None:
    assert "--help" in shell.fails(*arguments, status=2)


def test_control_characters_never_reach_the_terminal(shell: Shell, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "in.jsonl", {"a\x1b[2J\nb": "evil \x1b[31m red\nline"})
    shell("index", "in.jsonl", "-o", "i.serotine")
    output = shell("search", "i.serotine", "red")
    assert "\x1b" not in output
    assert "evil [31m red line" in output
