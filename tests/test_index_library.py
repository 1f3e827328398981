"""An index behaves like a container of documents, opened or created in one call, by any number of threads."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import serotine_mini
from helpers.fakes import WordEncoder

from serotine import Index
from serotine.errors import (
    EncoderError,
    IndexExistsError,
    IndexLockedError,
    IndexReplacedError,
    SerotineError,
    UnknownIdError,
)
from serotine.evaluation import Collection, IndexSearch, LateInteraction
from serotine.index.files import durable
from serotine.index.store import catalog, replace_index, settings
from serotine.ingest import Ingest

VECTORS = np.eye(2, dtype=np.float32)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index.create(tmp_path / "x", dim=2, filterable={"n": int}) as opened:
        add(opened, range(10))
        yield opened


def add(index: Index, numbers: Any, **options: Any) -> None:
    ids = [f"d{n}" for n in numbers]
    metadata = [{"n": n, "even": n % 2 == 0} for n in numbers]
    index.add(ids=ids, vectors=[VECTORS] * len(ids), metadata=metadata, **options)


@pytest.mark.parametrize("name", ["serotine-mini", "mini", "default", None])
def test_an_encoder_is_taken_by_name_and_is_the_default_one_unless_given(tmp_path: Path, name: str | None) -> None:
    with Index.create(tmp_path / "x", encoder=name) as index:
        assert index.encoder.name == "serotine-mini"
        index.add(ids=["a"], texts=["a bat at night"])
    with Index.open(tmp_path / "x", encoder="mini", read_only=True) as index:
        assert [hit.id for hit in index.search("bats")] == ["a"]


def test_an_encoder_is_taken_by_its_folder(tmp_path: Path) -> None:
    folder = Path(serotine_mini.__file__).parent / "model"
    for given in (folder, str(folder)):
        with Index.open_or_create(tmp_path / "x", encoder=given) as index:
            assert index.encoder.name == str(folder.resolve())


def test_an_encoder_that_does_not_exist_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(
        EncoderError, match=r"encoder 'minni': not 'serotine-mini', a folder or a hub id .*; did you mean 'mini'"
    ):
        Index.open_or_create(tmp_path / "x", encoder="minni")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "open_index", [Index.open_or_create, lambda path, **options: Index.create(path, exist_ok=True, **options)]
)
def test_an_index_is_created_once_and_opened_afterwards(tmp_path: Path, open_index: Callable[..., Index]) -> None:
    path = tmp_path / "x"
    options = {"dim": 2, "nbits": 2, "keep_vectors": False, "filterable": {"n": int}, "centroids": 8}
    with open_index(path, **options) as created:
        add(created, [0])
    with open_index(path, **options) as opened:
        add(opened, [1])
    # What is not given is not compared.
    with open_index(path, dim=2) as opened:
        assert list(opened) == ["d0", "d1"]
        assert (opened.stats().nbits, opened.stats().keep_vectors) == (2, False)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"dim": 3}, EncoderError, "was created with encoder 'words', got dim=3 and no encoder"),
        ({"encoder": WordEncoder(16, "other")}, EncoderError, "was built with encoder 'words'"),
        ({"encoder": WordEncoder(8)}, EncoderError, "was built with encoder 'words'"),
        ({"nbits": 4}, IndexExistsError, "was created with nbits=2, got nbits=4; leave nbits out"),
        ({"keep_vectors": False}, IndexExistsError, "was created with keep_vectors=True, got keep_vectors=False"),
        ({"filterable": {"n": str}}, IndexExistsError, "filterable={'n': 'int'}, got filterable={'n': 'str'}"),
        ({"filterable": {}}, IndexExistsError, "filterable={'n': 'int'}, got filterable={}"),
        ({"centroids": 8}, IndexExistsError, "centroids=None, got centroids=8"),
        (
            {"nbits": 8, "centroids": 8},
            IndexExistsError,
            "was created with nbits=2, centroids=None, got nbits=8, centroids=8; leave nbits, centroids out",
        ),
    ],
)
def test_an_index_created_with_other_arguments_is_not_opened(
    tmp_path: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    path = tmp_path / "x"
    Index.create(path, encoder=WordEncoder(), nbits=2, filterable={"n": int}).close()
    with pytest.raises(error) as raised:
        Index.open_or_create(path, **options)
    assert message in str(raised.value)
    assert str(raised.value).startswith(f"{path}: ")
    # Nothing holds the index afterwards.
    Index.open_or_create(path, encoder=WordEncoder()).close()


def test_an_index_of_vectors_is_not_opened_for_texts(tmp_path: Path) -> None:
    Index.create(tmp_path / "x", dim=16).close()
    with pytest.raises(EncoderError, match="was created with dim=16 and no encoder, got encoder 'words'"):
        Index.open_or_create(tmp_path / "x", encoder=WordEncoder())
    with pytest.raises(IndexExistsError, match="was created with dim=16, got dim=2"):
        Index.open_or_create(tmp_path / "x", dim=2)


def test_a_folder_that_is_not_an_index_is_neither_opened_nor_replaced(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(IndexExistsError, match="already exists and is not an index"):
        Index.open_or_create(tmp_path, dim=2)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


CREATOR = """
import sys, time
from serotine import Index
from serotine.errors import IndexLockedError
while True:
    try:
        with Index.open_or_create(sys.argv[1], dim=2) as index:
            print(len(index))
            break
    except IndexLockedError:
        time.sleep(0.01)
