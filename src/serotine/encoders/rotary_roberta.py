"""XLM-R with rotary positions (jina-colbert-v2): what its configuration says that transformers' own XLM-R lacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ROTARY = "rotary"
ROTARY_ROBERTA = "jina_embeddings_v3"
"""transformers' model type of the same model, which has its settings under other names."""
_DEFAULT_BASE = 10_000.0


def is_rotary_roberta(model_type: str, values: Mapping[str, Any]) -> bool:
    """Return whether a configuration is of this kind.

    Args:
        model_type: the model type.
        values: the configuration.
    """
    return model_type == "xlm-roberta" and values.get("position_embedding_type") == ROTARY


def rotary_base(values: Mapping[str, Any]) -> float:
    """Return the base of the rotary positions (Su et al. 2021), which fill each head, its halves paired.

    Args:
        values: the configuration.

    Raises:
        ValueError: a setting asks for other positions, or for adapters, which are not in the plain weights.
    """
    hidden, heads = values.get("hidden_size"), values.get("num_attention_heads")
    head_dim = hidden / heads if type(hidden) is int and type(heads) is int and heads else None
    supported: dict[str, tuple[Any, ...]] = {
        "rotary_emb_dim": (head_dim,),
        "rotary_emb_scale_base": (),
        "rotary_emb_interleaved": (False,),
        "lora_adaptations": ([],),
    }
    for key, allowed in supported.items():
        value = values.get(key)
        if value is not None and value not in allowed:
            raise ValueError(f"{key} {value!r}: not supported with rotary positions")
    base = values.get("rotary_emb_base")
    base = _DEFAULT_BASE if base is None else base
    if isinstance(base, bool) or not isinstance(base, (int, float)) or not 0 < base < float("inf"):
        raise ValueError(f"rotary_emb_base {base!r}: must be a number above 0")
    return float(base)
