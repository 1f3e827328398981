"""A checkpoint, or a plain encoder, loaded and saved as PyLate's `models.ColBERT` does."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from serotine.encoders import (
    PUNCTUATION,
    WEIGHTS_FILE,
    Backend,
    Checkpoint,
    Encoder,
    EncoderSpec,
    Expansion,
    Location,
    Projection,
    Side,
    TextTokenizer,
    TorchBackend,
    locate,
    read_checkpoint,
    save_checkpoint,
)
from serotine.errors import UntrainedProjectionWarning

_QUERY_LENGTH, _DOCUMENT_LENGTH, _DIM = 32, 180, 128
_QUERY_PREFIX, _DOCUMENT_PREFIX = "[Q] ", "[D] "
_SETTINGS_FILE = "config_sentence_transformers.json"


@dataclass(frozen=True, slots=True)
class Overrides:
    """The constructor's settings; None leaves the checkpoint's value, or PyLate's default where it has none."""

    query_prefix: str | None = None
    document_prefix: str | None = None
    query_length: int | None = None
    document_length: int | None = None
    do_query_expansion: bool | None = None
    attend_to_expansion_tokens: bool | None = None
    skiplist_words: list[str] | None = None
    embedding_size: int | None = None
    bias: bool = False


@dataclass(frozen=True, slots=True)
class ColBERTSpec:
    """The settings of one `models.ColBERT`.

    Attributes:
        spec: for the engine; its sides have no prompts, because PyLate adds prompts by name only.
        query_prefix, document_prefix: as the checkpoint or the constructor writes them.
        skiplist_words: likewise.
        prompts: prompts of `encode` by name.
        default_prompt_name: the prompt `encode` uses unless given one.
        untrained_projection: (inputs, outputs) of a random projection, if one was added.
    """

    spec: EncoderSpec
    query_prefix: str
    document_prefix: str
    skiplist_words: list[str]
    prompts: dict[str, str]
    default_prompt_name: str | None
    untrained_projection: tuple[int, int] | None


def load(
    name_or_path: str | Path | None,
    overrides: Overrides,
    *,
    device: str | None,
    dtype: str,
    revision: str | None,
    offline: bool,
) -> tuple[ColBERTSpec, Backend]:
    """Load a model.

    Raises:
        EncoderError: the checkpoint is missing or damaged.
        ValueError: an invalid argument.

    Warns:
        UntrainedProjectionWarning: the checkpoint is a plain encoder.
        ZeroShotWarning: it is an exported plain encoder.
    """
    location = locate(name_or_path, revision=revision, offline=offline)
    location.warn_if_shadowed()
    # The weights of a random projection are read from here while the model loads.
    with tempfile.TemporaryDirectory() as scratch:
        colbert = _read(location, overrides, Path(scratch))
        spec = colbert.spec
        if spec.model_file is not None:
            return colbert, Encoder(name_or_path, device=device, revision=revision, offline=offline).backend
        backend = TorchBackend(spec, TextTokenizer(spec).vocabulary, device, dtype, fold=False)
    if colbert.untrained_projection is not None:
        inputs, outputs = colbert.untrained_projection
        warnings.warn(
            f"{spec.name}: the checkpoint lacks a projection from {inputs} to {outputs} dimensions, so a random one "
            "was added, as in PyLate; train the model before use, or use serotine.Encoder, which needs no projection",
            UntrainedProjectionWarning,
            stacklevel=3,
        )
    return colbert, backend


