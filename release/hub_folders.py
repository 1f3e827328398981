"""Lay out serotine-mini and serotine-multi as folders for a model hub, and check that other libraries load them.

Run it as `python release/hub_folders.py [mini] [multi] --output dist/hub` in an environment with the extras export and
sentence-transformers, and the two models. It uploads nothing.

A folder has the checkpoint in the format of sentence-transformers, `onnx/`, `native/` (the 8 bits of the package), the
card, the license and the notice. PyLate's format is tried: it cannot store which tokens are scored, and the card says
so.
"""

from __future__ import annotations

import argparse
import importlib
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import yaml

from serotine.encoders import Encoder, export_encoder, save_checkpoint
from serotine.errors import EncoderError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
# Vectors of 8 bits beside those of 32: mean cosine over the tokens of TEXTS.
MIN_MEAN_COSINE = 0.99
TEXTS = [
    "The serotine leaves its roost late, and hunts beetles over pastures.",
    "Which animal emerges late?",
    "def largest(values):\n    return max(values, default=None)",
    "Die Breitflügelfledermaus verlässt ihr Quartier spät am Abend.",
]
LINK = re.compile(r"\[([^\]]+)\]\((?!https?:|#)([^)\s]+)\)")


@dataclass(frozen=True)
class Model:
    """A model, and the facts that a hub reads from its card."""

    name: str
    language: str
    base: str

    @property
    def package(self) -> Path:
        """The folder of its package."""
        return ROOT / "models" / self.name

    @property
    def files(self) -> Path:
        """The folder of its 8-bit files."""
        return self.package / self.name.replace("-", "_") / "model"

    def metadata(self) -> dict[str, object]:
        """Return the head of its card, which hubs search by."""
        return {
            "language": [self.language],
            "license": "apache-2.0",
            "library_name": "sentence-transformers",
            "pipeline_tag": "sentence-similarity",
            "base_model": self.base,
            "tags": ["late-interaction", "ColBERT", "multi-vector", "MaxSim", "retrieval", "onnx"],
        }


MODELS = {
    "mini": Model("serotine-mini", "en", "sentence-transformers/all-MiniLM-L6-v2"),
    "multi": Model("serotine-multi", "multilingual", "intfloat/multilingual-e5-small"),
}


def main() -> int:
    """Write and check the folders; an exception is a failure."""
    parser = argparse.ArgumentParser(description="Lay out the models as folders for a hub, and check them.")
    parser.add_argument("models", nargs="*", default=[*MODELS], help=f"Of {', '.join(MODELS)}.")
    parser.add_argument("--output", type=Path, default=ROOT / "dist" / "hub", help="Where the folders are written.")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.models if name not in MODELS]:
        parser.error(f"models: must be of {', '.join(MODELS)}, got {unknown[0]!r}")
    for name in arguments.models:
        model = MODELS[name]
        folder = arguments.output / model.name
        shutil.rmtree(folder, ignore_errors=True)
        write(model, folder)
        check(model, folder)
    return 0


def write(model: Model, folder: Path) -> None:
    """Write the folder of a model."""
    shipped = Encoder(model.files)
    folder.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(shipped, folder)
    # The checkpoint's own folder is the source, so that ONNX has 32 bits as it does.
    export_encoder(folder, folder / "onnx")
    shutil.copytree(model.files, folder / "native")
    for file in ("LICENSE", "NOTICE"):
        shutil.copy(model.package / file, folder)
    (folder / "README.md").write_text(
        card(model, pylate_refusal(shipped, folder), prompted=bool(shipped.spec.query.prompt)), encoding="utf-8"
    )


def pylate_refusal(encoder: Encoder, folder: Path) -> str:
    """Return why PyLate's format cannot store this encoder; if it can, the folder lacks it, which is an error."""
    trial = folder.with_name(f"{folder.name}-pylate")
    try:
        save_checkpoint(encoder, trial, format="pylate")
    except EncoderError as error:
        return str(error).split(": ", 1)[-1].split(";")[0]
    shutil.rmtree(trial)
    raise SystemExit(f"{encoder.name}: PyLate's format can store it now; add it to the folder")


