"""The families of checkpoints that the native backend covers: their configurations and the names of their tensors.

A configuration is covered if every value that changes the arithmetic is known here; anything else is left to torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from serotine.encoders.bert_names import MATRICES, NORMS
from serotine.encoders.native.architecture import Architecture
from serotine.encoders.rotary_roberta import ROTARY, ROTARY_ROBERTA, rotary_base

# Activations by their names in configurations.
_GELU = {"gelu": "GELU", "gelu_new": "GELUTanh", "gelu_pytorch_tanh": "GELUTanh", "gelu_fast": "GELUTanh"}
_SILU = {"silu": "SiLU", "swish": "SiLU"}
# The tables of rotary positions have as many rows.
_MAX_POSITIONS = 131_072
_GLOBAL, _LOCAL = "full_attention", "sliding_attention"
_ABSOLUTE = "absolute"


class NotCoveredError(ValueError):
    """A configuration that the native backend does not cover; the message says why."""


@dataclass(frozen=True, slots=True)
class Family:
    """Checkpoints of one kind.

    Attributes:
        model_types: their model types in transformers.
        architecture: reads a configuration.
        words: name of the word embeddings. Names leave out ".weight" and ".bias" and the prefixes below.
        layer: what the names of a layer's tensors start with; "{}" is its number.
        attention_in: matrices whose outputs are queries, keys and values, one after the other; each may have several.
        feed_in: matrices whose outputs are the feed-forward network's inner states; if gated, the activated half first.
        attention_out, feed_out: the other matrices.
        attention_norm, feed_norm: the normalizations.
        query_key_norms: those of queries and of keys, if any.
        embedding_norm, final_norm: those outside the layers, if any.
        positions, segments: the learned positions, and the vectors of token types, if any.
        position_kinds: values of "position_embedding_type" in configurations.
        prefixes: what tensors' names may start with.
    """

    model_types: tuple[str, ...]
    architecture: Callable[[Config], Architecture]
    words: str
    layer: str
    attention_in: tuple[str, ...]
    attention_out: str
    feed_in: tuple[str, ...]
    feed_out: str
    attention_norm: str
    feed_norm: str
    query_key_norms: tuple[str, str] | None = None
    embedding_norm: str | None = None
    final_norm: str | None = None
    positions: str | None = None
    segments: str | None = None
    position_kinds: tuple[str, ...] = (_ABSOLUTE,)
    prefixes: tuple[str, ...] = ("model.",)


class Config:
    """The values of a `config.json`, each checked when it is read.

    Args:
        model_type: the model type.
        values: the configuration.
    """

    def __init__(self, model_type: str, values: dict[str, Any]) -> None:
        self.model_type = model_type
        self.values = values

    def value(self, key: str, default: Any = None) -> Any:
        """Return a value; the default if it is absent or null."""
        value = self.values.get(key)
        return default if value is None else value

    def integer(self, key: str, default: int | None = None, *, minimum: int = 1) -> int:
        """Return an integer; without a default it must be present."""
        value = self.value(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise NotCoveredError(f"{key} {value!r}; the native backend needs an integer of at least {minimum}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """Return a number above 0; without a default it must be present."""
        return positive(key, self.value(key, default))

    def flag(self, key: str, default: bool = False) -> bool:
        """Return a boolean."""
        value = self.value(key, default)
        if not isinstance(value, bool):
            raise NotCoveredError(f"{key} {value!r}; the native backend needs true or false")
        return value

    def activation(self, key: str, names: dict[str, str], default: str) -> str:
        """Return an activation by the core's name."""
        value = self.value(key, default)
        if not isinstance(value, str) or value not in names:
            raise NotCoveredError(f"activation {value!r}; the native backend has {', '.join(names)}")
        return names[value]

    @property
    def vocabulary(self) -> int:
        """Number of word embeddings."""
        return self.integer("vocab_size")

    @property
    def token_types(self) -> int:
        """Number of embeddings of token types."""
        return self.integer("type_vocab_size", 2)

    def positions(self, default: int | None = None) -> int:
        """Return the number of positions."""
        positions = self.integer("max_position_embeddings", default)
        if positions > _MAX_POSITIONS:
            raise NotCoveredError(f"{positions} positions; the native backend has at most {_MAX_POSITIONS}")
        return positions

    def must_be(self, key: str, *allowed: Any) -> None:
        """Reject a value that is present but not one of those allowed."""
        value = self.value(key)
        if value is not None and value not in allowed:
            known = ", ".join(map(repr, allowed)) or "none"
            raise NotCoveredError(f"{key} {value!r}; the native backend has {known}")

    def rotary(self, section: dict[str, Any] | None, default: float | None) -> float:
        """Return the base of rotary positions from one section of `rope_parameters`."""
        section = {} if section is None else section
        if not isinstance(section, dict):
            raise NotCoveredError(f"rope_parameters {section!r}; the native backend needs an object")
        kind = section.get("rope_type", section.get("type", "default"))
        if kind != "default":
            raise NotCoveredError(f"rope_type {kind!r}; the native backend has 'default'")
        unknown = sorted(section.keys() - {"rope_theta", "rope_type", "type"})
        if unknown:
            raise NotCoveredError(f"rope_parameters with {unknown[0]!r}; the native backend has 'rope_theta' only")
        return positive("rope_theta", section.get("rope_theta", default))


