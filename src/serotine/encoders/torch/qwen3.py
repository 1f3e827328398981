"""Qwen3 as a bidirectional encoder (Perplexity's `bidirectional_pplx_qwen3`).

A Qwen3 decoder, with its per-head RMSNorm of queries and keys, whose attention mask hides only padding. It is not built
on transformers' Qwen3, whose mask arguments change between releases: a mask it ignores would silently leave the model
causal.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel, Qwen3Config
from transformers.modeling_outputs import BaseModelOutput

from serotine.errors import invalid

MODEL_TYPE = "bidirectional_pplx_qwen3"
_ROPE_THETA = 1e6


class PPLXQwen3Config(Qwen3Config):  # type: ignore[no-untyped-call]
    """Qwen3's configuration under Perplexity's model type."""

    model_type = MODEL_TYPE


def _rope_theta(config: PreTrainedConfig) -> float:
    # transformers 5 moved `rope_theta` into `rope_parameters`.
    parameters = getattr(config, "rope_parameters", None) or {}
    theta = parameters.get("rope_theta", getattr(config, "rope_theta", None))
    return float(theta if theta is not None else _ROPE_THETA)


def _check(config: PPLXQwen3Config) -> None:
    """Raise ValueError for settings that this model would otherwise ignore."""
    if config.hidden_act != "silu":
        raise invalid("hidden_act", f"'silu' in {MODEL_TYPE}", config.hidden_act)
    rope_type = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    if rope_type != "default":
        raise invalid("rope_type", f"'default' in {MODEL_TYPE}", rope_type)
    if config.use_sliding_window:
        raise invalid("use_sliding_window", f"false in {MODEL_TYPE}", config.use_sliding_window)
    if _rope_theta(config) <= 0:
        raise invalid("rope_theta", "above 0", _rope_theta(config))


class RMSNorm(nn.Module):
    """Root mean square normalization (Zhang and Sennrich 2019), computed in float32."""

    def __init__(self, size: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.epsilon = epsilon

    def forward(self, states: Tensor) -> Tensor:
        """Normalize states (..., size) over the last dimension."""
        scaled = states.float()
        scaled = scaled * torch.rsqrt(scaled.square().mean(-1, keepdim=True) + self.epsilon)
        return self.weight * scaled.to(states.dtype)


def _rotate(states: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Apply rotary position embedding (Su et al. 2021), halves paired, to states (batch, heads, tokens, head_dim)."""
    half = states.shape[-1] // 2
    rotated = torch.cat((-states[..., half:], states[..., :half]), dim=-1)
    return states * cosine + rotated * sine


class Attention(nn.Module):
    """Grouped-query attention to all tokens except padding."""

    def __init__(self, config: PPLXQwen3Config) -> None:
        super().__init__()
        # head_dim does not follow from hidden_size: published models have 16 heads of 128 in states of 1,024.
        self.head_dim = int(config.head_dim)
        self.heads = int(config.num_attention_heads)
        self.key_heads = int(config.num_key_value_heads or config.num_attention_heads)
        size, bias = int(config.hidden_size), bool(config.attention_bias)
        self.q_proj = nn.Linear(size, self.heads * self.head_dim, bias=bias)
        self.k_proj = nn.Linear(size, self.key_heads * self.head_dim, bias=bias)
        self.v_proj = nn.Linear(size, self.key_heads * self.head_dim, bias=bias)
        self.o_proj = nn.Linear(self.heads * self.head_dim, size, bias=bias)
        self.q_norm = RMSNorm(self.head_dim, config.rms_norm_eps)
        self.k_norm = RMSNorm(self.head_dim, config.rms_norm_eps)

    def forward(self, states: Tensor, cosine: Tensor, sine: Tensor, mask: Tensor) -> Tensor:
        """Apply attention to states (batch, tokens, size); `mask` (batch, 1, 1, tokens) is added to the scores."""
        batch, tokens, _ = states.shape
        q = self.q_norm(self.q_proj(states).view(batch, tokens, self.heads, self.head_dim)).transpose(1, 2)
        k = self.k_norm(self.k_proj(states).view(batch, tokens, self.key_heads, self.head_dim)).transpose(1, 2)
        v = self.v_proj(states).view(batch, tokens, self.key_heads, self.head_dim).transpose(1, 2)
        q, k = _rotate(q, cosine, sine), _rotate(k, cosine, sine)
        group = self.heads // self.key_heads
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        attended = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        merged: Tensor = self.o_proj(attended.transpose(1, 2).reshape(batch, tokens, self.heads * self.head_dim))
        return merged