def card(model: Model, refusal: str, *, prompted: bool) -> str:
    """Return the card: its head for hubs, how to load the folder, and the package's text."""
    head = yaml.safe_dump(model.metadata(), sort_keys=False)
    text = (model.package / "README.md").read_text(encoding="utf-8")
    title, rest = text.split("\n", 1)

    def unlinked(match: re.Match[str]) -> str:
        # Files of the repository are not in the folder.
        return match[0] if match[2] in ("LICENSE", "NOTICE") else match[1]

    # PyLate adds a prompt by name only.
    prompts = ', with `prompt_name="query"` or `"document"` in `encode`' if prompted else ""
    usage = f"""
## Load this folder
```python
from sentence_transformers import MultiVectorEncoder  # version 6

model = MultiVectorEncoder("{model.name}")  # this folder
queries = model.encode_query(["which animal emerges late?"])
documents = model.encode_document(["The serotine leaves its roost late."])
```

```python
from serotine import Encoder

encoder = Encoder("{model.name}/native")  # 8 bits, without torch; "{model.name}/onnx" in ONNX Runtime
```

`onnx/` and the folder itself have 32-bit weights, restored from the 8 bits of `native/`. There is no PyLate checkpoint:
{refusal}.
`serotine.integrations.pylate.models.ColBERT` loads this folder by PyLate's names{prompts}.
"""
    return f"---\n{head}---\n\n{title}\n{LINK.sub(unlinked, rest).rstrip()}\n{usage}"


def check(model: Model, folder: Path) -> None:
    """Load a folder with every library that should, and compare its vectors with those of the package."""
    shipped = Encoder(model.files)
    expected = [*shipped.encode_queries(TEXTS), *shipped.encode_documents(TEXTS)]
    libraries = importlib.import_module("sentence_transformers")
    theirs = libraries.MultiVectorEncoder(str(folder), device="cpu", local_files_only=True)
    found = [
        *theirs.encode_query(TEXTS, convert_to_numpy=True),
        *theirs.encode_document(TEXTS, convert_to_numpy=True),
    ]
    report(model.name, f"sentence-transformers {libraries.__version__}", expected, found)
    models = importlib.import_module("serotine.integrations.pylate.models")
    colbert = models.ColBERT(str(folder), device="cpu")
    query, document = (name if colbert.prompts.get(name) else None for name in ("query", "document"))
    found = [
        *colbert.encode(TEXTS, is_query=True, prompt_name=query),
        *colbert.encode(TEXTS, is_query=False, prompt_name=document),
    ]
    report(model.name, "PyLate's names", expected, found)
    for name in ("native", "onnx"):
        encoder = Encoder(folder / name)
        report(model.name, name, expected, [*encoder.encode_queries(TEXTS), *encoder.encode_documents(TEXTS)])


def report(
    model: str, library: str, expected: Sequence[NDArray[np.float32]], found: Sequence[NDArray[np.float32]]
) -> None:
    """Print the mean cosine of two encodings, token by token; too low a one is a failure."""
    for one, other in zip(expected, found, strict=True):
        if one.shape != other.shape:
            raise SystemExit(f"{model}: {library}: must give vectors of shape {one.shape}, got {other.shape}")
    cosines = np.concatenate([np.einsum("ij,ij->i", *pair) for pair in zip(expected, found, strict=True)])
    print(f"{model}: {library}: mean cosine {cosines.mean():.4f}, minimum {cosines.min():.4f}", flush=True)
    if not cosines.mean() >= MIN_MEAN_COSINE:
        raise SystemExit(
            f"{model}: {library}: mean cosine must be at least {MIN_MEAN_COSINE}, got {cosines.mean():.4f}"
        )


if __name__ == "__main__":
    sys.exit(main())
