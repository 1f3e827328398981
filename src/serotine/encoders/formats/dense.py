"""Dense encoders, whose token states before pooling are used as vectors, without late-interaction training."""

from __future__ import annotations

from serotine.encoders.formats.folder import Checkpoint
from serotine.encoders.settings import SettingsFile
from serotine.encoders.spec import EncoderSpec, Side
from serotine.errors import EncoderError

# Names of prompts in the order in which sentence-transformers' encode_query and encode_document try them.
_QUERY_PROMPTS = ("query",)
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")
_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


def read(checkpoint: Checkpoint) -> EncoderSpec:
    """Read a sentence-transformers checkpoint with a pooling module, or a plain transformers one.

    Raises:
        EncoderError: as `formats.read_checkpoint`.
    """
    pooled_by, keep_prompt = _pooling(checkpoint)
    prompts = checkpoint.settings.section("prompts")
    max_tokens = checkpoint.max_tokens()
    # Layers after the pooling are applied to every token; for affine layers after a mean that is the same.
    layers = checkpoint.projections()
    return EncoderSpec(
        name=checkpoint.name,
        folder=checkpoint.folder,
        origin="dense",
        dim=layers[-1].outputs if layers else checkpoint.hidden_size,
        query=Side(max_tokens, _prompt(prompts, _QUERY_PROMPTS), keep_prompt),
        document=Side(max_tokens, _prompt(prompts, _DOCUMENT_PROMPTS), keep_prompt),
        backbone=checkpoint.model_type,
        backbone_folder=checkpoint.backbone_folder,
        tokenizer=checkpoint.tokenizer_file,
        padding_left=checkpoint.pads_left,
        cut_left=checkpoint.truncates_left,
        lower_case=checkpoint.module_settings.flag("do_lower_case", False),
        projections=layers,
        pooled_by=pooled_by,
        pooled_similarity=_similarity(checkpoint),
        warning=_warning(checkpoint, pooled_by),
    )


def _prompt(prompts: SettingsFile, names: tuple[str, ...]) -> str:
    for name in names:
        prompt = prompts.text(name)
        if prompt is not None:
            return prompt
    return ""


def _pooling(checkpoint: Checkpoint) -> tuple[str | None, bool]:
    """Return the pooling mode, and whether the prompt's tokens are pooled too."""
    module = checkpoint.module("Pooling")
    if module is None:
        return None, True
    settings = SettingsFile(checkpoint.folder / module.folder / "config.json")
    keep_prompt = settings.flag("include_prompt", True)
    mode = settings.values.get("pooling_mode")
    if isinstance(mode, str):
        return mode, keep_prompt
    if isinstance(mode, list) and mode and all(isinstance(name, str) for name in mode):
        return "+".join(mode), keep_prompt
    modes = [name for key, name in _MODES.items() if settings.flag(key, key == "pooling_mode_mean_tokens")]
    if not modes:
        raise EncoderError(f"{settings.path}: no pooling mode is set")
    return "+".join(modes), keep_prompt


def _similarity(checkpoint: Checkpoint) -> str:
    """Return how the model compares texts; dot products of vectors of length 1 are cosines."""
    similarity = checkpoint.settings.text("similarity_fn_name") or "cosine"
    if similarity not in ("dot", "dot_product"):
        return similarity
    return "cosine" if any(module.kind == "Normalize" for module in checkpoint.modules) else "dot"


def _warning(checkpoint: Checkpoint, pooled_by: str | None) -> str:
    warning = (
        f"{checkpoint.name}: a dense encoder, without late-interaction training; its token states are used as they are "
        "(zero-shot late interaction)"
    )
    if pooled_by is not None and "mean" not in pooled_by:
        warning += (
            f"; it was trained for one vector per text ({pooled_by} pooling), so its other token states may not match "
            "between texts; evaluate it on your own texts first"
        )
    return warning
