"""The files of a folder that are read, and the count of those that are not."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from helpers.cli_fake import FakeEncoder
from helpers.fakes import WordEncoder
from test_cli import Shell, ids, shell

from serotine import Index
from serotine.errors import InputFileError
from serotine.ingest import FileSelection, Ignored, Ingest, IngestReport, update
from serotine.ingest.listing import find_files

__all__ = ["shell"]  # the fixture


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "tree"
    for name in (
        *("a.md", "b.txt", "pic.PNG", "other.png", "blob", ".hidden.md", ".git/config.md", "deep/c.md"),
        *("drafts/d.md", "deep/drafts/keep.md", "node_modules/x/readme.md", "env/lib/e.md", "build/f.md", "out.bin"),
        *("env/pyvenv.cfg", "build.gradle", "notes/build/g.md", "i.serotine/catalog.sqlite", "i.serotine/x.md"),
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def names(root: Path, **options: Any) -> list[str]:
    return [file.path.relative_to(root).as_posix() for file in find_files(root, FileSelection(**options)).files]


def test_files_are_read_and_all_others_counted(tree: Path) -> None:
    found = find_files(tree, FileSelection())
    assert names(tree) == [
        *("a.md", "b.txt", "deep/c.md", "deep/drafts/keep.md", "drafts/d.md", "notes/build/g.md"),
    ]
    assert found.ignored == Ignored(
        suffixes={".png": 2, "": 1, ".gradle": 1, ".bin": 1},
        hidden=2,
        folders={"build": 1, "env": 1, "i.serotine": 1, "node_modules": 1},
        examples=found.ignored.examples,
    )
    assert {suffix: len(examples) for suffix, examples in found.ignored.examples.items()} == found.ignored.suffixes
    assert str(found.ignored) == (
        "ignored: 5 of unknown types (.png 2, no suffix 1: blob, .gradle 1, .bin 1), 2 hidden, "
        "folders build, env, i.serotine, node_modules"
    )
    assert not Ignored()


def test_generated_files_are_left_out_by_kind(tree: Path) -> None:
    generated = ("package-lock.json", "deep/poetry.lock", "app.min.js", "app.js.map", "door_pb2.py", "Cargo.lock")
    generated += ("package.json", "deep/tsconfig.build.json")
    for name in (*generated, "lock.py", "admin.js", "records.json"):
        (tree / name).write_text("{}")
    found = find_files(tree, FileSelection())
    assert found.ignored.generated == {
        "lock files": 3,
        "configuration files": 2,
        "generated code": 1,
        "minified code": 1,
        "source maps": 1,
    }
    assert "3 lock files, 2 configuration files, 1 source map, 1 minified code, 1 gener" in str(found.ignored)
    assert found.ignored.to_json()["generated"] == found.ignored.generated
    assert {"lock.py", "admin.js", "records.json"} <= set(names(tree))
    assert not set(generated) & set(names(tree))
    # A pattern that matches them, or no rule at all, brings them back; a source of its own is always read.
    assert names(tree, include=("*.min.js", "package-lock.json")) == ["app.min.js", "package-lock.json"]
    assert {"package-lock.json", "app.min.js", "door_pb2.py"} <= set(names(tree, ignore_files=False))
    assert [file.path.name for file in find_files(tree / "package-lock.json", FileSelection()).files] == [
        "package-lock.json"
    ]


def test_ignore_files_apply_as_in_git(tree: Path) -> None:
    (tree / ".gitignore").write_text("/drafts/\n*.txt\n# comment\n")
    (tree / "deep" / ".serotineignore").write_text("drafts\n!b.txt\n")
    (tree / "deep" / "b.txt").write_text("negated by the deeper file")
    assert names(tree) == ["a.md", "deep/b.txt", "deep/c.md", "notes/build/g.md"]
    assert find_files(tree, FileSelection()).ignored.excluded == 3
    assert "node_modules/x/readme.md" in names(tree, ignore_files=False)
    assert "drafts/d.md" in names(tree, ignore_files=False)
    # The rules of the repository around a folder apply to it, unless they exclude the folder itself.
    assert names(tree / "deep") == ["b.txt", "c.md"]
    (tree / "notes" / "x.txt").write_text("x")
    assert names(tree / "notes") == ["build/g.md"]
    assert names(tree / "drafts") == ["d.md"]


def test_exclude_include_and_maximum_size(tree: Path) -> None:
    assert names(tree, exclude=["drafts/"]) == ["a.md", "b.txt", "deep/c.md", "notes/build/g.md"]
    assert names(tree, exclude=["*.md", "!c.md"]) == ["b.txt", "deep/c.md"]
    assert names(tree, include=["*.txt", "deep/*.md"]) == ["b.txt", "deep/c.md"]
    (tree / "big.md").write_text("x" * 100)
    found = find_files(tree, FileSelection(max_file_size=99))
    assert (found.ignored.too_large, found.ignored.first) == (1, ((tree / "big.md").as_posix(),))
    # A file that is itself a source is always read.
    assert [file.path for file in find_files(tree / "big.md", FileSelection(["*"], max_file_size=1)).files] == [
        tree / "big.md"
    ]
    with pytest.raises(InputFileError, match=r"no files of known types in this folder \(ignored: .* 15 excluded"):
        find_files(tree, FileSelection(exclude=["*"], ignore_files=False))
    with pytest.raises(TypeError, match="exclude: must be a list of patterns, got str"):
        FileSelection(exclude="*.md")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_file_size: must be at least 0, got -1"):
        FileSelection(max_file_size=-1)


def test_links_are_followed_once(tmp_path: Path, tree: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "o.md").write_text("outside")
    (tree / "0.md").symlink_to("a.md")
    (tree / "deep" / "up").symlink_to("..")
    (tree / "deep" / "far-up").symlink_to(tmp_path)
    (tree / "same").symlink_to("notes")
    (tree / "there").symlink_to(outside)
    (tree / "there-too").symlink_to(outside)
    (tree / "broken.md").symlink_to("nowhere")
    (tree / "circle").symlink_to("circle")
    found = find_files(tree, FileSelection())
    assert names(tree) == [
        *("a.md", "b.txt", "deep/c.md", "deep/drafts/keep.md", "drafts/d.md", "notes/build/g.md", "there/o.md"),
    ]
    assert (found.ignored.linked, found.ignored.unreadable) == (5, 2)


def test_links_are_not_followed_where_the_selection_says_so(tmp_path: Path, tree: Path, index: Index) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "s.md").write_text("secret")
    (tree / "there").symlink_to(secret)
    (tree / "s.md").symlink_to(secret / "s.md")
    (tree / "corpus.jsonl").symlink_to(secret / "s.md")
    (tree / "broken.md").symlink_to("nowhere")
    found = find_files(tree, FileSelection(follow_links=False))
    assert not [file for file in found.files if "secret" in file.real]
    assert len(found.files) == 6
    assert (found.ignored.unfollowed, found.ignored.unreadable, found.ignored.linked) == (4, 0, 0)
    assert "4 links not followed" in str(found.ignored)
    (tree / "corpus.jsonl").unlink()
    # Those that were read before are no part of the source any more.
    assert counts(update(index, ["tree"])) == (7, 0, 0, 0)
    assert counts(update(index, ["tree"], selection=FileSelection(follow_links=False))) == (0, 0, 1, 6)
    (tmp_path / "link").symlink_to(tree)
    assert len(find_files(Path("link"), FileSelection(follow_links=False)).files) == 6


def test_the_command_line_leaves_links_out(tree: Path, shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "secret.md").write_text("secret")
    (tree / "s.md").symlink_to(tmp_path / "secret.md")
    result = shell.json("index", "tree", "-o", "links.serotine", "--no-follow-links")
    assert result["ignored"]["unfollowed"] == 1
    assert (result["added"], shell.json("index", "tree", "-o", "links.serotine")["added"]) == (6, 1)


@pytest.fixture
def index(tmp_path: Path) -> Any:
    with Index.create(tmp_path / "i", encoder=WordEncoder()) as created:
        yield created


def counts(report: IngestReport) -> tuple[int, int, int, int]:
    return (report.files_added, report.files_replaced, report.files_removed, report.files_unchanged)


def test_a_linked_root_is_the_same_source(index: Index, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tree)
    assert counts(update(index, ["tree", "link"])) == (6, 0, 0, 0)
    assert counts(update(index, ["link"])) == (0, 0, 0, 6)
    (tree / "a.md").unlink()
    assert counts(update(index, ["link"])) == (0, 0, 1, 5)
    (tmp_path / "b-link.txt").symlink_to(tree / "b.txt")
    assert counts(update(index, ["b-link.txt"])) == (0, 0, 0, 1)


def test_paths_recorded_with_links_stay_the_same_source(index: Index, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tree)
    update(index, ["link"])
    # As earlier versions recorded them.
    catalog = tmp_path / "i" / "catalog.sqlite"
    index.close()
    with sqlite3.connect(catalog) as connection:
        connection.execute("UPDATE sources SET name = replace(name, ?, ?)", (f"{tree}/", f"{tmp_path / 'link'}/"))
    connection.close()
    with Index.open(tmp_path / "i", encoder=WordEncoder()) as opened:
        assert counts(update(opened, ["link"])) == (0, 0, 0, 6)
        (tree / "a.md").unlink()
        (tree / "b.txt").write_text("changed")
        assert counts(update(opened, ["link"])) == (0, 1, 1, 4)


def test_a_file_that_rules_leave_out_is_removed(index: Index, tree: Path) -> None:
    update(index, ["tree"])
    report = update(index, ["tree"], selection=FileSelection(exclude=["drafts/"]))
    assert (counts(report), report.ignored.excluded) == ((0, 0, 2, 4), 2)
    assert "tree/drafts/d.md" not in index
    # One that is too large now is not: it may only be in the way for a moment.
    assert counts(update(index, ["tree"], selection=FileSelection(max_file_size=5))) == (0, 0, 0, 2)
    assert "tree/deep/c.md" in index


def test_the_files_beside_a_beir_corpus_are_counted(index: Index, tree: Path) -> None:
    (tree / "corpus.jsonl").write_text('{"_id": "1", "text": "bat"}\n')
    report = update(index, ["tree"])
    assert (counts(report), report.ignored.beside_corpus) == ((1, 0, 0, 0), 6)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_read_is_counted(tree: Path) -> None:
    (tree / "deep").chmod(0)
    try:
        found = find_files(tree, FileSelection())
    finally:
        (tree / "deep").chmod(0o755)
    assert (found.ignored.unreadable, found.ignored.first) == (1, ((tree / "deep").as_posix(),))


def test_an_estimate_counts_what_has_to_be_stored(index: Index, tree: Path) -> None:
    ingest = Ingest(["tree"], index.encoder)
    cost = ingest.estimate(index)
    assert (cost.documents, cost.sample) == (6, 6)
    assert cost.tokens > 6
    assert cost.seconds > 0
    assert len(index) == 0
    ingest.apply(index)
    (tree / "a.md").write_text("one two three")
    again = Ingest(["tree"], index.encoder).estimate(index)
    # As they are stored: with the special token.
    assert (again.documents, again.tokens) == (1, 4)
    update(index, ["tree"])
    assert Ingest(["tree"], index.encoder).estimate(index).documents == 0


def test_the_command_line_reports_what_it_ignored(shell: Shell, tree: Path) -> None:
    output = shell("index", "tree", "-o", "o", "--exclude", "drafts/", "--exclude", "*.txt", "--max-file-size", "1kB")
    line = "ignored: 5 of unknown types (.png 2, no suffix 1: blob, .gradle 1, .bin 1), 2 hidden, 3 excluded, "
    assert line in output
    result = shell.json("index", "tree", "-o", "o", "--include", "*.md", "--no-ignore")
    assert result["ignored"]["excluded"] == 8
    assert result["ignored"]["suffixes"] == {}
    assert "tree/node_modules/x/readme.md" in ids("o")
    shell("add", "o", "tree", "--max-file-size", 5)
    assert "4 too large" in shell.out
    assert "warning: tree/deep/c.md: ignored: larger than --max-file-size" in shell.err
    assert "must be a size such as 500k or 10MB, got 'big'" in shell.fails(
        "index", "tree", "-o", "o", "--max-file-size", "big", status=2
    )


def test_a_folder_of_files_that_are_too_large_names_the_limit(shell: Shell, tree: Path) -> None:
    message = shell.fails("index", "tree", "-o", "o", "--max-file-size", 1)
    assert message.startswith("error: tree: no files to read in this folder (ignored: ")
    assert message.endswith("; raise --max-file-size\n")


def test_a_dry_run_stores_nothing(shell: Shell, tree: Path) -> None:
    output = shell("index", "tree", "-o", "o", "--dry-run")
    assert "o: dry run, nothing is stored; files: 6 new\nwould encode 6 passages with " in output
    assert "(measured on 6 passages)\nignored: 5 of unknown types" in output
    assert not Path("o").exists()
    shell("index", "tree", "-o", "o")
    (tree / "a.md").write_text("changed")
    result = shell.json("index", "tree", "-o", "o", "--dry-run")
    assert (result["dry_run"], result["passages"], result["files"]["replaced"]) == (True, 1, 1)
    assert shell.json("index", "tree", "-o", "o", "--dry-run", "--overwrite")["passages"] == 6
    (tree / "deep/c.md").rename(tree / "deep/d.md")
    output = shell("index", "tree", "-o", "o", "--dry-run")
    assert "files: 1 new, 1 changed, 4 unchanged, 1 gone (moved: tree/deep/c.md -> tree/deep/d.md)\n" in output
    moved = shell.json("index", "tree", "-o", "o", "--dry-run")["moved"]
    assert moved == {str(tree.resolve() / "deep/c.md"): str(tree.resolve() / "deep/d.md")}
    with Index.open("o", read_only=True, encoder=FakeEncoder()) as opened:
        assert opened.get(["tree/a.md"])[0].text == "a.md"


def test_a_dead_link_is_named_as_one(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "n").mkdir()
    (tmp_path / "n" / "a.txt").write_text("bat")
    (tmp_path / "n" / "b.txt").symlink_to("nowhere")
    shell("index", "n", "-o", "o")
    assert "warning: n/b.txt: ignored: a link to 'nowhere', which does not exist\n" in shell.err


def test_files_of_tools_do_not_hide_the_skipped_data(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "n").mkdir()
    (tmp_path / "n" / "a.txt").write_text("bat")
    for number in range(12):
        (tmp_path / "n" / f"a{number:02}").mkdir()
        (tmp_path / "n" / f"a{number:02}" / "package.json").write_text('{"name": "x"}')
    (tmp_path / "n" / "z.csv").write_text("name,price\nchair,3\n")
    (tmp_path / "n" / "z.pdf").write_bytes(b"%PDF-1.4 cut")
    shell("index", "n", "-o", "o", "--no-ignore")
    lines = [line for line in shell.err.splitlines() if "skipped: " in line]
    assert lines[0].startswith("warning: skipped: n/z.csv:1: the header must name a column 'text'")
    assert lines[1].startswith("warning: skipped: n/z.pdf: ")
    assert lines[-1] == "warning: skipped: 4 more files (.json 4); --json FILE lists them"


def test_a_pattern_that_matches_no_file_says_so(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "n" / "deep").mkdir(parents=True)
    for name in ("a.md", "b.txt", "deep/c.md", "d.png"):
        (tmp_path / "n" / name).write_text("bat")
    message = shell.fails("index", "n", "-o", "o", "--include", "*.rst", "--include", "*.tex")
    assert message == (
        "error: n: --include '*.rst' or '*.tex' does not match any of its 4 files; correct the pattern\n"
    )
    # One that matches only files of unknown types is not wrong.
    assert "no files of known types in this folder (ignored: 1 of unknown types (.png 1), 3 excluded); name" in (
        shell.fails("index", "n", "-o", "o", "--include", "*.png")
    )


def test_an_index_is_no_folder_of_files(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("bat")
    shell("index", "a.md", "-o", "o")
    for arguments in (("index", "o"), ("index", "o", "-o", "p"), ("index", "a.md", "o", "-o", "p"), ("add", "o", "o")):
        message = shell.fails(*arguments)
        assert message.startswith("error: o: an index, which has no files to read; search it with serotine search, or ")
    assert not Path("p").exists()


def test_broken_front_matter_is_a_warning_also_if_strict(shell: Shell, tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    (tmp_path / "a.md").write_text("---\ntitle: a\nb: c: d\n---\nbats fly\n")
    shell("index", "a.md", "-o", "o", "--strict")
    assert shell.err.startswith("warning: a.md:3: front matter is not valid YAML")
    assert ids("o") == {"a.md"}
    again = shell.json("index", "a.md", "-o", "o", "--strict")
    assert (again["files"]["unchanged"], again["problems"]["count"], again["skipped_rows"]["count"]) == (1, 1, 0)


def test_a_folder_and_a_file_of_one_name_do_not_share_an_index(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "n").mkdir()
    (tmp_path / "n" / "a.txt").write_text("bat")
    (tmp_path / "n.jsonl").write_text('{"text": "owl"}\n')
    shell("index", "n")
    for options in ([], ["--overwrite"]):
        shell("index", "n.jsonl", *options, status=2)
        assert f"n.serotine is the index of other files, such as {tmp_path / 'n' / 'a.txt'}; add -o" in shell.err
    assert ids("n.serotine") == {"n/a.txt"}
    shell("index", "n")
    shell("index", "n.jsonl", "-o", "n.serotine")
    shell("index", "n.jsonl")


def test_files_without_a_suffix_are_named(tmp_path: Path) -> None:
    for name in ("Makefile", "deep/Dockerfile", "data", "core", "a.txt", "b.xyz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("a bat")
    ignored = find_files(tmp_path, FileSelection()).ignored
    assert "(no suffix 4: Makefile, core, data, ..., .xyz 1)" in str(ignored)
    assert ignored.to_json()["examples"] == {
        "": [f"{tmp_path}/{name}" for name in ("Makefile", "core", "data")],
        ".xyz": [f"{tmp_path}/b.xyz"],
    }
    both = Ignored.total([ignored, ignored])
    assert "no suffix 8: Makefile, core, data, ..." in str(both)


def test_a_pattern_that_matches_nothing_is_named(shell: Shell, tree: Path) -> None:
    shell(
        "index",
        "tree",
        "-o",
        "o",
        "--exclude",
        "draft/",
        "--exclude",
        "drafts/",
        "--include",
        "*.md",
        "--include",
        "x*",
    )
    assert "warning: --exclude draft/: matches no file or folder; correct the pattern" in shell.err
    assert "warning: --include 'x*': matches no file or folder; correct the pattern" in shell.err
    assert shell.err.count("matches no file") == 2
    # One that matches in another folder has an effect; hidden files match; files that are named are not selected.
    (tree.parent / "other").mkdir()
    (tree.parent / "other" / "only.md").write_text("a bat")
    (tree.parent / "other" / "more.md").write_text("an owl")
    result = shell.json(
        "index", "tree", "other", "-o", "p", "--exclude", "only.md", "--exclude", ".*", "--include", "*.md"
    )
    assert result["ignored"]["unmatched"] == {}
    result = shell.json("index", "tree/a.md", "-o", "q", "--exclude", "a.md")
    assert result["ignored"]["unmatched"] == {"exclude": ["a.md"]}
    assert result["documents"] == 1
