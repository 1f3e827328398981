"""Checkpoints: saving and loading models, the checkpoints of a stage."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from serotine.files import replace_folder

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder

# The trainer writes it last: a checkpoint that has it is complete.
_STATE = "trainer_state.json"
TRAINER_FILES = ("*.pt", "*.pth", _STATE, "training_args.bin")
"""The trainer's files beside a model, from which it resumes."""


def save(model: MultiVectorEncoder, folder: Path) -> None:
    """Save a model in sentence-transformers' format as safetensors; atomically if the folder does not exist."""
    if folder.is_dir():
        model.save_pretrained(str(folder), create_model_card=False)
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with replace_folder(folder) as temporary:
        model.save_pretrained(str(temporary), create_model_card=False)


def load(folder: Path) -> MultiVectorEncoder:
    """Load a model that `save` wrote."""
    from sentence_transformers import MultiVectorEncoder

    return MultiVectorEncoder(str(folder), local_files_only=True)


def complete(folder: Path) -> list[Path]:
    """Return the complete checkpoints of a stage, oldest first."""
    return sorted((path for path in folder.glob("checkpoint-*") if _is_complete(path)), key=step)


def step(checkpoint: Path) -> int:
    """Return the step after which a checkpoint was written."""
    return int(checkpoint.name.rpartition("-")[2])


def newest(folder: Path) -> Path | None:
    """Return the newest complete checkpoint of a stage, if any, and delete those that a killed run left incomplete."""
    checkpoints = complete(folder)
    for path in folder.glob("checkpoint-*"):
        if path not in checkpoints:
            shutil.rmtree(path)
    return checkpoints[-1] if checkpoints else None


def _is_complete(checkpoint: Path) -> bool:
    try:
        json.loads((checkpoint / _STATE).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return checkpoint.name.rpartition("-")[2].isdigit()