class FeedForward(nn.Module):
    """Gated feed-forward layer (SwiGLU)."""

    def __init__(self, config: PPLXQwen3Config) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, states: Tensor) -> Tensor:
        """Apply the feed-forward layer to states (batch, tokens, size)."""
        out: Tensor = self.down_proj(nn.functional.silu(self.gate_proj(states)) * self.up_proj(states))
        return out


class Layer(nn.Module):
    """Attention and feed-forward, each after a norm and with a residual connection."""

    def __init__(self, config: PPLXQwen3Config) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = FeedForward(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, states: Tensor, cosine: Tensor, sine: Tensor, mask: Tensor) -> Tensor:
        """Apply the layer to states (batch, tokens, size)."""
        states = states + self.self_attn(self.input_layernorm(states), cosine, sine, mask)
        out: Tensor = states + self.mlp(self.post_attention_layernorm(states))
        return out


class PPLXQwen3Model(PreTrainedModel):  # type: ignore[no-untyped-call]
    """The bidirectional Qwen3 backbone, with the tensor names of the published checkpoints."""

    config_class = PPLXQwen3Config
    base_model_prefix = "model"
    _supports_sdpa = True
    _no_split_modules = ["Layer"]  # noqa: RUF012  # as transformers declares it

    def __init__(self, config: PPLXQwen3Config) -> None:
        super().__init__(config)
        _check(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_init()  # type: ignore[no-untyped-call]

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the token embeddings."""
        return self.embed_tokens

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the token embeddings."""
        self.embed_tokens = cast(nn.Embedding, value)

    def _init_weights(self, module: nn.Module) -> None:
        deviation = float(self.config.initializer_range)
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=deviation)
        elif isinstance(module, RMSNorm):
            nn.init.ones_(module.weight)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **unused: Any) -> BaseModelOutput:
        """Return token states.

        Args:
            input_ids: int64 (batch, tokens).
            attention_mask: (batch, tokens), 0 for tokens that are hidden; none are by default.
            unused: arguments that transformers passes to every model, such as `return_dict` and `token_type_ids`.

        Returns:
            `last_hidden_state` (batch, tokens, hidden_size).
        """
        states = self.embed_tokens(input_ids)
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        # The lowest finite value instead of -inf, with which a fully masked row would become NaN.
        lowest = torch.finfo(states.dtype).min
        mask = (1.0 - attention_mask[:, None, None, :].to(states.dtype)) * lowest
        cosine, sine = self._rotations(input_ids.shape[1], states)
        for layer in self.layers:
            states = layer(states, cosine, sine, mask)
        return BaseModelOutput(last_hidden_state=self.norm(states))

    def _rotations(self, tokens: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return cosine and sine (tokens, head_dim) of every position's rotation, computed in float32."""
        half = torch.arange(0, self.config.head_dim, 2, device=like.device, dtype=torch.float32)
        frequencies = 1.0 / (_rope_theta(self.config) ** (half / self.config.head_dim))
        angles = torch.arange(tokens, device=like.device, dtype=torch.float32)[:, None] * frequencies[None, :]
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


def register_qwen3() -> None:
    """Register the model with transformers' Auto classes, and so sentence-transformers, without remote code."""
    AutoConfig.register(MODEL_TYPE, PPLXQwen3Config, exist_ok=True)
    AutoModel.register(PPLXQwen3Config, PPLXQwen3Model, exist_ok=True)
