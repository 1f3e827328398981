"""Checkpoints from the Hugging Face hub: settings, tokenizers and safetensors; no code and no pickles."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from serotine.errors import EncoderError, reason
from serotine.wording import local_fix

_ALLOWED = ("*.json", "*.safetensors", "*.metadata", "*.txt", "*.onnx", "*.onnx.data", "*.model")
_IGNORED = ("openvino/*", "onnx/*", "*.bin", "*.py", "*.msgpack", "*.h5", "*.ot", "*.gguf")


def download(hub_id: str, revision: str | None, *, offline: bool) -> Path:
    """Download a checkpoint into the hub's cache, and return its folder, which is named for the commit.

    Raises:
        EncoderError: it cannot be downloaded.
    """
    # Imported here: a command on a local encoder should not wait for it.
    import huggingface_hub

    try:
        return Path(
            huggingface_hub.snapshot_download(
                hub_id,
                revision=revision,
                local_files_only=offline,
                allow_patterns=list(_ALLOWED),
                ignore_patterns=list(_IGNORED),
            )
        )
    # The hub's library raises its own errors, and lets those of its HTTP library through.
    except Exception as error:
        name = f"{hub_id}@{revision}" if revision else hub_id
        raise EncoderError(f"encoder {name!r}: {hub_error(error, hub_id)}") from None


def hub_error(error: Exception, repository: str, kind: Literal["model", "dataset"] = "model") -> str:
    """Return what a failed download of a repository means and what to do, in one line without the repository's name.

    Args:
        error: what `huggingface_hub.snapshot_download` raised.
        repository: "owner/name".
        kind: what the repository holds.
    """
    from huggingface_hub import errors

    path, option = (repository, "") if kind == "model" else (f"datasets/{repository}", " --repo-type dataset")
    if isinstance(error, errors.GatedRepoError):
        fix = local_fix(f"request it at https://huggingface.co/{path}, then run `hf auth login`")
        return f"access is restricted; {fix}"
    if isinstance(error, errors.RevisionNotFoundError):
        return "the hub has no such revision"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"the hub has no such {kind}, or it is private; {local_fix('if it is private, run `hf auth login`')}"
    if isinstance(error, errors.LocalEntryNotFoundError):
        fix = local_fix(f"run `hf download {repository}{option}` where there is a network, or give a folder")
        return f"not on this machine, and the hub cannot be reached; {fix}"
    return f"cannot be downloaded ({reason(error)})"
