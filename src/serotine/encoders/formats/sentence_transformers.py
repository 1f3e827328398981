"""Late-interaction checkpoints of sentence-transformers 6 (`MultiVectorEncoder`) and of PyLate (`ColBERT`).

Both list their modules in `modules.json`. PyLate stores all its settings in `config_sentence_transformers.json`,
inserts the marker after the first token, and masks and normalizes in code instead of in modules.
"""

from __future__ import annotations

from serotine.encoders.formats.folder import PUNCTUATION, Checkpoint
from serotine.encoders.settings import SettingsFile
from serotine.encoders.spec import EncoderSpec, Expansion, Side
from serotine.errors import EncoderError

_QUERY_LENGTH, _DOCUMENT_LENGTH = 32, 180
_PYLATE_KEYS = ("query_prefix", "document_prefix", "do_query_expansion", "attend_to_expansion_tokens", "skiplist_words")
_SIMILARITIES = ("maxsim", "meanmaxsim")


def looks_like_pylate(checkpoint: Checkpoint) -> bool:
    """Return whether a checkpoint without a model type was saved by an early PyLate."""
    return any(key in checkpoint.settings for key in _PYLATE_KEYS)


def read(checkpoint: Checkpoint, *, pylate: bool) -> EncoderSpec:
    """Read a checkpoint of either library.

    Raises:
        EncoderError: as `formats.read_checkpoint`.
    """
    if not checkpoint.modules:
        raise EncoderError(f"{checkpoint.folder / 'modules.json'}: is missing; the checkpoint is incomplete")
    if checkpoint.module("Pooling") is not None:
        raise EncoderError(
            f"{checkpoint.folder / 'modules.json'}: the module Pooling makes one vector of all tokens; "
            "a late-interaction encoder must not have it"
        )
    settings = checkpoint.settings
    transformer = checkpoint.module_settings
    _require_text(transformer)
    prompts = settings.section("prompts")
    query_prompt, document_prompt = prompts.text("query", "") or "", prompts.text("document", "") or ""
    max_tokens = checkpoint.max_tokens()
    query_marker = document_marker = None
    markers: tuple[str, ...]
    skip_queries: tuple[int, ...] = ()
    only_ids: tuple[int, ...] = ()
    normalize = True
    if pylate:
        query_prefix = settings.text("query_prefix", "[Q] ") or ""
        document_prefix = settings.text("document_prefix", "[D] ") or ""
        markers = checkpoint.markers([query_prefix, document_prefix])
        query_marker, query_prompt = _marker(query_prefix, query_prompt, markers)
        document_marker, document_prompt = _marker(document_prefix, document_prompt, markers)
        query_length = settings.integer("query_length", _QUERY_LENGTH) or _QUERY_LENGTH
        document_length = settings.integer("document_length", _DOCUMENT_LENGTH) or _DOCUMENT_LENGTH
        expansion = None
        if settings.flag("do_query_expansion", True):
            attend = settings.flag("attend_to_expansion_tokens", False)
            expansion = Expansion(checkpoint.expansion_token(), query_length, attend)
        words = settings.strings("skiplist_words")
        skip = checkpoint.skip_ids(PUNCTUATION if words is None else words)
    else:
        # Prompts are plain text; a marker is a single token only if the tokenizer has it as one.
        markers = checkpoint.markers(
            [prompt for prompt in (query_prompt, document_prompt) if prompt], unsplit_only=True
        )
        query_length = transformer.integer("query_length", max_tokens) or max_tokens
        document_length = transformer.integer("document_length", max_tokens) or max_tokens
        expansion = _expansion(checkpoint, transformer.section("query_expansion"))
        if expansion is not None:
            query_length = expansion.length if expansion.cut else max(query_length, expansion.length)
        skip, skip_queries, only_ids = _mask(checkpoint)
        normalize = _normalizes(checkpoint)
    layers = checkpoint.projections()
    # PyLate writes "MaxSim" and "MeanMaxSim".
    similarity = (settings.text("similarity_fn_name") or "").lower()
    return EncoderSpec(
        name=checkpoint.name,
        folder=checkpoint.folder,
        origin="pylate" if pylate else "sentence-transformers",
        dim=layers[-1].outputs if layers else checkpoint.hidden_size,
        query=Side(
            query_length, query_prompt, marker=query_marker, strip=pylate, expansion=expansion, skip=skip_queries
        ),
        document=Side(document_length, document_prompt, marker=document_marker, strip=pylate, skip=skip, only=only_ids),
        backbone=checkpoint.model_type,
        backbone_folder=checkpoint.backbone_folder,
        tokenizer=checkpoint.tokenizer_file,
        markers=markers,
        padding_left=checkpoint.pads_left,
        cut_left=checkpoint.truncates_left,
        lower_case=transformer.flag("do_lower_case", False),
        projections=layers,
        normalize=normalize,
        pooling=checkpoint.token_pooling(),
        similarity=similarity if similarity in _SIMILARITIES else "maxsim",
    )


def _marker(prefix: str, prompt: str, markers: tuple[str, ...]) -> tuple[str | None, str]:
    """Split a PyLate prefix and prompt into the marker to insert, if any, and the text to prepend.

    A prefix that is not a token is text before the prompt.
    """
    rest = prompt.removeprefix(prefix) if prefix else prompt
    if prefix in markers:
        return prefix, rest
    first = prefix.split(None, 1)[0] if prefix.split() else ""
    if first in markers:
        return first, rest
    return None, prefix + rest


def _expansion(checkpoint: Checkpoint, settings: SettingsFile) -> Expansion | None:
    if not settings.values:
        return None
    strategy = settings.text("strategy")
    if strategy not in ("fixed", "min"):
        raise settings.invalid("strategy", "'fixed' or 'min'")
    length = settings.integer("length")
    if length is None:
        raise EncoderError(f"{settings.path}: 'length' of 'query_expansion' is missing")
    token = checkpoint.expansion_token(settings.text("token"))
    return Expansion(token, length, settings.flag("attend", False), cut=strategy == "fixed")


def _mask(checkpoint: Checkpoint) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Return ids of unscored document tokens, of unscored query tokens, and of the only scored document tokens."""
    module = checkpoint.module("MultiVectorMask")
    if module is None:
        return (), (), ()
    settings = SettingsFile(checkpoint.folder / module.folder / "config.json", missing_ok=True)
    skip = checkpoint.skip_ids(settings.strings("skiplist_words") or [])
    tasks = settings.strings("skiplist_tasks")
    tasks = ["document"] if tasks is None else tasks
    only_ids = settings.values.get("keep_only_token_ids") or []
    if not isinstance(only_ids, list) or not all(type(id_) is int for id_ in only_ids):
        raise settings.invalid("keep_only_token_ids", "a list of integers")
    return skip if "document" in tasks else (), skip if "query" in tasks else (), tuple(only_ids)


def _normalizes(checkpoint: Checkpoint) -> bool:
    for module in checkpoint.modules:
        if module.kind == "Normalize":
            settings = SettingsFile(checkpoint.folder / module.folder / "config.json", missing_ok=True)
            if settings.text("module_input_name", "sentence_embedding") == "token_embeddings":
                return True
    return False


def _require_text(transformer: SettingsFile) -> None:
    modalities = transformer.section("modality_config").values
    if modalities and "text" not in modalities:
        raise EncoderError(
            f"{transformer.path}: 'modality_config' must have 'text', got {', '.join(sorted(modalities))}; "
            "this version encodes text only"
        )
    if "message" in modalities:
        raise EncoderError(f"{transformer.path}: the modality 'message' (a chat template) is not supported")
