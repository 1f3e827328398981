"""A model written in PyLate's format, as it is after training."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serotine.encoders.encoder import Encoder
from serotine.encoders.saving import save

_SETTINGS = "config_sentence_transformers.json"


def write_pylate(encoder: Encoder, folder: Path, config: Mapping[str, Any]) -> None:
    """Writes a checkpoint into a folder that may be there, as the trainer's folders are.

    Args:
        encoder: on the torch backend.
        folder: where to; files of the same names are replaced.
        config: settings that only the model knows.

    Raises:
        EncoderError: the format cannot say what the encoder does; nothing is written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as place:
        made = Path(place) / "made"
        save(encoder, made, format="pylate")
        settings = json.loads((made / _SETTINGS).read_text("utf-8"))
        (made / _SETTINGS).write_text(json.dumps(settings | config, indent=1, ensure_ascii=False) + "\n", "utf-8")
        for file in sorted(path for path in made.rglob("*") if path.is_file()):
            target = folder / file.relative_to(made)
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)