def _equal_heads(config: Config) -> tuple[int, int]:
    """Return the width of the states and the number of heads that share it evenly."""
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    if hidden % heads:
        raise NotCoveredError(f"{heads} heads of {hidden} dimensions; the native backend needs a multiple")
    return hidden, heads


def positive(key: str, value: Any) -> float:
    """Return a number above 0, or raise `NotCoveredError`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise NotCoveredError(f"{key} {value!r}; the native backend needs a number above 0")
    return float(value)


def _bert(config: Config) -> Architecture:
    activation = config.activation("hidden_act", _GELU, "gelu")
    _require_encoder(config)
    hidden, heads = _equal_heads(config)
    first = first_position(config.model_type, config.integer("pad_token_id", 1, minimum=0))
    positions = config.positions()
    if positions <= first:
        raise NotCoveredError(f"{positions} positions of which texts begin at {first}; there is none left")
    return Architecture.bert(
        hidden=hidden,
        heads=heads,
        intermediate=config.integer("intermediate_size"),
        layers=config.integer("num_hidden_layers", minimum=0),
        positions=positions,
        epsilon=config.number("layer_norm_eps", 1e-12),
        tanh=activation == "GELUTanh",
        first_position=first,
    )


def _rotary_roberta(config: Config) -> Architecture:
    _require_encoder(config)
    hidden, heads = _equal_heads(config)
    try:
        theta = rotary_base(config.values)
    except ValueError as error:
        raise NotCoveredError(str(error)) from None
    if config.model_type == ROTARY_ROBERTA:
        theta = config.rotary(config.value("rope_parameters"), 20_000.0)
    return Architecture(
        hidden=hidden,
        heads=heads,
        key_value_heads=heads,
        head_dim=hidden // heads,
        intermediate=config.integer("intermediate_size"),
        longest=config.positions(8194),
        epsilon=config.number("layer_norm_eps", 1e-5),
        activation=config.activation("hidden_act", _GELU, "gelu"),
        local_layers=(False,) * config.integer("num_hidden_layers", minimum=0),
        theta=theta,
    )


def _modernbert(config: Config) -> Architecture:
    _require_encoder(config)
    hidden, heads = _equal_heads(config)
    config.must_be("head_dim", hidden // heads)
    config.must_be("rope_scaling")
    window = config.integer("local_attention", 128)
    config.must_be("sliding_window", window // 2)
    layers = config.integer("num_hidden_layers")
    every = config.integer("global_attn_every_n_layers", 3)
    rope = config.value("rope_parameters", {})
    if not isinstance(rope, dict) or rope.keys() - {_GLOBAL, _LOCAL}:
        raise NotCoveredError(f"rope_parameters {rope!r}; the native backend needs those of {_GLOBAL} and {_LOCAL}")
    return Architecture(
        hidden=hidden,
        heads=heads,
        key_value_heads=heads,
        head_dim=hidden // heads,
        intermediate=config.integer("intermediate_size"),
        longest=config.positions(8192),
        epsilon=config.number("norm_eps", 1e-5),
        activation=config.activation("hidden_activation", _GELU | _SILU, "gelu"),
        local_layers=_local_layers(config, [_LOCAL if i % every else _GLOBAL for i in range(layers)]),
        gated=True,
        pre_norm=True,
        theta=config.rotary(rope.get(_GLOBAL), config.number("global_rope_theta", 160_000.0)),
        local_theta=config.rotary(rope.get(_LOCAL), config.number("local_rope_theta", 10_000.0)),
        reach=window // 2,
        first_attention_norm=False,
        norm_bias=config.flag("norm_bias"),
        attention_bias=config.flag("attention_bias"),
        feed_bias=config.flag("mlp_bias"),
    )


def _qwen3(config: Config) -> Architecture:
    _require_encoder(config)
    config.must_be("is_causal", False)
    config.must_be("use_sliding_window", False)
    config.must_be("rope_scaling")
    heads, layers = config.integer("num_attention_heads"), config.integer("num_hidden_layers")
    local = _local_layers(config, [_GLOBAL] * layers)
    if any(local):
        raise NotCoveredError(f"layer_types with {_LOCAL!r}; the native backend has {_GLOBAL!r} in this model type")
    return Architecture(
        hidden=config.integer("hidden_size"),
        heads=heads,
        key_value_heads=config.integer("num_key_value_heads", heads),
        head_dim=config.integer("head_dim", 128),
        intermediate=config.integer("intermediate_size"),
        longest=config.positions(32_768),
        epsilon=config.number("rms_norm_eps", 1e-6),
        activation=config.activation("hidden_act", _SILU, "silu"),
        local_layers=local,
        gated=True,
        rms_norm=True,
        pre_norm=True,
        theta=config.rotary(config.value("rope_parameters"), config.value("rope_theta")),
        embedding_norm=False,
        norm_bias=False,
        attention_bias=config.flag("attention_bias"),
        feed_bias=False,
        query_key_norm=True,
    )


def _require_encoder(config: Config) -> None:
    if config.flag("is_decoder"):
        raise NotCoveredError("a decoder; the native backend has encoders")


def _local_layers(config: Config, default: list[str]) -> tuple[bool, ...]:
    kinds = config.value("layer_types", default)
    if not isinstance(kinds, list) or len(kinds) != len(default):
        raise NotCoveredError(f"layer_types {kinds!r}; the native backend needs one for each of {len(default)} layers")
    for kind in kinds:
        if kind not in (_GLOBAL, _LOCAL):
            raise NotCoveredError(f"layer type {kind!r}; the native backend has {_GLOBAL!r} and {_LOCAL!r}")
    return tuple(kind == _LOCAL for kind in kinds)


def first_position(model_type: str, padding_id: int = 1) -> int:
    """Return the position of a text's first token: RoBERTa and XLM-R count from after the padding id."""
    return 0 if model_type == "bert" else padding_id + 1