"""


def test_processes_that_create_the_same_index_share_it(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CREATOR, str(tmp_path / "x")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(4)
    ]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert outputs == [(b"0\n", b"")] * 4
    # No half-built folder is left beside it.
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_creation_that_lost_the_race_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    rename = durable.rename

    def late(source: Path, target: Path) -> None:
        monkeypatch.undo()
        Index.create(path, dim=2, nbits=8).close()
        rename(source, target)

    monkeypatch.setattr(durable, "rename", late)
    with pytest.raises(IndexExistsError, match=r"x: already exists; open it with Index.open or Index.open_or_create"):
        Index.create(path, dim=2)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_second_writer_of_this_process_is_named(index: Index) -> None:
    with pytest.raises(IndexLockedError, match="another writer has this index open in this process; close it, or open"):
        Index.open_or_create(index.path)
    index.close()
    Index.open_or_create(index.path).close()


def test_one_process_opens_any_number_of_readers_beside_its_writer(index: Index) -> None:
    readers = [Index.open(index.path, read_only=True) for _ in range(20)]
    add(index, [10])
    for reader in readers[::2]:
        reader.close()
    for reader in readers[1::2]:
        assert len(reader) == 11
        assert [hit.id for hit in reader.search(VECTORS, where={"n": 10})] == ["d10"]
        reader.close()
    add(index, [11])
    assert len(index) == 12


def test_threads_open_read_and_close_readers_beside_a_writer(index: Index) -> None:
    stop = threading.Event()

    def write() -> int:
        number = 100
        while not stop.is_set():
            add(index, [number])
            index.delete([f"d{number}"])
            number += 1
        return number

    def read(_: int) -> bool:
        with Index.open(index.path, read_only=True) as reader:
            first = list(reader)[:10]
            hit = reader["d3"]
            return first == [f"d{n}" for n in range(10)] and hit.metadata["n"] == 3 and len(reader) in (10, 11)

    with ThreadPoolExecutor(5) as pool:
        writing = pool.submit(write)
        assert all(pool.map(read, range(40)))
        stop.set()
        assert writing.result() > 100


def test_one_document_is_read_by_its_id(index: Index) -> None:
    assert (index["d3"].id, index["d3"].metadata) == ("d3", {"n": 3, "even": False})
    for read in (lambda: index["no"], lambda: index.get("no"), lambda: index.get(["d1", "no"])):
        with pytest.raises(KeyError, match="'no' is not in the index") as raised:
            read()
        assert isinstance(raised.value, UnknownIdError)
    with pytest.raises(TypeError, match="id: must be a string, got int"):
        index[0]  # type: ignore[index]
    with pytest.raises(TypeError, match="ids: must be a list of strings, got int"):
        index.get(0)  # type: ignore[call-overload]


def test_missing_documents_are_none_on_request(index: Index) -> None:
    assert index.get("no", missing="none") is None
    hits = index.get(["no", "d1", "d1", ""], missing="none")
    assert [None if hit is None else hit.id for hit in hits] == [None, "d1", "d1", None]
    with pytest.raises(ValueError, match="missing: must be one of 'error', 'none', got 'skip'"):
        index.get("no", missing="skip")  # type: ignore[call-overload]


def test_iteration_membership_and_length_agree(index: Index) -> None:
    index.delete(["d4"])
    ids = list(index)
    assert ids == [f"d{n}" for n in range(10) if n != 4] == index.ids()
    assert len(index) == len(ids)
    assert all(id_ in index for id_ in ids)
    assert "d4" not in index
    assert [document.id for document in index.documents()] == ids
    assert [index[id_].metadata for id_ in index] == [document.metadata for document in index.documents()]


@pytest.mark.parametrize(
    ("where", "expected"), [({"n": {">": 7}}, ["d8", "d9"]), ({"even": False, "n": {"<": 4}}, ["d1", "d3"])]
)
def test_documents_are_filtered_and_counted(
    index: Index, where: dict[str, Any], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "_DOCUMENTS_PER_PAGE", 1)
    assert [document.id for document in index.documents(where=where)] == expected
    assert index.ids(where=where) == expected
    assert index.count(where=where) == len(expected)
    assert index.count() == 10
    with pytest.raises(ValueError, match="where: must not be empty"):
        index.documents(where={})


@pytest.mark.parametrize("where", [None, {"n": {">=": 0}}])
def test_an_iteration_sees_one_state_while_the_index_changes(
    index: Index, where: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "_DOCUMENTS_PER_PAGE", 3)
    read = []
    for document in index.documents(where=where):
        read.append((document.id, document.metadata["n"]))
        number = document.metadata["n"]
        # Replaces a document read already, deletes one still to come, adds one, and purges tombstones.
        index.add(ids=[document.id], vectors=[VECTORS], metadata=[{"n": -1}], upsert=True)
        if number == 2:
            index.delete(["d7"])
        add(index, [number + 100])
        index.compact()
    assert read == [(f"d{n}", n) for n in range(10)]
    # d7 came back when it was read.
    assert len(index) == 20


def test_an_iteration_reads_pages(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "_DOCUMENTS_PER_PAGE", 4)
    parsed: list[str] = []
    decode = settings._decode_json
    monkeypatch.setattr(settings, "_decode_json", lambda text: (parsed.append(text), decode(text))[1])
    documents = index.documents()
    assert not parsed
    next(documents)
    assert len(parsed) == 1
    documents.close()  # type: ignore[attr-defined]


def test_a_closed_index_ends_an_iteration(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "_DOCUMENTS_PER_PAGE", 2)
    documents = index.documents()
    next(documents)
    index.close()
    with pytest.raises(SerotineError, match="this index is closed"):
        list(documents)
    for read in (lambda: list(index), lambda: index.get("d1"), index.count, lambda: "d1" in index):
        with pytest.raises(SerotineError, match="this index is closed"):
            read()


def test_a_reader_of_a_replaced_or_removed_index_raises_instead_of_answering_from_it(index: Index) -> None:
    index.close()
    query = np.eye(2, dtype=np.float32)
    with Index.open(index.path, read_only=True) as reader:
        before = [hit.id for hit in reader.search(query, k=3)]
        assert before
        with replace_index(index.path) as building:
            Index.create(building, dim=2).close()
            assert [hit.id for hit in reader.search(query, k=3)] == before
        reads = (lambda: reader.search(query), lambda: reader.get(before), lambda: "d1" in reader, lambda: len(reader))
        for read in reads:
            with pytest.raises(IndexReplacedError, match="was replaced by another index; open it again"):
                read()
        assert repr(reader) == f"Index({str(index.path)!r}, open, read-only)"
        with Index.open(index.path, read_only=True) as again:
            assert len(again) == 0
        shutil.rmtree(index.path)
        for read in reads:
            with pytest.raises(IndexReplacedError, match="was removed"):
                read()


def test_an_iteration_never_reads_an_index_that_took_the_place_of_its_own(index: Index) -> None:
    with Index.open(index.path, read_only=True) as reader:
        assert len(reader) == 10
        index.close()
        with replace_index(index.path) as building:
            Index.create(building, dim=2).close()
        with pytest.raises(SerotineError, match="was replaced"):
            list(reader.documents())


def test_repr_has_counts_and_state(tmp_path: Path) -> None:
    path = tmp_path / "x"
    index = Index.create(path, dim=2)
    assert repr(index) == f"Index('{path}', 0 documents, open)"
    add(index, [1])
    assert repr(index) == f"Index('{path}', 1 document, open)"
    with Index.open(path, read_only=True) as reader:
        assert repr(reader) == f"Index('{path}', 1 document, open, read-only)"
    index.close()
    assert repr(index) == f"Index('{path}', closed)"


def test_an_encoder_is_taken_by_name_wherever_texts_are_read_or_ranked(tmp_path: Path) -> None:
    (tmp_path / "bat.txt").write_text("Bats leave their roost at dusk.")
    toy = Collection("toy", {"bat": "bats at night", "bee": "bees"}, {"q": "night"}, {"q": {"bat": 1}})
    with Index.create(tmp_path / "x", encoder="mini") as index:
        assert Ingest([tmp_path / "bat.txt"], "mini").apply(index).added == 1
    with Index.create(tmp_path / "y") as index:
        index.add(ids=list(toy.documents), texts=list(toy.documents.values()))
        for system in (IndexSearch(index, "mini"), LateInteraction("mini")):
            assert next(iter(system.answer(toy, depth=1).run["q"])) == "bat"


def test_a_path_that_is_none_names_the_argument() -> None:
    for opened in (Index.create, Index.open, Index.open_or_create):
        with pytest.raises(TypeError, match=r"^path: must be a string or a path, got None$"):
            opened(None)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"^path: must not be empty"):
            opened("")


def test_verify_counts_deleted_documents_apart(index: Index) -> None:
    before = index.verify()
    index.delete([next(iter(index))])
    report = index.verify()
    assert (report.documents, report.deleted) == (len(index), before.deleted + 1)
    assert report.documents == before.documents - 1
    index.compact()
    assert index.verify().deleted == 0
