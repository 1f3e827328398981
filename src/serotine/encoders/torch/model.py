"""Backbone and projections as one torch module."""

from __future__ import annotations

import logging
import math
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from serotine.encoders.projection import Layer, read_layers
from serotine.encoders.projection import fold as fold_layers
from serotine.encoders.rotary_roberta import ROTARY_ROBERTA, is_rotary_roberta, rotary_base
from serotine.encoders.settings import DROPPED_KEYS, SettingsFile
from serotine.encoders.spec import EncoderSpec
from serotine.encoders.torch import qwen3
from serotine.encoders.weights import shapes, stanford_tensors, weight_files, without_heads
from serotine.errors import EncoderError, first_and_count, reason

_ACTIVATIONS = {"Identity": nn.Identity, "Tanh": nn.Tanh, "GELU": nn.GELU, "ReLU": nn.ReLU, "SiLU": nn.SiLU}
# Keys that count layers, blocks, groups or experts, each of which has tensors.
_COUNT_KEY = re.compile(r"(num|n)_\w*(layer|block|group|expert)s?|\w*layers")
_MIN_COUNT_LIMIT = 1000
# Ettin and mmBERT name ModernBERT's rotary positions "sans_pos".
_POSITION_KINDS = {"modernbert": ("absolute", "sans_pos")}
_SIZE_TOLERANCE = 10_000_000


class ProjectionLayer(nn.Module):
    """One projection: an affine map, an activation and an optional residual path."""

    def __init__(self, inputs: int, outputs: int, bias: bool, activation: str, residual: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=bias)
        self.activation = _ACTIVATIONS[activation]()
        self.residual = nn.Linear(inputs, outputs, bias=False) if residual else None

    def forward(self, states: Tensor) -> Tensor:
        """Map states (..., inputs) to (..., outputs)."""
        out: Tensor = self.activation(self.linear(states))
        return out if self.residual is None else out + self.residual(states)

    def weights(self) -> Layer:
        """Return copies of the current weight, bias and residual."""
        bias = None if self.linear.bias is None else _array(self.linear.bias)
        return _array(self.linear.weight), bias, None if self.residual is None else _array(self.residual.weight)