FAMILIES = (
    Family(
        model_types=("bert", "roberta", "xlm-roberta"),
        architecture=_bert,
        words="embeddings.word_embeddings",
        positions="embeddings.position_embeddings",
        segments="embeddings.token_type_embeddings",
        embedding_norm="embeddings.LayerNorm",
        layer="encoder.layer.{}.",
        attention_in=(MATRICES["query"], MATRICES["key"], MATRICES["value"]),
        attention_out=MATRICES["attention_out"],
        feed_in=(MATRICES["feed_in"],),
        feed_out=MATRICES["feed_out"],
        attention_norm=NORMS["attention_norm"],
        feed_norm=NORMS["feed_norm"],
        prefixes=("model.", "bert.", "roberta."),
    ),
    # In the layout of flash attention's own BERT.
    Family(
        model_types=("xlm-roberta", ROTARY_ROBERTA),
        architecture=_rotary_roberta,
        words="embeddings.word_embeddings",
        segments="embeddings.token_type_embeddings",
        position_kinds=(ROTARY,),
        embedding_norm="emb_ln",
        layer="encoder.layers.{}.",
        attention_in=("mixer.Wqkv",),
        attention_out="mixer.out_proj",
        feed_in=("mlp.fc1",),
        feed_out="mlp.fc2",
        attention_norm="norm1",
        feed_norm="norm2",
        prefixes=("model.", "roberta."),
    ),
    Family(
        model_types=("modernbert",),
        architecture=_modernbert,
        # Ettin's and mmBERT's is "sans_pos": the same model.
        position_kinds=(_ABSOLUTE, "sans_pos"),
        words="embeddings.tok_embeddings",
        embedding_norm="embeddings.norm",
        final_norm="final_norm",
        layer="layers.{}.",
        attention_in=("attn.Wqkv",),
        attention_out="attn.Wo",
        feed_in=("mlp.Wi",),
        feed_out="mlp.Wo",
        attention_norm="attn_norm",
        feed_norm="mlp_norm",
    ),
    Family(
        model_types=("bidirectional_pplx_qwen3",),
        architecture=_qwen3,
        words="embed_tokens",
        final_norm="norm",
        layer="layers.{}.",
        attention_in=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        attention_out="self_attn.o_proj",
        feed_in=("mlp.gate_proj", "mlp.up_proj"),
        feed_out="mlp.down_proj",
        attention_norm="input_layernorm",
        feed_norm="post_attention_layernorm",
        query_key_norms=("self_attn.q_norm", "self_attn.k_norm"),
    ),
)
MODEL_TYPES = tuple(dict.fromkeys(model_type for family in FAMILIES for model_type in family.model_types))


def family_of(config: Config) -> Family:
    """Return the family of a configuration.

    Raises:
        NotCoveredError: there is none.
    """
    families = [family for family in FAMILIES if config.model_type in family.model_types]
    if not families:
        known = ", ".join(MODEL_TYPES)
        raise NotCoveredError(f"model type {config.model_type!r}; the native backend has {known}")
    kind = config.value("position_embedding_type", ROTARY if config.model_type == ROTARY_ROBERTA else _ABSOLUTE)
    for family in families:
        if kind in family.position_kinds:
            return family
    known = ", ".join(repr(kind) for family in families for kind in family.position_kinds)
    raise NotCoveredError(f"position_embedding_type {kind!r}; the native backend has {known}")


def read_architecture(config: Config) -> Architecture:
    """Return the architecture of a checkpoint's configuration.

    Raises:
        NotCoveredError: a value is missing, or one that the native backend does not have.
    """
    architecture = family_of(config).architecture(config)
    uncovered = architecture.reason_not_covered()
    if uncovered is not None:
        raise NotCoveredError(uncovered)
    # Read here because a checkpoint without them is not covered.
    _ = config.vocabulary, config.token_types
    return architecture
