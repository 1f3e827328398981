"""A checkpoint, or a plain encoder, as PyLate's `models.ColBERT` takes it up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from serotine.encoders.formats import read_checkpoint
from serotine.encoders.formats.folder import PUNCTUATION, Checkpoint
from serotine.encoders.location import Location
from serotine.encoders.spec import EncoderSpec, Expansion, Projection, Side
from serotine.encoders.weights import WEIGHTS_FILE

_QUERY_LENGTH, _DOCUMENT_LENGTH, _DIM = 32, 180, 128
_QUERY_PREFIX, _DOCUMENT_PREFIX = "[Q] ", "[D] "


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the constructor was told; None leaves what the checkpoint says, or PyLate's default."""

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
    """What `models.ColBERT` knows of its checkpoint.

    Attributes:
        spec: for the engine; its prompts are none, for PyLate puts them in by name only.
        query_prefix, document_prefix: as the checkpoint or the constructor writes them.
        skiplist_words: likewise.
        prompts, default_prompt_name: of `encode`.
        fresh: dimensions of a projection that was made at random, (inputs, outputs), if there is one.
    """

    spec: EncoderSpec
    query_prefix: str
    document_prefix: str
    skiplist_words: list[str]
    prompts: dict[str, str]
    default_prompt_name: str | None
    fresh: tuple[int, int] | None


def read_colbert(found: Location, told: Overrides, scratch: Path) -> ColBERTSpec:
    """Reads a checkpoint of any format.

    Args:
        found: where it is.
        told: what the constructor was told.
        scratch: a folder for the projection that a plain encoder gets.

    Raises:
        EncoderError: it cannot be read.
        ValueError: what was told cannot be had of an exported encoder.
    """
    spec = read_checkpoint(found.folder, found.name, found.model)
    if spec.model_file is not None:
        return _exported(spec, told)
    checkpoint = Checkpoint(found.folder, found.name)
    settings = checkpoint.settings
    prompts = {key: value for key, value in settings.section("prompts").values.items() if isinstance(value, str)}
    plain = spec.origin == "dense"
    if plain:
        spec = replace(
            spec,
            query=Side(_QUERY_LENGTH, marker=_QUERY_PREFIX, strip=True),
            document=Side(_DOCUMENT_LENGTH, marker=_DOCUMENT_PREFIX, strip=True, skip=checkpoint.skip_ids(PUNCTUATION)),
            warning=None,
        )
        spec = _expanding(spec, checkpoint, told.do_query_expansion is not False, attend=False)
    else:
        spec = spec.with_marker_position("after_first")
    query, query_prefix = _marked(spec.query, prompts.get("query", ""), told.query_prefix)
    document, document_prefix = _marked(spec.document, prompts.get("document", ""), told.document_prefix)
    if told.skiplist_words is not None:
        document = replace(document, skip=checkpoint.skip_ids(told.skiplist_words))
    query = replace(query, length=told.query_length or query.length)
    document = replace(document, length=told.document_length or document.length)
    spec = replace(spec, query=query, document=document, normalise=True)
    expands = query.expansion is not None if told.do_query_expansion is None else told.do_query_expansion
    attends = bool(query.expansion and query.expansion.attend)
    if told.attend_to_expansion_tokens is not None:
        attends = told.attend_to_expansion_tokens
    spec = _expanding(spec, checkpoint, expands, attend=attends)
    added = [side.marker for side in (query, document) if side.marker is not None]
    spec = replace(spec, markers=tuple(dict.fromkeys([*spec.markers, *added])))
    words = settings.words("skiplist_words") or list(PUNCTUATION)
    spec, fresh = _projected(spec, told, scratch)
    return ColBERTSpec(
        spec,
        query_prefix,
        document_prefix,
        words if told.skiplist_words is None else list(told.skiplist_words),
        prompts,
        settings.text("default_prompt_name"),
        fresh,
    )


def _exported(spec: EncoderSpec, told: Overrides) -> ColBERTSpec:
    """An ONNX model is what it is; only lengths can be told."""
    if told.embedding_size not in (None, spec.dim):
        raise ValueError(f"embedding_size: {spec.name} is exported and makes {spec.dim} numbers; use the checkpoint")
    fixed = {
        "query_prefix": told.query_prefix,
        "document_prefix": told.document_prefix,
        "do_query_expansion": told.do_query_expansion,
        "attend_to_expansion_tokens": told.attend_to_expansion_tokens,
        "skiplist_words": told.skiplist_words,
    }
    for name, value in fixed.items():
        if value is not None:
            raise ValueError(f"{name}: {spec.name} is an exported encoder, which cannot be changed; use the checkpoint")
    query, document = spec.query, spec.document
    if told.query_length is not None:
        expansion = None if query.expansion is None else replace(query.expansion, length=told.query_length)
        query = replace(query, length=told.query_length, expansion=expansion)
    if told.document_length is not None:
        document = replace(document, length=told.document_length)
    spec = replace(spec, query=query, document=document)
    return ColBERTSpec(spec, query.marker or "", document.marker or "", [], {}, None, None)


def _marked(side: Side, prompt: str, prefix: str | None) -> tuple[Side, str]:
    """A side with the prefix told, without its prompt; and the prefix."""
    if prefix is not None:
        return replace(side, prompt="", marker=prefix or None), prefix
    # A prefix that is no token of its own stands before the prompt, as text.
    text = "" if side.marker is not None else side.prompt.removesuffix(prompt)
    return replace(side, prompt=text), side.marker or text


def _expanding(spec: EncoderSpec, checkpoint: Checkpoint, expands: bool, *, attend: bool) -> EncoderSpec:
    if not expands:
        return replace(spec, query=replace(spec.query, expansion=None))
    known = spec.query.expansion
    token = checkpoint.expansion_token() if known is None else known.token
    cut = True if known is None else known.cut
    return replace(spec, query=replace(spec.query, expansion=Expansion(token, spec.query.length, attend, cut)))


def _projected(spec: EncoderSpec, told: Overrides, scratch: Path) -> tuple[EncoderSpec, tuple[int, int] | None]:
    """With a random projection where there is none, or where it makes vectors of another size than told."""
    if spec.projections and told.embedding_size in (None, spec.dim):
        return spec, None
    import torch
    from safetensors.torch import save_file

    outputs = told.embedding_size or _DIM
    made = torch.nn.Linear(spec.dim, outputs, bias=told.bias)
    folder = scratch / f"{len(spec.projections) + 1}_Dense"
    folder.mkdir(parents=True)
    save_file({f"linear.{name}": weight for name, weight in made.state_dict().items()}, folder / WEIGHTS_FILE)
    # An absolute folder, which replaces the checkpoint's when the two are joined.
    layer = Projection(str(folder.absolute()), spec.dim, outputs, told.bias)
    return replace(spec, projections=(*spec.projections, layer), dim=outputs), (spec.dim, outputs)
