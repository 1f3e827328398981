"""BERT's weights in 8 bits: the matrices with one scale per output, the word vectors with one per word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.encoders.bert_names import MATRICES, NORMS
from serotine.encoders.int8 import quantize_rows
from serotine.encoders.projection import Layer, folded_layers
from serotine.encoders.settings import SettingsFile
from serotine.encoders.spec import EncoderSpec
from serotine.encoders.weights import read_tensors, shapes, weight_files
from serotine.errors import EncoderError

# Model types whose tensors and arithmetic are BERT's, and the padding id from which positions are counted.
MODEL_TYPES = ("bert", "roberta", "xlm-roberta")
# Names of GELU in configurations, and whether it is the tanh form.
_GELU = {"gelu": False, "gelu_new": True, "gelu_pytorch_tanh": True, "gelu_fast": True}
# The core's panels have 32 columns.
_WIDTH = 32


@dataclass(frozen=True, slots=True)
class Matrix:
    """An 8-bit matrix.

    Attributes:
        levels: int8 (outputs, inputs), -127 to 127.
        scales: float32 (outputs,): an entry is its level times the scale of its row.
        bias: float32 (outputs,).
    """

    levels: NDArray[np.int8]
    scales: NDArray[np.float32]
    bias: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Norm:
    """A layer normalization: gain and bias, float32 (hidden,)."""

    gain: NDArray[np.float32]
    bias: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class BertLayer:
    """One layer.

    Attributes:
        matrices: in the order of `MATRICES`.
        norms: in the order of `NORMS`.
    """

    matrices: tuple[Matrix, ...]
    norms: tuple[Norm, ...]


@dataclass(frozen=True, slots=True)
class BertWeights:
    """Everything that the native forward pass computes with.

    Attributes:
        words: int8 (vocabulary, hidden); may be a view of a file.
        word_scales: float32 (vocabulary,).
        positions: float32 (positions, hidden), the vector of token type 0 added.
        norm: of the embeddings.
        layers: the layers, first to last.
        projections: the layers between states and vectors.
        activations: of the projections.
        heads: attention heads.
        epsilon: of the normalizations.
        tanh: whether GELU is the tanh form.
        first_position: position of a text's first token.
    """

    words: NDArray[np.int8]
    word_scales: NDArray[np.float32]
    positions: NDArray[np.float32]
    norm: Norm
    layers: list[BertLayer]
    projections: list[Layer]
    activations: list[str]
    heads: int
    epsilon: float
    tanh: bool
    first_position: int

    @property
    def intermediate(self) -> int:
        """Width of the feed-forward networks."""
        return len(self.layers[0].matrices[list(MATRICES).index("feed_in")].scales) if self.layers else _WIDTH


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
        if width <= 0 or width % _WIDTH:
            return f"{name} {width}; the native backend has multiples of {_WIDTH}"
    if heads <= 0 or hidden % heads or (hidden // heads) % _WIDTH:
        return f"{heads} heads of {hidden} dimensions; the native backend has heads of a multiple of {_WIDTH}"
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
    levels, scales = quantize_rows(words)
    positions = tensors.embeddings("position", int(config["max_position_embeddings"]), hidden)
    types = tensors.embeddings("token_type", int(config.get("type_vocab_size", 2)), hidden)
    inner = int(config["intermediate_size"])
    square = (hidden, hidden)
    matrix_shapes = dict(zip(MATRICES, (square, square, square, square, (inner, hidden), (hidden, inner)), strict=True))
    layers = []
    for number in range(int(config["num_hidden_layers"])):
        prefix = f"encoder.layer.{number}."
        matrices = tuple(tensors.matrix(prefix + MATRICES[name], shape) for name, shape in matrix_shapes.items())
        layers.append(BertLayer(matrices, tuple(tensors.norm(prefix + stored, hidden) for stored in NORMS.values())))
    projections, activations = folded_layers(spec)
    return BertWeights(
        words=levels,
        word_scales=scales,
        positions=np.ascontiguousarray(positions + types[0]),
        norm=tensors.norm("embeddings.LayerNorm", hidden),
        layers=layers,
        projections=projections,
        activations=activations,
        heads=int(config["num_attention_heads"]),
        epsilon=float(config.get("layer_norm_eps", 1e-12)),
        tanh=_GELU[config.get("hidden_act", "gelu")],
        first_position=0 if spec.backbone == "bert" else int(config.get("pad_token_id", 1)) + 1,
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

    def matrix(self, name: str, shape: tuple[int, int]) -> Matrix:
        return Matrix(*quantize_rows(self.read(f"{name}.weight", shape)), self.read(f"{name}.bias", shape[:1]))

    def norm(self, name: str, hidden: int) -> Norm:
        return Norm(self.read(f"{name}.weight", (hidden,)), self.read(f"{name}.bias", (hidden,)))
