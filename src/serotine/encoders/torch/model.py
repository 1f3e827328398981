"""Backbone and projections as one torch module."""

from __future__ import annotations

import logging
import math
import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from serotine.encoders.projection import Layer, read_layers
from serotine.encoders.projection import fold as fold_layers
from serotine.encoders.settings import DROPPED, SettingsFile
from serotine.encoders.spec import EncoderSpec
from serotine.encoders.torch import qwen3
from serotine.encoders.weights import shapes, weight_files
from serotine.errors import EncoderError, reason

_ACTIVATIONS = {"Identity": nn.Identity, "Tanh": nn.Tanh, "GELU": nn.GELU, "ReLU": nn.ReLU, "SiLU": nn.SiLU}
# Parts of a pre-trained model that give no token states: not missed, and not in the way.
_HEADS = ("pooler.", "cls.", "lm_head.", "decoder.", "head.", "classifier.", "vocab_transform.", "vocab_layer_norm.")
_HEADS_AFTER = ("position_ids", "vocab_projector.weight", "vocab_projector.bias")
# Transformers numbers positions of its own in these, and forgets without a word what else a configuration asks for.
_POSITIONS = "position_embedding_type"
_COUNT = re.compile(r"(num|n)_\w*(layer|block|group|expert)s?|\w*layers")
_FEW = 1000
_SMALL = 10_000_000
_STANFORD = "HF_ColBERT"


class Projected(nn.Module):
    """One projection: an affine map, an activation, and a residual path if there is one."""

    def __init__(self, inputs: int, outputs: int, bias: bool, activation: str, residual: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=bias)
        self.activation = _ACTIVATIONS[activation]()
        self.residual = nn.Linear(inputs, outputs, bias=False) if residual else None

    def forward(self, states: Tensor) -> Tensor:
        """States (..., inputs) to (..., outputs)."""
        out: Tensor = self.activation(self.linear(states))
        return out if self.residual is None else out + self.residual(states)

    def weights(self) -> Layer:
        """Weight, bias and residual as they are now."""
        bias = None if self.linear.bias is None else _array(self.linear.bias)
        return _array(self.linear.weight), bias, None if self.residual is None else _array(self.residual.weight)


