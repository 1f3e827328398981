"""Files read for a sharded index: every document once, in its shard; nothing is dropped in silence."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from helpers.local_pipelines import LocalPipelines

from serotine.cli import main
from serotine.distributed import building, owner, ray_data, ray_serve, reading
from serotine.errors import InputFileError, RepositoryError, SerotineError, UnknownTextWarning
from serotine.ingest import read

SHARDS = 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of several kinds, some of which are not read."""
    folder = tmp_path / "files"
    folder.mkdir()
    rows = [{"_id": f"d{i}", "text": f"bat number {i} \ud83e\udd87", "year": 1900 + i} for i in range(40)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "notes.txt").write_text("The serotine is a bat.")
    (folder / "old.txt").write_bytes(
        "Fledermäuse schlafen über Tage in Höhlen, und nachts jagen sie Käfer.".encode("cp1252")
    )
    (folder / "image.xyz").write_bytes(b"\0")
    return folder


def collection(paths: list[Path], shards: int = SHARDS) -> reading.Collection:
    return reading.read_collection(LocalPipelines(), reading.list_sources(paths), shards, show_progress=False)


def target(url: Path, wanted: set[int], name: str = "key") -> reading.Target:
    return reading.Target(str(url), None, name, frozenset(wanted))


@pytest.mark.parametrize("block_bytes", [1, 1 << 20])
@pytest.mark.parametrize("held", [1, 1 << 20])
def test_every_document_is_in_the_objects_of_its_shard_as_read(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int, held: int
) -> None:
    monkeypatch.setattr(reading, "_BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(reading, "_HELD_CHARACTERS", held)
    before = collection([folder])
    place = target(tmp_path / "url", {0, 2})
    shares = reading.write_documents(LocalPipelines(), before, place, show_progress=False)
    expected: dict[int, list[Any]] = {shard: [] for shard in range(SHARDS)}
    for document in read([folder]):
        expected[owner(document.id, SHARDS)].append((document.id, document.text, document.metadata))
    assert [share.documents for share in shares] == [len(expected[shard]) for shard in range(SHARDS)]
    assert min(map(len, expected.values())) > 5
    assert not shares[1].objects
    for shard in (0, 2):
        documents = reading.read_documents(place, shares[shard].objects)
        assert [(document.id, document.text, document.metadata) for document in documents] == expected[shard]
    assert len(list((tmp_path / "url" / reading.FOLDER).iterdir())) >= (10 if held == 1 else 2)
    reading.remove_documents(place.url, None)
    assert not list((tmp_path / "url" / reading.FOLDER).iterdir())


def test_the_digest_of_a_shard_is_that_of_its_documents_wherever_they_are(folder: Path, tmp_path: Path) -> None:
    lines = (folder / "rows.jsonl").read_text().splitlines(keepends=True)
    whole, parts = tmp_path / "whole.jsonl", [tmp_path / "1.jsonl", tmp_path / "2.jsonl"]
    whole.write_text("".join(lines))
    parts[0].write_text("".join(lines[20:]))
    parts[1].write_text("".join(lines[:20]))
    assert collection([whole]).shares == collection(parts).shares
    changed = tmp_path / "changed.jsonl"
    changed.write_text("".join(lines).replace("bat number 7", "bat Number 7"))
    shares, others = collection([whole]).shares, collection([changed]).shares
    assert [i for i in range(SHARDS) if shares[i] != others[i]] == [owner("d7", SHARDS)]


def test_what_is_not_read_is_counted(folder: Path, tmp_path: Path) -> None:
    (folder / "letter.eml").write_text(
        'Subject: bats\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="x"\n\n'
        "--x\nContent-Type: text/plain\n\nBats hunt at night.\n"
        "--x\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\nAAAA\n--x--\n"
    )
    result = collection([folder, tmp_path / "files" / "notes.txt"])
    assert result.ignored.suffixes == {".xyz": 1}
    assert dict(result.unread) == {"attachments": 1}
    assert [Path(row.file).name for row in result.problems.first] == ["old.txt"]
    # Named twice, read once.
    assert sum(share.documents for share in result.shares) == 43


@pytest.mark.parametrize("block_bytes", [1, 1 << 20])
def test_ids_that_occur_twice_are_refused_and_the_second_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(reading, "_BLOCK_BYTES", block_bytes)
    (folder / "twice.jsonl").write_text('{"_id": "x", "text": "a"}\n{"_id": "d3", "text": "b"}\n')
    with pytest.raises(InputFileError, match=r"twice\.jsonl:2: duplicate id 'd3'; ids must be unique"):
        collection([folder])


@pytest.mark.parametrize("block_bytes", [1, 1 << 20])
def test_bad_rows_are_skipped_and_counted(folder: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int) -> None:
    monkeypatch.setattr(reading, "_BLOCK_BYTES", block_bytes)
    (folder / "broken.jsonl").write_text('{"_id": "x", "text": "a"}\n{"_id": "y", "text": ""}\n{"_id": \n')
    (folder / "bad.jsonl").write_text("{\n")
    result = collection([folder])
    assert sum(share.documents for share in result.shares) == 43
    rows = result.skipped_rows
    assert (rows.count, rows.files) == (3, 2)
    assert [(Path(row.file).name, row.line) for row in rows.first] == [
        ("bad.jsonl", 1),
        ("broken.jsonl", 2),
        ("broken.jsonl", 3),
    ]
    assert rows.first[1].reason == "'text' is empty; give it a text, or remove the row"
    # A duplicate is looked for past bad rows.
    (folder / "twice.jsonl").write_text('{\n{"_id": "d3", "text": "b"}\n')
    with pytest.raises(InputFileError, match=r"twice\.jsonl:2: duplicate id 'd3'; ids must be unique"):
        collection([folder])


def test_a_source_of_bad_rows_only_is_refused_with_the_first(folder: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"_id": "x", "text": ""}\n')
    with pytest.raises(InputFileError, match=r"bad\.jsonl:1: 'text' is empty; give it a text, or remove the row$"):
        collection([folder, bad])
    bad.write_text('{"_id": "x", "text": ""}\n{\n')
    with pytest.raises(InputFileError, match=r"1: 'text' is empty.* \(and 1 more: bad\.jsonl has no valid row\)$"):
        collection([folder, bad])


@pytest.mark.parametrize("block_bytes", [1, 1 << 20])
def test_files_without_a_document_are_skipped_and_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(reading, "_BLOCK_BYTES", block_bytes)
    (folder / "empty.txt").write_text("")
    (folder / "broken.csv").write_bytes(b"\x7fELF\0\0\1")
    before = collection([folder])
    assert sum(share.documents for share in before.shares) == 42
    assert sorted(skipped.message for skipped in before.skipped) == [
        f"{folder}/broken.csv: not a text file: contains NUL bytes; convert it to text first",
        f"{folder}/empty.txt: contains no documents; check that it is the right file",
    ]
    shares = reading.write_documents(LocalPipelines(), before, target(tmp_path / "url", {0}), show_progress=False)
    assert [share.documents for share in shares] == [share.documents for share in before.shares]
    (folder / "twice.jsonl").write_text('{"_id": "d3", "text": "b"}\n')
    with pytest.raises(InputFileError, match=r"twice\.jsonl:1: duplicate id 'd3'; ids must be unique"):
        collection([folder])
    with pytest.raises(InputFileError, match=r"broken\.csv: not a text file"):
        collection([folder / "rows.jsonl", folder / "broken.csv"])


def test_files_that_change_between_the_two_readings_are_refused(folder: Path, tmp_path: Path) -> None:
    before = collection([folder])
    (folder / "notes.txt").write_text("The serotine is another bat.")
    with pytest.raises(InputFileError, match="the files have changed while they were read; run the same again"):
        reading.write_documents(LocalPipelines(), before, target(tmp_path / "url", {0}), show_progress=False)


def test_sources_without_documents_and_damaged_objects_are_named(folder: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n")
    with pytest.raises(InputFileError, match=r"empty\.jsonl: contains no documents"):
        collection([folder, empty])
    with pytest.raises(InputFileError, match="nothing: no such file or folder"):
        collection([folder, tmp_path / "nothing"])
    place = target(tmp_path / "url", {0})
    shares = reading.write_documents(LocalPipelines(), collection([folder]), place, show_progress=False)
    (name,) = shares[0].objects
    (tmp_path / "url" / name).write_bytes((tmp_path / "url" / name).read_bytes()[:-9])
    with pytest.raises(RepositoryError, match=r"reading/key-0-0-0\.jsonl\.gz: is damaged or gone; run the same build"):
        list(reading.read_documents(place, shares[0].objects))


def test_a_build_reports_what_it_does_not_read_and_leaves_nothing_behind(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("serotine_mini")
    monkeypatch.setenv("SEROTINE_SHARDS", str(tmp_path / "shards"))
    monkeypatch.setattr(building, "connected_ray", lambda _address: cluster(CPU=2.0))
    monkeypatch.setattr(building, "wait_for_room", lambda *_: None)
    monkeypatch.setattr(building, "Pipelines", LocalPipelines)
    monkeypatch.setattr(building, "described_cluster", lambda _ray: "192.0.2.1:6379")
    for name in ("one", "two", "three"):
        (folder / f"{name}.txt").write_text("Поздний кожан летает поздно вечером над лугами.", encoding="utf-8")
    with (folder / "rows.jsonl").open("a") as file:
        file.write("{\n" * 2)
    url = tmp_path / "url"
    (url / reading.FOLDER).mkdir(parents=True)
    # Of an interrupted build.
    (url / reading.FOLDER / "other-0-0-0.jsonl.gz").write_bytes(b"")
    with pytest.warns(UnknownTextWarning, match=r"shard \d: texts: \d of \d+ more than 20% outside the vocabulary"):
        report = building.build(folder, str(url), shards=2, encoder="mini")
    assert (report.documents, report.unknown, dict(report.scripts)) == (45, 3, {"Cyrillic": 3})
    assert report.ignored.suffixes == {".xyz": 1}
    assert (report.problems.count, report.skipped_rows.count) == (1, 2)
    assert not list((url / reading.FOLDER).iterdir())
    # What is there already is counted again, and warns no more.
    assert main(["cluster", "build", str(folder), "-o", str(url), "--shards", "2", "--encoder", "mini"]) == 0
    out, err = capsys.readouterr()
    assert "45 documents in 2 shards, 0 built now; rows: 2 skipped.\nignored: 1 of unknown types (.xyz 1)" in out
    assert err.startswith("Ray cluster: 192.0.2.1:6379\n")
    assert "old.txt:1: " in err
    assert "skipped row: " in err
    assert "rows.jsonl:42: not valid JSON" in err
    assert "2 bad rows of 1 file skipped\n" in err
    again = building.build(folder, str(url), shards=2, encoder="mini")
    assert (again.built, again.unknown, dict(again.scripts)) == ((), 3, {"Cyrillic": 3})


def test_a_url_in_the_memory_of_one_process_is_refused_before_anything_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "connected_ray", lambda _address: pytest.fail("connected"))
    message = "^url: must be a bucket, or a folder that every machine has, got 'memory://wiki'$"
    with pytest.raises(ValueError, match=message):
        building.build(folder, "memory://wiki", shards=2, encoder="mini")


def test_a_build_without_what_ray_data_imports_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_data.importlib.util, "find_spec", lambda name: None if name == "pandas" else name)
    with pytest.raises(SerotineError, match=r"^serotine\.distributed\.build needs the extra \[ray\]; run: pip install"):
        ray_data.Pipelines(None)


def cluster(**resources: float) -> Any:
    """Return the module `ray`, connected to a cluster that has them."""
    return SimpleNamespace(cluster_resources=lambda: resources)


def test_a_shard_takes_a_gpu_where_there_is_one_for_an_encoder_that_can_use_it() -> None:
    some: Any = SimpleNamespace
    exported, checkpoint = (some(spec=some(model=model)) for model in ("model.native", None))
    assert building._resources(cluster(CPU=8.0, GPU=2.0), checkpoint) == {"num_cpus": 1, "num_gpus": 1}
    assert building._resources(cluster(CPU=8.0, GPU=2.0), exported) == {"num_cpus": 1}
    assert building._resources(cluster(CPU=2.0), checkpoint) == {"num_cpus": 1}


@pytest.mark.parametrize(
    ("orders", "resources", "actors"),
    [
        (4, {"num_cpus": 1}, 4),
        (9, {"num_cpus": 1}, 8),
        (9, {"num_cpus": 1, "num_gpus": 1}, 2),
        (9, {"num_cpus": 16}, 1),
    ],
)
def test_as_many_actors_start_as_the_cluster_has_room_for(
    orders: int, resources: dict[str, float], actors: int
) -> None:
    assert ray_data._at_once({"CPU": 8.0, "GPU": 2.0}, resources, orders) == actors


def test_a_signal_ends_a_server_on_ray_serve_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    # Ray Serve waits for its replicas without a limit.
    ended: list[str] = []

    def run(*_given: object, **_options: object) -> None:
        signal.raise_signal(signal.SIGTERM)
        ended.append("started")

    def keep(value: Any) -> Any:
        return value

    serve = Mock(
        status=lambda: SimpleNamespace(proxies={}), run=run, shutdown=lambda: ended.append("shut down"),
        ingress=lambda _: keep, deployment=lambda **_: lambda _: Mock(),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "ray.serve", serve)
    monkeypatch.setattr(ray_serve, "connected_ray", lambda _: Mock())
    before = signal.getsignal(signal.SIGTERM)
    status = ray_serve.run_on_ray_serve(
        Mock(), address=None, host="", port=1, every_node=False, replicas=1, requests=1,
        on_ready=lambda: ended.append("ready"),
    )  # fmt: skip
    assert (status, ended) == (0, ["shut down"])
    assert signal.getsignal(signal.SIGTERM) == before
