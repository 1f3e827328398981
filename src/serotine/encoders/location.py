"""Names to folders: an installed package, a folder, or a model of the Hugging Face hub."""

from __future__ import annotations

import difflib
import logging
import re
from dataclasses import dataclass
from pathlib import Path

from serotine.encoders.hub import download
from serotine.errors import EncoderError, PackageNameWarning, wrong_type
from serotine.issued_warnings import issue_warning
from serotine.model_packages import MINI, ModelPackage, find_package, package_names
from serotine.wording import local_fix

DEFAULT = MINI.name
# Packages of serotine-mini up to 0.2.0 held ONNX.
_MODELS = ("model.safetensors", "model.onnx")
# One of them is in every folder that is an encoder.
_ENCODER_FILES = ("config.json", "modules.json", *_MODELS)
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_log = logging.getLogger("serotine.encoders")


@dataclass(frozen=True, slots=True)
class Location:
    """The folder of an encoder.

    Attributes:
        name: what `locate` takes to return this folder again; a hub id includes its commit, as "owner/model@commit".
        folder: the folder.
        shadowed: the name by which an installed package was found, where a folder of that name holds an encoder too;
            otherwise "".
    """

    name: str
    folder: Path
    shadowed: str = ""

    def warn_if_shadowed(self) -> None:
        """Warn where another folder may have been meant; for who loads the encoder, not for who looks at its files."""
        if self.shadowed:
            issue_warning(
                PackageNameWarning(
                    f"encoder: {self.shadowed!r} is the installed {self.name}, not the folder of that name; pass "
                    f"'./{self.shadowed}' for the folder"
                )
            )


def locate(name_or_path: str | Path | None, *, revision: str | None = None, offline: bool = False) -> Location:
    """Return the folder of an encoder, downloaded from the hub if necessary.

    Args:
        name_or_path: "serotine-mini", "mini", "default" or None for the default encoder; "serotine-multi", "multi" or
            "multilingual" for the one of many languages; a folder; or a hub id, "owner/model" or
            "owner/model@revision".
        revision: of a hub id: a branch, tag or commit.
        offline: use only what was downloaded before, as the environment variable HF_HUB_OFFLINE=1 does.

    Raises:
        EncoderError: there is no such encoder, or it cannot be downloaded.
        ValueError: `revision` does not fit the name.

    Who loads the encoder calls `Location.warn_if_shadowed`.
    """
    if name_or_path is not None and not isinstance(name_or_path, (str, Path)):
        raise wrong_type("encoder", "a name, a folder or a hub id (owner/model)", name_or_path)
    name = DEFAULT if name_or_path is None else str(name_or_path)
    package = None if isinstance(name_or_path, Path) else find_package(name)
    if package is not None:
        shadows = name_or_path is not None and any((Path(name) / file).is_file() for file in _ENCODER_FILES)
        return Location(package.name, _package_folder(package), name if shadows else "")
    folder = Path(name).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise ValueError(f"revision: {name!r} is a folder, which has no revisions; leave it out")
        return Location(str(folder.resolve()), folder)
    hub_id, _, commit = name.partition("@")
    if isinstance(name_or_path, Path) or not _HUB_ID.fullmatch(hub_id):
        near = difflib.get_close_matches(name, package_names(), n=1)
        fix = f"did you mean {near[0]!r}" if near else f"names are {', '.join(package_names())}"
        raise EncoderError(f"encoder {name!r}: not {DEFAULT!r}, a folder or a hub id (owner/model); {fix}")
    if commit and revision not in (None, commit):
        raise ValueError(f"revision: {revision!r} contradicts {commit!r} in the name; give one of them")
    folder = download(hub_id, revision or commit or None, offline=offline)
    # The cache names the folder for its commit, so the name loads the same files after the branch moves.
    _log.info("%s is %s at commit %s", name, hub_id, folder.name)
    return Location(f"{hub_id}@{folder.name}", folder)


def _package_folder(package: ModelPackage) -> Path:
    folder = package.folder()
    if folder is None:
        fix = local_fix(f"in a clone of Serotine run: {package.install}")
        raise EncoderError(f"encoder {package.name!r}: not installed; {fix}")
    if not any((folder / name).is_file() for name in _MODELS):
        fix = local_fix(f"in a clone of Serotine run: pip install --force-reinstall {package.source}")
        raise EncoderError(f"{folder / _MODELS[0]}: is missing; {fix}")
    return folder
