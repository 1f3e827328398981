"""The files of a PLAID index, read without running anything that is in them; whatever is wrong names the file."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.errors import InputFileError, reason

Load = Callable[[Path], Any]


class _PlainUnpickler(pickle.Unpickler):
    """Reads containers, numbers and strings; every pickle that names a class or function is refused."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it wants {module}.{name}, and only plain ids are read")


def read_ids(path: Path, documents: int) -> list[str]:
    """PyLate's pickled ``{position: id}`` as the ids of so many documents, in order."""
    try:
        with path.open("rb") as file:
            known = _PlainUnpickler(file).load()
        ids = [str(known[position]) for position in range(documents)]
    except (pickle.UnpicklingError, EOFError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise InputFileError(
            f"{path}: does not give every document an id ({type(error).__name__}: {error}); copy it again, or move it "
            "away to number the documents"
        ) from None
    seen: set[str] = set()
    for id_ in ids:
        if id_ in seen:
            raise InputFileError(f"{path}: {id_!r} stands for two documents; remove it with PyLate and add it once")
        seen.add(id_)
    return ids


def read_json(path: Path) -> Any:
    """What a JSON file says."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise InputFileError(f"{path}: {error.strerror or error}; copy the index again, whole") from None
    except ValueError as error:
        raise InputFileError(f"{path}: is not JSON ({error}); copy it again") from None


def read_array(load: Load, path: Path) -> NDArray[Any]:
    """The array that `load` finds in a file."""
    try:
        return np.asarray(load(path))
    except OSError as error:
        raise InputFileError(f"{path}: {error.strerror or error}; copy the index again, whole") from None
    except (ValueError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise InputFileError(f"{path}: cannot be read ({reason(error)}); copy it again") from None


def read_chunk(folder: Path, part: str, chunk: int, tokens: Sequence[int]) -> tuple[Path, NDArray[Any]]:
    """The rows of one chunk of a fast-plaid index, and the file they are in.

    A chunk's own file counts where there is one. Version 1.7 folds these into ``merged_{part}.npy`` and removes them;
    its manifest says how many rows of each chunk lie there, end to end.

    Args:
        folder: the index.
        part: "codes" or "residuals".
        chunk: its number.
        tokens: how many tokens each chunk has.
    """
    name = f"{chunk}.{part}.npy"
    own, merged = folder / name, folder / f"merged_{part}.npy"
    if own.is_file() or not merged.is_file():
        return own, read_array(load_npy, own)
    manifest = folder / f"merged_{part}.manifest.json"
    rows = dict(enumerate(tokens))
    if manifest.is_file():
        told = read_json(manifest)
        try:
            rows |= {i: int(told[f"{i}.{part}.npy"]["rows"]) for i in range(chunk + 1)}
        except (KeyError, TypeError, ValueError):
            raise InputFileError(f"{manifest}: does not say where {name} is; copy the index again, whole") from None
    first = sum(rows[i] for i in range(chunk))
    return merged, read_array(load_npy, merged)[first : first + rows[chunk]]


def load_npy(path: Path) -> NDArray[Any]:
    """A .npy file, memory-mapped."""
    array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def load_pt(path: Path) -> Any:
    """What torch saved: tensors, or a tuple of them."""
    try:
        import torch
    except ImportError:
        raise InputFileError(
            f"{path}: a ColBERT index is read with torch; run: pip install 'serotine[torch]'"
        ) from None
    return torch.load(path, map_location="cpu", weights_only=True)
