"""An index, files and the command line under the rules of Windows' files (`helpers.windows_rules`)."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc, which says what is open")
ROOT = Path(__file__).parents[1]
# Libraries first: those for POSIX need what the rules take away.
START = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests")!r})
import click, concurrent.futures, filelock, huggingface_hub, multiprocessing, numpy, pathlib, rich, sqlite3, subprocess
import tempfile, tokenizers
from helpers import windows_rules
windows_rules.apply()
import os, threading
from pathlib import Path
from helpers.fakes import WordEncoder
from helpers.small_engine import shrink
from serotine import Index
encoder = WordEncoder()
"""


def run(folder: Path, program: str) -> str:
    command = [sys.executable, "-W", "error", "-c", START + textwrap.dedent(program)]
    completed = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert completed.returncode == 0, completed.stderr[-4000:]
    return completed.stdout


def test_the_rules_are_those_of_windows(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        import numpy as np

        def refused(action, *arguments):
            try:
                action(*arguments)
            except OSError:
                return True
            return False

        Path("a").write_bytes(bytes(64))
        Path("folder/inner").mkdir(parents=True)
        assert refused(os.open, "folder", os.O_RDONLY)
        assert refused(Path("x:y").write_bytes, b"") and refused(Path("nul.txt").touch) and refused(Path("a?").mkdir)
        mapped = np.memmap("a", np.uint8, "r")
        assert refused(os.remove, "a") and refused(os.rename, "a", "b")
        del mapped
        with open("folder/inner/file", "wb") as file:
            assert refused(os.rename, "folder", "other") and refused(Path("a").replace, "folder/inner/file")
        with open("a", "rb") as file:
            assert refused(os.fsync, file.fileno())
        assert refused(Path("folder").replace, "folder/inner") and refused(Path("a").rename, "folder/inner/file")
        assert not refused(Path("a").replace, "folder/inner/file") and not refused(os.rename, "folder", "other")
        assert not hasattr(os, "fork")
        """,
    )


def test_an_index_lives_while_readers_have_its_old_files_open(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        shrink()
        words = [f"w{number}" for number in range(60)]
        Path("empty").mkdir()
        index = Index.create("empty", encoder=encoder)
        readers = []
        for start in range(0, 60, 5):
            index.add(ids=words[start:start + 5], texts=[f"{word} bat owl" for word in words[start:start + 5]])
            reader = Index.open("empty", encoder=encoder, read_only=True)
            assert len(reader.search("bat", k=100)) == start + 5
            readers.append(reader)
        index.delete(ids=words[:20])
        index.compact()
        assert [len(reader.search("owl", k=100)) for reader in readers] == [40] * len(readers)
        held = {path.name for path in Path("empty/segments").iterdir()}
        for reader in readers:
            reader.close()
        index.verify()
        index.close()
        # What readers had open is removed by the next writer.
        Index.open("empty", encoder=encoder).close()
        left = {path.name for path in Path("empty/segments").iterdir()}
        assert left < held, (left, held)
        assert Index.open("empty", encoder=encoder, read_only=True).search("w30", k=1)[0].id == "w30"
        """,
    )


def test_the_note_of_the_last_commit_is_what_was_written(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        from serotine.index.store import commits
        index = Index.create("i", encoder=encoder)
        index.add(ids=["a"], texts=["bat"])
        assert commits._noted(Path("i/catalog.sqlite")) > 0
        """,
    )


def test_snapshots_copies_and_salvage(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        index = Index.create("i", encoder=encoder)
        index.add(ids=["a", "b"], texts=["bat", "owl"])
        index.snapshot("copy")
        index.snapshot(Path("repository").resolve().as_uri())
        index.add(ids=["c"], texts=["fox"])
        index.snapshot(Path("repository").resolve().as_uri())
        reader = Index.open("i", encoder=encoder, read_only=True)
        reader.search("bat")
        Index.restore(Path("repository").resolve().as_uri(), "restored")
        Index.restore("copy", "again")
        assert [len(Index.open(name, encoder=encoder, read_only=True)) for name in ("restored", "again")] == [3, 2]
        index.close()
        """,
    )


def test_an_index_is_replaced_and_one_in_use_is_left(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        from serotine.errors import IndexLockedError
        from serotine.index.store.replacement import replace_index
        Index.create("i", encoder=encoder).close()
        with replace_index(Path("i")) as building:
            index = Index.create(building, encoder=encoder)
            index.add(ids=["new"], texts=["bat"])
            index.close()
        reader = Index.open("i", encoder=encoder, read_only=True)
        assert reader.search("bat", k=1)[0].id == "new"
        try:
            with replace_index(Path("i")) as building:
                Index.create(building, encoder=encoder).close()
        except IndexLockedError as error:
            assert "close" in str(error), error
        else:
            raise AssertionError("replaced while open")
        assert reader.search("bat", k=1)[0].id == "new"
        assert sorted(path.name for path in Path().iterdir()) == ["i"], list(Path().iterdir())
        reader.close()
        """,
    )


def test_files_are_replaced_once_others_have_closed_them(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        from serotine.files import replace_folder, write_atomically
        write_atomically(Path("a"), "old")
        file = open("a", "rb")
        threading.Timer(0.2, file.close).start()
        write_atomically(Path("a"), "new")
        assert Path("a").read_text("utf-8") == "new"
        for text in ("1", "2"):
            with replace_folder(Path("folder")) as building:
                (building / "file").write_text(text, "utf-8")
        assert Path("folder/file").read_text("utf-8") == "2"
        with open("a", "rb"):
            try:
                write_atomically(Path("a"), "never")
            except PermissionError:
                pass
            else:
                raise AssertionError("replaced while open")
        assert sorted(path.name for path in Path().iterdir()) == ["a", "folder"]
        """,
    )


def test_a_folder_is_indexed_updated_and_indexed_over(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/bats.md").write_text("# Bats\n\nA bat hunts at night.\n", "utf-8")
    (tmp_path / "notes/owls.txt").write_text("An owl watches.\n", "utf-8")
    output = run(
        tmp_path,
        """
        import serotine.encoders
        from helpers.cli_fake import FakeEncoder
        from serotine.cli import main
        serotine.encoders.Encoder = FakeEncoder
        assert main(["index", "notes"]) == 0
        Path("notes/owls.txt").unlink()
        Path("notes/bats.md").write_text("# Bats\\n\\nA bat sleeps by day.\\n", "utf-8")
        assert main(["index", "notes"]) == 0
        assert main(["index", "notes", "--overwrite"]) == 0
        assert main(["search", "notes.serotine", "bat sleeps", "-k", "1"]) == 0
        assert main(["verify", "notes.serotine"]) == 0
        """,
    )
    assert "sleeps by day" in output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes", "notes.serotine"]


def test_shards_say_that_they_need_another_system(tmp_path: Path) -> None:
    output = run(
        tmp_path,
        """
        from serotine.errors import SerotineError
        try:
            import serotine.distributed.snapshot_cache
        except SerotineError as error:
            print(error)
        """,
    )
    assert output.startswith("serotine.distributed: Windows has no locks")
