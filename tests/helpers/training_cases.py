"""A small training set and a recipe of one short stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

# Deprecation warnings of the libraries are not about this package.
QUIET = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::serotine.errors.ZeroShotWarning"),
]
ANIMALS = ("bat", "cat", "dog", "fish", "goose", "hare", "ibis", "jay", "kite", "lark", "mole", "newt", "owl", "pike")
PLACES = ("attic", "barn", "cave", "ditch", "elm", "field", "garden", "hedge", "island", "jetty", "lake")


def pairs(file: Path, numbers: range) -> Path:
    """Write queries about animals, each with a sentence that answers it."""
    records = []
    for number in numbers:
        animal, place = ANIMALS[number % len(ANIMALS)], PLACES[(number * 7) % len(PLACES)]
        filler = " ".join(["quietly", "and", "alone"][: number % 4])
        records.append(
            {"query": f"where is the {animal} {number}", "positive": f"In the {place} sits {number} {animal}s {filler}"}
        )
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return file


def recipe(folder: Path, model: Path, **changes: Any) -> Path:
    """Write a recipe of one short contrastive stage."""
    import yaml

    values: dict[str, Any] = {
        "model": str(model),
        "output": "run",
        "seed": 7,
        "threads": 1,
        "tokenization": {"query_length": 16, "document_length": 24},
        "head": {"dim": 16, "init_documents": 50},
        "cleaning": {"duplicate_threshold": 1},
        "sources": [{"name": "animals", "path": "pairs.jsonl"}],
        "stages": [
            {"name": "pairs", "sources": ["animals"], "steps": 24, "batch_size": 8, "learning_rate": 2e-3}
            | {"checkpoint_every": 6, "temperature": 0.1}
        ],
        **changes,
    }
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


def losses(run: Path) -> list[tuple[int, float]]:
    """Return (step, loss) of every step in a run's log."""
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [(record["step"], record["loss"]) for record in records if "loss" in record]
