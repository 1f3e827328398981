"""Late-interaction checkpoints of sentence-transformers 6 (`MultiVectorEncoder`) and of PyLate (`ColBERT`).

Both list their modules in `modules.json`. PyLate's settings all stand in `config_sentence_transformers.json`; it puts
the marker after the first token, and leaves masking and normalising to its code.
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
    """Whether a checkpoint that does not say so was saved by an early PyLate."""
    return any(key in checkpoint.settings for key in _PYLATE_KEYS)


def read(checkpoint: Checkpoint, *, pylate: bool) -> EncoderSpec:
    """Reads either.

    Raises:
        EncoderError: as `formats.read_checkpoint`.
    """
    if not checkpoint.modules:
        raise EncoderError(f"{checkpoint.folder / 'modules.json'}: is missing; the checkpoint is not whole")
    if checkpoint.only("Pooling") is not None:
        raise EncoderError(
            f"{checkpoint.folder / 'modules.json'}: pools all tokens into one vector; it is no late-interaction encoder"
        )
    settings = checkpoint.settings
    transformer = checkpoint.module_settings
    _only_text(transformer)
    prompts = settings.section("prompts")
    query_prompt, document_prompt = prompts.text("query", "") or "", prompts.text("document", "") or ""
    longest = checkpoint.longest_text()
    query_marker = document_marker = None
    markers: tuple[str, ...]
    skip_queries: tuple[int, ...] = ()
    only: tuple[int, ...] = ()
    normalize = True
    if pylate:
        query_prefix = settings.text("query_prefix", "[Q] ") or ""
        document_prefix = settings.text("document_prefix", "[D] ") or ""
        markers = checkpoint.markers([query_prefix, document_prefix])
        query_marker, query_prompt = _marker(query_prefix, query_prompt, markers)
        document_marker, document_prompt = _marker(document_prefix, document_prompt, markers)
        query_length = settings.whole("query_length", _QUERY_LENGTH) or _QUERY_LENGTH
        document_length = settings.whole("document_length", _DOCUMENT_LENGTH) or _DOCUMENT_LENGTH
        expansion = None
        if settings.flag("do_query_expansion", True):
            attend = settings.flag("attend_to_expansion_tokens", False)
            expansion = Expansion(checkpoint.expansion_token(), query_length, attend)
        words = settings.words("skiplist_words")
        skip = checkpoint.skip_ids(PUNCTUATION if words is None else words)
    else:
        # Prompts are text, whatever they look like; a marker is one where the tokenizer says so.
        markers = checkpoint.markers([prompt for prompt in (query_prompt, document_prompt) if prompt], known=True)
        query_length = transformer.whole("query_length", longest) or longest
        document_length = transformer.whole("document_length", longest) or longest
        expansion = _expansion(checkpoint, transformer.section("query_expansion"))
        if expansion is not None:
            query_length = expansion.length if expansion.cut else max(query_length, expansion.length)
        skip, skip_queries, only = _mask(checkpoint)
        normalize = _normalizes(checkpoint)
    layers = checkpoint.projections()
    left, cut_left = checkpoint.sides_of_text()
    # "MaxSim" and "MeanMaxSim" as PyLate writes them.
    similarity = (settings.text("similarity_fn_name") or "").lower()
    return EncoderSpec(
        name=checkpoint.name,
        folder=checkpoint.folder,
        origin="pylate" if pylate else "sentence-transformers",
        dim=layers[-1].outputs if layers else checkpoint.hidden,
        query=Side(
            query_length, query_prompt, marker=query_marker, strip=pylate, expansion=expansion, skip=skip_queries
        ),
        document=Side(document_length, document_prompt, marker=document_marker, strip=pylate, skip=skip, only=only),
        backbone=checkpoint.model_type,
        backbone_folder=checkpoint.backbone_folder,
        tokenizer=checkpoint.tokenizer_file,
        markers=markers,
        padding_left=left,
        cut_left=cut_left,
        lower_case=transformer.flag("do_lower_case", False),
        projections=layers,
        normalize=normalize,
        pooling=checkpoint.token_pooling(),
        similarity=similarity if similarity in _SIMILARITIES else "maxsim",
    )


def _marker(prefix: str, prompt: str, markers: tuple[str, ...]) -> tuple[str | None, str]:
    """A PyLate prefix as the marker to insert and the text to prepend.

    A prefix that is no token of the tokenizer was never one the model saw as such: it is text, before the prompt.
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
        raise settings.wrong("strategy", "'fixed' or 'min'")
    length = settings.whole("length")
    if length is None:
        raise settings.wrong("length", "given: how many tokens queries are filled up to")
    token = checkpoint.expansion_token(settings.text("token"))
    return Expansion(token, length, settings.flag("attend", False), cut=strategy == "fixed")


def _mask(checkpoint: Checkpoint) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    module = checkpoint.only("MultiVectorMask")
    if module is None:
        return (), (), ()
    settings = SettingsFile(checkpoint.folder / module.folder / "config.json", missing_ok=True)
    skip = checkpoint.skip_ids(settings.words("skiplist_words") or [])
    tasks = settings.words("skiplist_tasks")
    tasks = ["document"] if tasks is None else tasks
    only = settings.values.get("keep_only_token_ids") or []
    if not isinstance(only, list) or not all(isinstance(id_, int) and not isinstance(id_, bool) for id_ in only):
        raise settings.wrong("keep_only_token_ids", "a list of whole numbers")
    return skip if "document" in tasks else (), skip if "query" in tasks else (), tuple(only)


def _normalizes(checkpoint: Checkpoint) -> bool:
    for module in checkpoint.modules:
        if module.kind == "Normalize":
            settings = SettingsFile(checkpoint.folder / module.folder / "config.json", missing_ok=True)
            if settings.text("module_input_name", "sentence_embedding") == "token_embeddings":
                return True
    return False


def _only_text(transformer: SettingsFile) -> None:
    modalities = transformer.section("modality_config").values
    if modalities and "text" not in modalities:
        raise EncoderError(f"{transformer.path}: takes {', '.join(sorted(modalities))}; this version encodes text only")
    if "message" in modalities:
        raise EncoderError(f"{transformer.path}: puts texts into a chat template, which this version does not")
