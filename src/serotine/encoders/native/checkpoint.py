"""BERT's weights from a checkpoint of floating-point numbers, quantized; and which checkpoints that covers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.encoders.bert_names import MATRICES, NORMS
from serotine.encoders.int8 import quantize_rows
from serotine.encoders.native.weights import PANEL, BertLayer, BertWeights, Matrix, Norm, Words, stacked
from serotine.encoders.projection import folded_layers
from serotine.encoders.settings import SettingsFile
from serotine.encoders.spec import EncoderSpec
from serotine.encoders.weights import read_tensors, shapes, weight_files
from serotine.errors import EncoderError

# Model types whose tensors and arithmetic are BERT's.
MODEL_TYPES = ("bert", "roberta", "xlm-roberta")
# Names of GELU in configurations, and whether it is the tanh form.
_GELU = {"gelu": False, "gelu_new": True, "gelu_pytorch_tanh": True, "gelu_fast": True}


def reason_not_covered(spec: EncoderSpec) -> str | None:
    """Return why the native backend cannot run a checkpoint of weights, or None where it can."""
    if spec.backbone not in MODEL_TYPES:
        return f"model type {spec.backbone!r}; the native backend has {', '.join(MODEL_TYPES)}"
    config = SettingsFile(spec.backbone_path / "config.json").values
    hidden, heads = int(config.get("hidden_size", 0)), int(config.get("num_attention_heads", 0))
    if config.get("hidden_act", "gelu") not in _GELU:
        return f"activation {config['hidden_act']!r}; the native backend has {', '.join(_GELU)}"
    if config.get("position_embedding_type", "absolute") != "absolute":
        return f"position embeddings {config['position_embedding_type']!r}; the native backend has absolute ones"
    if config.get("is_decoder"):
        return "a decoder; the native backend has encoders"
    widths = {"hidden_size": hidden, "intermediate_size": int(config.get("intermediate_size", 0))}
    for name, width in widths.items():
        if width <= 0 or width % PANEL:
            return f"{name} {width}; the native backend has multiples of {PANEL}"
    if heads <= 0 or hidden % heads or (hidden // heads) % PANEL:
        return f"{heads} heads of {hidden} dimensions; the native backend has heads of a multiple of {PANEL}"
    return None


def read_checkpoint_weights(spec: EncoderSpec, vocabulary: int) -> BertWeights:
    """Load a checkpoint of floating-point weights and quantize it.

    Args:
        spec: what to load.
        vocabulary: number of the tokenizer's token ids; ids without an embedding get the mean of the others.

    Raises:
        EncoderError: the native backend does not cover it, or a tensor is missing, of the wrong shape or not finite.
    """
    uncovered = reason_not_covered(spec)
    if uncovered is not None:
        raise EncoderError(f"{spec.name}: {uncovered}; use backend='torch'")
    config = SettingsFile(spec.backbone_path / "config.json").values
    hidden = int(config["hidden_size"])
    tensors = _Tensors(spec)
    words = tensors.embeddings("word", int(config["vocab_size"]), hidden)
    if vocabulary > len(words):
        mean = words.mean(axis=0, dtype=np.float64).astype(np.float32)
        words = np.concatenate([words, np.tile(mean, (vocabulary - len(words), 1))])
    positions = tensors.embeddings("position", int(config["max_position_embeddings"]), hidden)
    types = tensors.embeddings("token_type", int(config.get("type_vocab_size", 2)), hidden)
    inner = int(config["intermediate_size"])
    layers = [tensors.layer(f"encoder.layer.{i}.", hidden, inner) for i in range(int(config["num_hidden_layers"]))]
    projections, activations = folded_layers(spec)
    return BertWeights(
        words=Words.from_rows(words),
        positions=np.ascontiguousarray(positions + types[0]),
        norm=tensors.norm("embeddings.LayerNorm", hidden),
        layers=layers,
        projections=projections,
        activations=activations,
        heads=int(config["num_attention_heads"]),
        intermediate=inner,
        epsilon=float(config.get("layer_norm_eps", 1e-12)),
        tanh=_GELU[config.get("hidden_act", "gelu")],
        first_position=first_position(spec.backbone, int(config.get("pad_token_id", 1))),
    )


def first_position(model_type: str, padding_id: int = 1) -> int:
    """Return the position of a text's first token: RoBERTa and XLM-R count from after the padding id."""
    return 0 if model_type == "bert" else padding_id + 1


def matrix_shape(name: str, hidden: int, inner: int) -> tuple[int, int]:
    """Return outputs and inputs of a matrix of `MATRICES`."""
    return {"feed_in": (inner, hidden), "feed_out": (hidden, inner)}.get(name, (hidden, hidden))


def bert_layer(matrices: Mapping[str, Matrix], norms: Mapping[str, Norm]) -> BertLayer:
    """Return a layer from its matrices and normalizations by their names in `MATRICES` and `NORMS`."""
    return BertLayer(
        stacked([matrices["query"], matrices["key"], matrices["value"]]),
        matrices["attention_out"],
        matrices["feed_in"],
        matrices["feed_out"],
        norms["attention_norm"],
        norms["feed_norm"],
    )


class _Tensors:
    """The backbone's tensors by their names without the prefix that some checkpoints have."""

    def __init__(self, spec: EncoderSpec) -> None:
        self._files: dict[str, Any] = {}
        for file in weight_files(spec.backbone_path):
            for stored in shapes(file):
                name = stored
                for prefix in ("model.", "bert.", "roberta."):
                    name = name.removeprefix(prefix)
                self._files[name] = (file, stored)
        self._folder = spec.backbone_path

    def read(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        if name not in self._files:
            raise EncoderError(f"{self._folder}: tensor {name!r} is missing; the checkpoint is incomplete")
        file, stored = self._files[name]
        values: NDArray[np.float32] = read_tensors(file, {stored: shape}, others=True)[stored]
        if not np.isfinite(values).all():
            raise EncoderError(f"{file}: tensor {stored!r} has values that are not finite; the weights are damaged")
        return values

    def embeddings(self, kind: str, rows: int, hidden: int) -> NDArray[np.float32]:
        return self.read(f"embeddings.{kind}_embeddings.weight", (rows, hidden))

    def layer(self, prefix: str, hidden: int, inner: int) -> BertLayer:
        matrices = {
            name: self.matrix(prefix + stored, matrix_shape(name, hidden, inner)) for name, stored in MATRICES.items()
        }
        norms = {name: self.norm(prefix + stored, hidden) for name, stored in NORMS.items()}
        return bert_layer(matrices, norms)

    def matrix(self, name: str, shape: tuple[int, int]) -> Matrix:
        levels, scales = quantize_rows(self.read(f"{name}.weight", shape))
        return Matrix.from_rows(levels, scales, self.read(f"{name}.bias", shape[:1]))

    def norm(self, name: str, hidden: int) -> Norm:
        return Norm(self.read(f"{name}.weight", (hidden,)), self.read(f"{name}.bias", (hidden,)))