class TokenEncoder(nn.Module):
    """Token ids to token vectors, before they are scaled to length 1.

    Args:
        spec: what to load.
        vocabulary: number of the tokenizer's token ids; ids without an embedding get the mean of the others.
        fold: whether neighboring linear projections are merged.

    Raises:
        EncoderError: the weights do not match the configuration; the message names the first tensor that is missing,
            unexpected or of the wrong shape.
    """

    def __init__(self, spec: EncoderSpec, vocabulary: int, *, fold: bool = True) -> None:
        super().__init__()
        self.backbone = load_backbone(spec)
        _extend_embeddings(self.backbone, vocabulary)
        self.folded = fold
        activations = [layer.activation for layer in spec.projections]
        layers = read_layers(spec)
        if fold:
            layers, activations = fold_layers(layers, activations)
        self.projections = nn.ModuleList()
        for (weight, bias, residual), activation in zip(layers, activations, strict=True):
            layer = ProjectionLayer(
                weight.shape[1], weight.shape[0], bias is not None, activation, residual is not None
            )
            with torch.no_grad():
                layer.linear.weight.copy_(torch.from_numpy(weight))
                if bias is not None:
                    layer.linear.bias.copy_(torch.from_numpy(bias))
                if layer.residual is not None:
                    layer.residual.weight.copy_(torch.from_numpy(residual))
                    # Between equal dimensions it is the identity, which is not stored and so must not be trained.
                    layer.residual.weight.requires_grad_(weight.shape[0] != weight.shape[1])
            self.projections.append(layer)

    @property
    def token_types(self) -> int:
        """Number of the backbone's token types (`token_type_ids`)."""
        return int(getattr(self.backbone.config, "type_vocab_size", None) or 1)

    def layers(self) -> list[Layer]:
        """Return copies of the projections' current weights."""
        return [layer.weights() for layer in self.projections if isinstance(layer, ProjectionLayer)]

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Map ids and mask, int64 (batch, tokens), to vectors (batch, tokens, dim)."""
        states: Tensor = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        for layer in self.projections:
            states = layer(states)
        return states


def _array(weight: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = weight.detach().float().cpu().numpy()
    return array


def load_backbone(spec: EncoderSpec) -> Any:
    """Load the transformers model of a checkpoint in float32, for inference; every weight must be present."""
    import transformers
    from transformers import CONFIG_MAPPING

    qwen3.register_qwen3()
    folder = spec.backbone_path
    weight_files(folder)
    stored = SettingsFile(folder / "config.json")
    model_type, values = _configuration(stored, spec.backbone)
    if model_type not in CONFIG_MAPPING:
        raise EncoderError(
            f"{stored.path}: model type {model_type!r} is unknown to transformers {transformers.__version__}; "
            "code that comes with a checkpoint is never run"
        )
    config_class = CONFIG_MAPPING[model_type]
    # Text models only: some models of images and sound download their parts.
    text_mappings = (
        transformers.MODEL_FOR_MASKED_LM_MAPPING,
        transformers.MODEL_FOR_CAUSAL_LM_MAPPING,
        transformers.MODEL_FOR_TEXT_ENCODING_MAPPING,
        transformers.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    )
    if config_class is not qwen3.PPLXQwen3Config and not any(config_class in mapping for mapping in text_mappings):
        raise EncoderError(f"{stored.path}: model type {spec.backbone!r} is not a text model")
    if stored.values.get("quantization_config") is not None:
        raise EncoderError(f"{stored.path}: quantized weights are not supported; use the float checkpoint")
    logger = logging.getLogger("transformers")
    level = logger.level
    progress_bar_enabled = transformers.utils.logging.is_progress_bar_enabled()
    try:
        # transformers logs weights that differ; here they are errors.
        logger.setLevel(logging.CRITICAL)
        transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = config_class.from_dict(values)
            config.use_cache = False
            # Only the encoder of an encoder-decoder such as T5.
            encoder_only = config_class in transformers.MODEL_FOR_TEXT_ENCODING_MAPPING
            auto = transformers.AutoModelForTextEncoding if encoder_only else transformers.AutoModel
            _check_size(folder, config, auto)
            model, loading = auto.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                # Attention is left to transformers: torch's own (sdpa) unless the model, such as MPNet, lacks it.
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                # Reported below; the library's own error does not name the tensor.
                ignore_mismatched_sizes=True,
            )
    except EncoderError:
        raise
    # A malformed configuration can raise any exception inside the library.
    except Exception as error:
        raise EncoderError(f"{folder}: transformers cannot load it ({reason(error)})") from None
    finally:
        logger.setLevel(level)
        if progress_bar_enabled:
            transformers.utils.logging.enable_progress_bar()  # type: ignore[no-untyped-call]
    projection = stanford_tensors(stored.strings("architectures"))
    missing = without_heads(loading["missing_keys"])
    if missing:
        raise EncoderError(f"{folder}: tensor {first_and_count(missing)} is missing; the checkpoint is incomplete")
    unexpected = without_heads(set(loading["unexpected_keys"]) - projection)
    if unexpected:
        raise EncoderError(
            f"{folder}: tensor {first_and_count(unexpected)} is unexpected; ignoring it would change the vectors"
        )
    for name, stored_shape, expected in sorted(loading.get("mismatched_keys") or ()):
        actual, required = ("x".join(map(str, shape)) for shape in (stored_shape, expected))
        raise EncoderError(f"{folder}: tensor {name!r} must be {required} by config.json, got {actual}")
    return model.eval()


def _configuration(stored: SettingsFile, model_type: str) -> tuple[str, dict[str, Any]]:
    """Return the model type in transformers, and the configuration without what could run code or change the result."""
    values = {key: value for key, value in stored.values.items() if key not in DROPPED_KEYS and not key.startswith("_")}
    for name in stored.strings("architectures") or ():
        if "Bidirectional" in name and "bidirectional" not in model_type:
            raise EncoderError(
                f"{stored.path}: 'architectures' names {name!r}, whose own code makes the causal {model_type!r} "
                "bidirectional; code that comes with a checkpoint is never run"
            )
    if is_rotary_roberta(model_type, values):
        try:
            base = rotary_base(values)
        except ValueError as error:
            raise EncoderError(f"{stored.path}: {error}") from None
        del values["position_embedding_type"]
        rope = {"rope_type": "default", "rope_theta": base}
        return ROTARY_ROBERTA, values | {"model_type": ROTARY_ROBERTA, "rope_parameters": rope}
    # transformers silently ignores other kinds, which need a checkpoint's own code.
    kinds = _POSITION_KINDS.get(model_type, ("absolute",))
    positions = stored.text("position_embedding_type", "absolute")
    if positions not in kinds:
        raise EncoderError(
            f"{stored.path}: 'position_embedding_type' must be {' or '.join(map(repr, kinds))}, got {positions!r}; "
            "code that comes with a checkpoint is never run"
        )
    return model_type, values


def _check_size(folder: Path, config: Any, auto: Any) -> None:
    """Reject a configuration of a model far larger than the files, before its memory is allocated."""
    tensors: dict[str, tuple[int, ...]] = {}
    for file in weight_files(folder):
        tensors |= shapes(file)
    for key, value in config.to_dict().items():
        if isinstance(value, int) and value > max(len(tensors), _MIN_COUNT_LIMIT) and _COUNT_KEY.fullmatch(key):
            raise EncoderError(
                f"{folder}: {key!r} in config.json is {value}, but the files have {len(tensors)} tensors"
            )
    with torch.device("meta"):
        expected = sum(parameter.numel() for parameter in auto.from_config(config).parameters())
    stored = sum(map(math.prod, tensors.values()))
    if expected > 2 * stored + _SIZE_TOLERANCE:
        raise EncoderError(f"{folder}: config.json needs {expected:,} weights, but the files have {stored:,}")


def _extend_embeddings(model: Any, vocabulary: int) -> None:
    """Give every token id an embedding; tokens added after training get the mean of the others."""
    rows = model.get_input_embeddings().weight.shape[0]
    if rows >= vocabulary:
        return
    mean = model.get_input_embeddings().weight.detach().mean(dim=0)
    model.resize_token_embeddings(vocabulary, mean_resizing=False)
    with torch.no_grad():
        model.get_input_embeddings().weight[rows:] = mean
