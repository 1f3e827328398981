"""Flags are bools: a string such as "no" would count as true."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serotine import Client, Encoder, Index
from serotine.errors import check_flags
from serotine.index import SearchOptions
from serotine.ingest import Fields, FileSelection, Ingest
from serotine.progress import progress_bar

VECTORS = [np.eye(2)]


@pytest.fixture
def index(tmp_path: Path) -> Any:
    with Index.create(tmp_path / "index", dim=2) as opened:
        opened.add(["a"], vectors=VECTORS)
        yield opened


CALLS: dict[str, Callable[[Index, Any], object]] = {
    "upsert": lambda index, value: index.add(["a"], vectors=VECTORS, upsert=value),
    "upsert ": lambda index, value: index.add_batches([{"ids": ["a"], "vectors": VECTORS}], upsert=value),
    "show_progress": lambda index, value: index.add(["b"], vectors=VECTORS, show_progress=value),
    "show_progress ": lambda index, value: index.compact(show_progress=value),
    "show_progress  ": lambda index, value: index.tune(show_progress=value),
    "replace": lambda index, value: index.update_metadata(["a"], [{}], replace=value),
    "exact": lambda index, value: index.search(np.eye(2), exact=value),
    "exact ": lambda index, value: index.search_batch([np.eye(2)], exact=value),
    "hard_links": lambda index, value: index.snapshot(index.path.with_name("copy"), hard_links=value),
    "overwrite": lambda index, value: Index.restore(index.path, index.path.with_name("copy"), overwrite=value),
    "keep_vectors": lambda index, value: Index.create(index.path.with_name("new"), dim=2, keep_vectors=value),
    "exist_ok": lambda index, value: Index.create(index.path.with_name("new"), dim=2, exist_ok=value),
    "read_only": lambda index, value: Index.open(index.path, read_only=value),
    "ignore_files": lambda _, value: FileSelection(ignore_files=value),
    "follow_links": lambda _, value: FileSelection(follow_links=value),
    "all_fields": lambda _, value: Fields(all_fields=value),
    "prefix_ids": lambda _, value: Fields(prefix_ids=value),
    "strict": lambda _, value: Ingest([], Encoder(), strict=value),
    "restore_deleted": lambda _, value: Ingest([], Encoder(), restore_deleted=value),
    "allow_empty": lambda _, value: Ingest([], Encoder(), allow_empty=value),
    "offline": lambda _, value: Encoder(offline=value),
    "upsert  ": lambda _, value: Client("http://127.0.0.1:9", index="i").add(["a"], ["text"], upsert=value),
    "replace ": lambda _, value: Client("http://127.0.0.1:9", index="i").update_metadata(["a"], [{}], replace=value),
}


@pytest.mark.parametrize("value", ["no", 1, None, np.array([True])])
@pytest.mark.parametrize("name", CALLS)
def test_a_flag_is_true_or_false(index: Index, name: str, value: object) -> None:
    if name == "keep_vectors" and value is None:
        pytest.skip("means the default")
    with pytest.raises(TypeError, match=f"^{name.strip()}: must be True or False, got {type(value).__name__} "):
        CALLS[name](index, value)
    assert list(index) == ["a"]
    assert not index.path.with_name("new").exists()
    assert not index.path.with_name("copy").exists()


def test_bools_of_numpy_are_flags(index: Index) -> None:
    check_flags(upsert=np.True_, exact=np.False_)
    index.add(["a"], vectors=VECTORS, upsert=np.True_)  # type: ignore[arg-type]
    assert SearchOptions(exact=np.True_).exact is True  # type: ignore[arg-type]


def test_every_bar_checks_its_flag() -> None:
    with pytest.raises(TypeError, match=r"^show_progress: must be True or False, got str 'no'"):
        progress_bar(1, "Encoding", enabled="no").__enter__()  # type: ignore[arg-type]


def test_metadata_at_the_place_of_vectors_is_named(tmp_path: Path) -> None:
    with Index.create(tmp_path / "index", encoder="mini") as index:
        with pytest.raises(TypeError, match=r"vectors\[0\]: .*, got dict; pass metadata by its name: metadata="):
            index.add(["d"], ["x"], [{"year": 1}])  # type: ignore[list-item]
        assert len(index) == 0


def test_arguments_of_other_types_are_named(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"^encoder: must be a name, a folder or a hub id \(owner/model\), got int"):
        Encoder(5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^device: must be .*'cuda'.*, got 'gpu'"):
        Encoder(device="gpu")
    with Index.create(tmp_path / "index", dim=2) as index:
        with pytest.raises(TypeError, match=r"^batches: must be a list of dicts, got int"):
            index.add_batches(5)  # type: ignore[arg-type]
        index.add(["a"], vectors=VECTORS)
        with pytest.raises(IndexError, match="hits: there are 1 hit, got position 9"):
            index.search(np.eye(2)).spans(9)
