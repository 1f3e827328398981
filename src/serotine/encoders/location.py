"""Names to folders: the default encoder, a folder, or a model of the Hugging Face hub."""

from __future__ import annotations

import importlib.util
import logging
import re
from dataclasses import dataclass
from pathlib import Path

from serotine.encoders.hub import download
from serotine.errors import EncoderError

DEFAULT = "serotine-mini"
# Short names of the default encoder; a folder of such a name is meant by "./mini".
_SHORT_NAMES = ("default", "mini")
_PACKAGE = "serotine_mini"
_INSTALL = "./models/serotine-mini"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_log = logging.getLogger("serotine.encoders")


@dataclass(frozen=True, slots=True)
class Location:
    """The folder of an encoder.

    Attributes:
        name: what `locate` takes to return this folder again; a hub id includes its commit, as "owner/model@commit".
        folder: the folder.
    """

    name: str
    folder: Path


def locate(name_or_path: str | Path | None, *, revision: str | None = None, offline: bool = False) -> Location:
    """Return the folder of an encoder, downloaded from the hub if necessary.

    Args:
        name_or_path: "serotine-mini", "mini", "default" or None for the default encoder; a folder; or a hub id,
            "owner/model" or "owner/model@revision".
        revision: of a hub id: a branch, tag or commit.
        offline: use only what was downloaded before, as the environment variable HF_HUB_OFFLINE=1 does.

    Raises:
        EncoderError: there is no such encoder, or it cannot be downloaded.
        ValueError: `revision` does not fit the name.
    """
    name = DEFAULT if name_or_path is None else str(name_or_path)
    if name == DEFAULT or name_or_path in _SHORT_NAMES:
        return Location(DEFAULT, _default_folder())
    folder = Path(name).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise ValueError(f"revision: {name!r} is a folder, which has no revisions; leave it out")
        return Location(str(folder.resolve()), folder)
    hub_id, _, commit = name.partition("@")
    if isinstance(name_or_path, Path) or not _HUB_ID.fullmatch(hub_id):
        raise EncoderError(
            f"encoder {name!r}: not {DEFAULT!r}, a folder or a hub id (owner/model); give the path of an encoder folder"
        )
    if commit and revision not in (None, commit):
        raise ValueError(f"revision: {revision!r} contradicts {commit!r} in the name; give one of them")
    folder = download(hub_id, revision or commit or None, offline=offline)
    # The cache names the folder for its commit, so the name loads the same files after the branch moves.
    _log.info("%s is %s at commit %s", name, hub_id, folder.name)
    return Location(f"{hub_id}@{folder.name}", folder)


def _default_folder() -> Path:
    # find_spec of a top-level package does not run it.
    package = importlib.util.find_spec(_PACKAGE)
    if package is None or not package.submodule_search_locations:
        raise EncoderError(f"encoder {DEFAULT!r}: not installed; in a clone of Serotine run: pip install {_INSTALL}")
    folder = Path(package.submodule_search_locations[0]) / "model"
    if not (folder / "model.onnx").is_file():
        raise EncoderError(
            f"{folder / 'model.onnx'}: is missing; in a clone of Serotine run: pip install --force-reinstall {_INSTALL}"
        )
    return folder