def save_pylate(encoder: Encoder, folder: Path, settings: Mapping[str, Any]) -> None:
    """Save a model in PyLate's format, into a folder that may exist, as the trainer's folders do.

    Args:
        encoder: on the torch backend.
        folder: files of the same names are replaced.
        settings: entries for config_sentence_transformers.json that only the model has.

    Raises:
        EncoderError: the format cannot express the encoder; nothing is written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        staging = Path(scratch) / "checkpoint"
        save_checkpoint(encoder, staging, format="pylate")
        file = staging / _SETTINGS_FILE
        merged = json.loads(file.read_text("utf-8")) | settings
        file.write_text(json.dumps(merged, indent=1, ensure_ascii=False) + "\n", "utf-8")
        for file in sorted(path for path in staging.rglob("*") if path.is_file()):
            target = folder / file.relative_to(staging)
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)


def pop_dtype(model_kwargs: Mapping[str, Any] | None) -> tuple[str, dict[str, Any] | None]:
    """Return the dtype in `model_kwargs` ("float32" unless given) and the other entries, None where there are none."""
    rest = dict(model_kwargs or {})
    values = [rest.pop(key) for key in ("dtype", "torch_dtype") if key in rest]
    dtype = str(values[0]).removeprefix("torch.") if values else "float32"
    return {"float": "float32", "half": "float16", "auto": "float32"}.get(dtype, dtype), rest or None


def _read(location: Location, overrides: Overrides, scratch: Path) -> ColBERTSpec:
    """Read the settings of a checkpoint of any format.

    Args:
        location: the checkpoint.
        overrides: the constructor's settings.
        scratch: a folder for the weights of a random projection.

    Raises:
        EncoderError: the checkpoint cannot be read.
        ValueError: an exported encoder cannot follow an override.
    """
    spec = read_checkpoint(location.folder, location.name)
    if spec.model_file is not None:
        return _read_exported(spec, overrides)
    checkpoint = Checkpoint(location.folder, location.name)
    settings = checkpoint.settings
    prompts = {key: value for key, value in settings.section("prompts").values.items() if isinstance(value, str)}
    if spec.origin == "dense":
        spec = replace(
            spec,
            query=Side(_QUERY_LENGTH, marker=_QUERY_PREFIX, strip=True),
            document=Side(_DOCUMENT_LENGTH, marker=_DOCUMENT_PREFIX, strip=True, skip=checkpoint.skip_ids(PUNCTUATION)),
            warning=None,
        )
        spec = _with_expansion(spec, checkpoint, overrides.do_query_expansion is not False, attend=False)
    else:
        spec = spec.with_marker_position("after_first")
    query, query_prefix = _with_prefix(spec.query, prompts.get("query", ""), overrides.query_prefix)
    document, document_prefix = _with_prefix(spec.document, prompts.get("document", ""), overrides.document_prefix)
    if overrides.skiplist_words is not None:
        document = replace(document, skip=checkpoint.skip_ids(overrides.skiplist_words))
    query = replace(query, length=overrides.query_length or query.length)
    document = replace(document, length=overrides.document_length or document.length)
    spec = replace(spec, query=query, document=document, normalize=True)
    expand = query.expansion is not None if overrides.do_query_expansion is None else overrides.do_query_expansion
    attend = bool(query.expansion and query.expansion.attend)
    if overrides.attend_to_expansion_tokens is not None:
        attend = overrides.attend_to_expansion_tokens
    spec = _with_expansion(spec, checkpoint, expand, attend=attend)
    markers = [side.marker for side in (query, document) if side.marker is not None]
    spec = replace(spec, markers=tuple(dict.fromkeys([*spec.markers, *markers])))
    words = settings.strings("skiplist_words") or list(PUNCTUATION)
    spec, untrained_projection = _with_projection(spec, overrides, scratch)
    return ColBERTSpec(
        spec,
        query_prefix,
        document_prefix,
        words if overrides.skiplist_words is None else list(overrides.skiplist_words),
        prompts,
        settings.text("default_prompt_name"),
        untrained_projection,
    )


def _read_exported(spec: EncoderSpec, overrides: Overrides) -> ColBERTSpec:
    """Apply overrides to an ONNX model, of which only the lengths can change."""
    if overrides.embedding_size not in (None, spec.dim):
        raise ValueError(
            f"embedding_size: must be {spec.dim} for the exported encoder {spec.name}, got "
            f"{overrides.embedding_size}; use the checkpoint it was exported from"
        )
    fixed = {
        "query_prefix": overrides.query_prefix,
        "document_prefix": overrides.document_prefix,
        "do_query_expansion": overrides.do_query_expansion,
        "attend_to_expansion_tokens": overrides.attend_to_expansion_tokens,
        "skiplist_words": overrides.skiplist_words,
    }
    for name, value in fixed.items():
        if value is not None:
            raise ValueError(
                f"{name}: cannot be changed in the exported encoder {spec.name}, got {value!r}; "
                "use the checkpoint it was exported from"
            )
    query, document = spec.query, spec.document
    if overrides.query_length is not None:
        expansion = None if query.expansion is None else replace(query.expansion, length=overrides.query_length)
        query = replace(query, length=overrides.query_length, expansion=expansion)
    if overrides.document_length is not None:
        document = replace(document, length=overrides.document_length)
    spec = replace(spec, query=query, document=document)
    return ColBERTSpec(spec, query.marker or "", document.marker or "", [], {}, None, None)


def _with_prefix(side: Side, prompt: str, prefix: str | None) -> tuple[Side, str]:
    """Return a side without its prompt, and with `prefix` where it is given; and the prefix in use."""
    if prefix is not None:
        return replace(side, prompt="", marker=prefix or None), prefix
    # A prefix that is not a token of its own precedes the prompt, as text.
    text = "" if side.marker is not None else side.prompt.removesuffix(prompt)
    return replace(side, prompt=text), side.marker or text


def _with_expansion(spec: EncoderSpec, checkpoint: Checkpoint, expand: bool, *, attend: bool) -> EncoderSpec:
    if not expand:
        return replace(spec, query=replace(spec.query, expansion=None))
    current = spec.query.expansion
    token = checkpoint.expansion_token() if current is None else current.token
    cut = True if current is None else current.cut
    return replace(spec, query=replace(spec.query, expansion=Expansion(token, spec.query.length, attend, cut)))


def _with_projection(
    spec: EncoderSpec, overrides: Overrides, scratch: Path
) -> tuple[EncoderSpec, tuple[int, int] | None]:
    """Add a random projection where there is none, or where `embedding_size` differs; return its dimensions too."""
    if spec.projections and overrides.embedding_size in (None, spec.dim):
        return spec, None
    outputs = overrides.embedding_size or _DIM
    linear = torch.nn.Linear(spec.dim, outputs, bias=overrides.bias)
    folder = scratch / f"{len(spec.projections) + 1}_Dense"
    folder.mkdir(parents=True)
    save_file({f"linear.{name}": weight for name, weight in linear.state_dict().items()}, folder / WEIGHTS_FILE)
    # An absolute folder, which replaces the checkpoint's when the two are joined.
    projection = Projection(str(folder.absolute()), spec.dim, outputs, overrides.bias)
    return replace(spec, projections=(*spec.projections, projection), dim=outputs), (spec.dim, outputs)
