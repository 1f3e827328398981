"""What `models.ColBERT`'s parameters ask of the engine, and the model that answers."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serotine.encoders.backend import Backend
from serotine.encoders.encoder import Encoder
from serotine.encoders.location import locate
from serotine.encoders.tokenization import TextTokenizer
from serotine.encoders.torch_backend import TorchBackend
from serotine.integrations.pylate.checkpoint import ColBERTSpec, Overrides, read_colbert

WITHOUT_EFFECT = {
    "cache_folder": (None, "set the environment variable HF_HOME"),
    "trust_remote_code": (False, "code that comes with a checkpoint is never run"),
    "token": (None, "set the environment variable HF_TOKEN, or run `hf auth login`"),
    "use_auth_token": (None, "set the environment variable HF_TOKEN, or run `hf auth login`"),
    "truncation": (True, "texts are always cut at their length"),
    "model_kwargs": (None, "of these only dtype is known; everything else follows from the checkpoint"),
    "tokenizer_kwargs": (None, "the tokenizer is the checkpoint's"),
    "config_kwargs": (None, "the configuration is the checkpoint's"),
    "model_card_data": (None, "no model card is written"),
}


class UntrainedProjectionWarning(UserWarning):
    """The checkpoint has no projection: one was made at random, which training has to give a meaning."""


def load(
    name_or_path: str | Path | None,
    told: Overrides,
    *,
    device: str | None,
    dtype: str,
    revision: str | None,
    offline: bool,
) -> tuple[ColBERTSpec, Backend]:
    """Loads a model.

    Raises:
        EncoderError: it cannot be found or loaded.
        ValueError: an argument that is not what it should be.

    Warns:
        UntrainedProjectionWarning: the checkpoint is a plain encoder.
        ZeroShotWarning: it is an exported one.
    """
    found = locate(name_or_path, revision=revision, offline=offline)
    # Weights of a new projection are read from here while the model loads, and no more.
    with tempfile.TemporaryDirectory() as scratch:
        colbert = read_colbert(found, told, Path(scratch))
        spec = colbert.spec
        if spec.model_file is not None:
            return colbert, Encoder(name_or_path, device=device, revision=revision, offline=offline).backend
        backend = TorchBackend(spec, TextTokenizer(spec).vocabulary, device, dtype, fold=False)
    if colbert.fresh is not None:
        warnings.warn(
            f"{spec.name}: the checkpoint lacks a projection from {colbert.fresh[0]} to {colbert.fresh[1]} dimensions; "
            "one was made at random, as PyLate does: train the model before you use it, or take the token states "
            "as they are with serotine.Encoder",
            UntrainedProjectionWarning,
            stacklevel=3,
        )
    return colbert, backend


def dtype_of(model_kwargs: Mapping[str, Any] | None) -> tuple[str, dict[str, Any] | None]:
    """The dtype that `model_kwargs` names, and what else they hold; None for nothing."""
    rest = dict(model_kwargs or {})
    named = [rest.pop(key) for key in ("dtype", "torch_dtype") if key in rest]
    dtype = str(named[0]).removeprefix("torch.") if named else "float32"
    return {"float": "float32", "half": "float16", "auto": "float32"}.get(dtype, dtype), rest or None