class TokenEncoder(nn.Module):
    """Token ids to token vectors, before they are scaled to length 1.

    Args:
        spec: what to load.
        vocabulary: how many token ids the tokenizer has; where the last of them have no embedding, they get the mean of
            the others.
        fold: whether neighbouring linear projections become one.

    Raises:
        EncoderError: the checkpoint's weights are not those of its configuration; the message names the first tensor
            that is missing, misshapen or left over.
    """

    def __init__(self, spec: EncoderSpec, vocabulary: int, *, fold: bool = True) -> None:
        super().__init__()
        self.backbone = load_backbone(spec)
        _lengthen(self.backbone, vocabulary)
        self.folded = fold
        activations = [layer.activation for layer in spec.projections]
        layers = read_layers(spec)
        if fold:
            layers, activations = fold_layers(layers, activations)
        self.projections = nn.ModuleList()
        for (weight, bias, residual), activation in zip(layers, activations, strict=True):
            layer = Projected(weight.shape[1], weight.shape[0], bias is not None, activation, residual is not None)
            with torch.no_grad():
                layer.linear.weight.copy_(torch.from_numpy(weight))
                if bias is not None:
                    layer.linear.bias.copy_(torch.from_numpy(bias))
                if layer.residual is not None:
                    layer.residual.weight.copy_(torch.from_numpy(residual))
                    # Between equal dimensions it is the identity: nothing is stored of it, so nothing may learn there.
                    layer.residual.weight.requires_grad_(weight.shape[0] != weight.shape[1])
            self.projections.append(layer)

    @property
    def segments(self) -> int:
        """How many kinds of segments the backbone tells apart (`token_type_ids`)."""
        return int(getattr(self.backbone.config, "type_vocab_size", None) or 1)

    def layers(self) -> list[Layer]:
        """The projections' weights as they are now."""
        return [layer.weights() for layer in self.projections if isinstance(layer, Projected)]

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Ids and mask (batch, tokens), int64, to vectors (batch, tokens, dim)."""
        states: Tensor = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        for layer in self.projections:
            states = layer(states)
        return states


def _array(weight: Tensor) -> NDArray[np.float32]:
    found: NDArray[np.float32] = weight.detach().float().cpu().numpy()
    return found


def load_backbone(spec: EncoderSpec) -> Any:
    """The transformers model of a checkpoint, its weights complete, in float32, ready for inference."""
    import transformers
    from transformers import CONFIG_MAPPING

    qwen3.register_qwen3()
    folder = spec.backbone_path
    weight_files(folder)
    if (folder / "adapter_config.json").is_file():
        raise EncoderError(
            f"{folder}: is an adapter without its base model; merge it (merge_and_unload) and save again"
        )
    stored = SettingsFile(folder / "config.json")
    if spec.backbone not in CONFIG_MAPPING:
        raise EncoderError(
            f"{stored.path}: model type {spec.backbone!r} is not one of transformers {transformers.__version__}; "
            "code that comes with a checkpoint is never run"
        )
    kind = CONFIG_MAPPING[spec.backbone]
    # A list of the library's own, without the models of images and sound, some of which fetch what they are made of.
    texts = (
        transformers.MODEL_FOR_MASKED_LM_MAPPING,
        transformers.MODEL_FOR_CAUSAL_LM_MAPPING,
        transformers.MODEL_FOR_TEXT_ENCODING_MAPPING,
        transformers.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    )
    if kind is not qwen3.PPLXQwen3Config and not any(kind in models for models in texts):
        raise EncoderError(f"{stored.path}: model type {spec.backbone!r} is no model of text")
    if stored.values.get("quantization_config") is not None:
        raise EncoderError(f"{stored.path}: the weights are quantized by another library; use the float checkpoint")
    positions = stored.text(_POSITIONS, "absolute")
    if positions != "absolute":
        raise EncoderError(
            f"{stored.path}: asks for {positions!r} positions, which transformers' own {spec.backbone!r} has not; "
            "code that comes with a checkpoint is never run"
        )
    values = {key: value for key, value in stored.values.items() if key not in DROPPED and not key.startswith("_")}
    loader = logging.getLogger("transformers")
    level = loader.level
    shown = transformers.utils.logging.is_progress_bar_enabled()
    try:
        # What it says of weights that differ is said here, as an error.
        loader.setLevel(logging.CRITICAL)
        transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = kind.from_dict(values)
            config.use_cache = False
            # Of an encoder and a decoder, T5 for example, the encoder.
            encodes = kind in transformers.MODEL_FOR_TEXT_ENCODING_MAPPING
            auto = transformers.AutoModelForTextEncoding if encodes else transformers.AutoModel
            _check_size(folder, config, auto)
            model, loading = auto.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                # Attention is torch's own (sdpa) where the library has it for the model; MPNet, for one, has none.
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                # Said below, with the tensor's name: the library's own error does not tell it.
                ignore_mismatched_sizes=True,
            )
    except EncoderError:
        raise
    # A configuration made to break something can raise anything at all inside the library.
    except Exception as error:
        raise EncoderError(f"{folder}: transformers cannot load it ({reason(error)})") from None
    finally:
        loader.setLevel(level)
        if shown:
            transformers.utils.logging.enable_progress_bar()  # type: ignore[no-untyped-call]
    # The projection of a Stanford checkpoint; also of one that has PyLate's modules besides, which hold it again.
    own = {"linear.weight"} if _STANFORD in (stored.words("architectures") or []) else set()
    _complain(folder, "is missing from", _counted(loading["missing_keys"], set()))
    _complain(folder, "belongs to nothing in", _counted(loading["unexpected_keys"], own))
    for name, stored_shape, expected in sorted(loading.get("mismatched_keys") or ()):
        sizes = ["x".join(map(str, shape)) for shape in (stored_shape, expected)]
        raise EncoderError(f"{folder}: tensor {name!r} must be {sizes[1]} by its configuration, got {sizes[0]}")
    return model.eval()


def _check_size(folder: Path, config: Any, auto: Any) -> None:
    """Refuses a configuration of something far larger than the files hold, before memory is taken for it."""
    held: dict[str, tuple[int, ...]] = {}
    for file in weight_files(folder):
        held |= shapes(file)
    for key, value in config.to_dict().items():
        if isinstance(value, int) and value > max(len(held), _FEW) and _COUNT.fullmatch(key):
            raise EncoderError(f"{folder}: its configuration says {key} {value}, its files hold {len(held)} tensors")
    with torch.device("meta"):
        expected = sum(parameter.numel() for parameter in auto.from_config(config).parameters())
    stored = sum(map(math.prod, held.values()))
    if expected > 2 * stored + _SMALL:
        raise EncoderError(f"{folder}: its configuration needs {expected:,} numbers, its files have {stored:,}")


def _counted(names: Iterable[str], own: set[str]) -> list[str]:
    kept = []
    for name in sorted(names):
        bare = name
        for prefix in ("bert.", "roberta.", "model.", "distilbert.", "electra."):
            bare = bare.removeprefix(prefix)
        if name not in own and not bare.startswith(_HEADS) and not bare.endswith(_HEADS_AFTER):
            kept.append(name)
    return kept


def _complain(folder: Any, what: str, names: list[str]) -> None:
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise EncoderError(
            f"{folder}: tensor {names[0]!r}{more} {what} the checkpoint's model; it would be lost in silence"
        )


def _lengthen(model: Any, vocabulary: int) -> None:
    """Gives every token id an embedding: tokens that were added after training get the mean of the others."""
    have = model.get_input_embeddings().weight.shape[0]
    if have >= vocabulary:
        return
    mean = model.get_input_embeddings().weight.detach().mean(dim=0)
    model.resize_token_embeddings(vocabulary, mean_resizing=False)
    with torch.no_grad():
        model.get_input_embeddings().weight[have:] = mean
