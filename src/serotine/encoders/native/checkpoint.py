"""A model's weights from a checkpoint of floating-point numbers, quantized; and which checkpoints that covers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.encoders.int8 import quantize_rows
from serotine.encoders.native.architecture import Architecture
from serotine.encoders.native.families import Config, NotCoveredError, family_of, read_architecture
from serotine.encoders.native.weights import Matrix, Norm, TransformerLayer, TransformerWeights, Words
from serotine.encoders.projection import folded_layers
from serotine.encoders.settings import SettingsFile
from serotine.encoders.spec import EncoderSpec
from serotine.encoders.weights import read_tensors, shapes, stanford_tensors, weight_files, without_heads
from serotine.errors import EncoderError, first_and_count
from serotine.wording import local_fix


def reason_not_covered(spec: EncoderSpec) -> str | None:
    """Return why the native backend cannot run a checkpoint of weights, or None where it can."""
    try:
        config = _config(spec)
        if config.value("quantization_config") is not None:
            return "quantized weights; the native backend needs floating-point ones"
        read_architecture(config)
    except NotCoveredError as error:
        return str(error)
    return None


def read_checkpoint_weights(spec: EncoderSpec, vocabulary: int) -> TransformerWeights:
    """Load a checkpoint of floating-point weights and quantize it.

    Args:
        spec: what to load.
        vocabulary: number of the tokenizer's token ids; ids without an embedding get the mean of the others.

    Raises:
        EncoderError: the native backend does not cover it, or a tensor is missing, unexpected, of the wrong shape or
            not finite.
    """
    uncovered = reason_not_covered(spec)
    if uncovered is not None:
        fix = local_fix("use backend='torch'")
        raise EncoderError(f"{spec.name}: {uncovered}; {fix}")
    config = _config(spec)
    architecture = read_architecture(config)
    tensors = _Tensors(spec, config, architecture)
    words = tensors.words(vocabulary)
    positions = tensors.positions()
    embedding_norm, final_norm = tensors.outer_norms()
    layers = [tensors.layer(number) for number in range(len(architecture.local_layers))]
    tensors.require_all_read()
    projections, activations = folded_layers(spec)
    return TransformerWeights(
        architecture, words, positions, embedding_norm, final_norm, layers, projections, activations
    )


def _config(spec: EncoderSpec) -> Config:
    return Config(spec.backbone, SettingsFile(spec.backbone_path / "config.json").values)


class _Tensors:
    """The backbone's tensors by their names without the prefix that some checkpoints have."""

    def __init__(self, spec: EncoderSpec, config: Config, architecture: Architecture) -> None:
        family = family_of(config)
        self._files: dict[str, tuple[Path, str]] = {}
        for file in weight_files(spec.backbone_path):
            for stored in shapes(file):
                name = stored
                for prefix in family.prefixes:
                    name = name.removeprefix(prefix)
                self._files[name] = (file, stored)
        self._folder = spec.backbone_path
        self._config = config
        self._family = family
        self._architecture = architecture
        self._read: set[str] = set()

    def require_all_read(self) -> None:
        """Raise if there are tensors that nothing was made of, apart from pre-training heads."""
        unread = without_heads(self._files.keys() - self._read - stanford_tensors(self._config.value("architectures")))
        if unread:
            raise EncoderError(
                f"{self._folder}: tensor {first_and_count(unread)} is unexpected; ignoring it would change the vectors"
            )

    def words(self, vocabulary: int) -> Words:
        """Return the vectors of at least `vocabulary` words, that of token type 0 added where positions are rotary."""
        rows = self._embeddings(self._family.words, self._config.vocabulary)
        if self._family.positions is None and (types := self._segments()) is not None:
            rows = rows + types[0]
        if vocabulary > len(rows):
            mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
            rows = np.concatenate([rows, np.tile(mean, (vocabulary - len(rows), 1))])
        return Words.from_rows(rows)

    def positions(self) -> NDArray[np.float32] | None:
        """Return the learned positions, the vector of token type 0 added."""
        types = self._segments()
        if self._family.positions is None or types is None:
            return None
        rows = self._architecture.first_position + self._architecture.longest
        return np.ascontiguousarray(self._embeddings(self._family.positions, rows) + types[0])

    def _segments(self) -> NDArray[np.float32] | None:
        name = self._family.segments
        return None if name is None else self._embeddings(name, self._config.token_types)

    def outer_norms(self) -> tuple[Norm | None, Norm | None]:
        """Return the normalizations of the embeddings and of the last states."""
        family = self._family
        return (
            None if family.embedding_norm is None else self._norm(family.embedding_norm),
            None if family.final_norm is None else self._norm(family.final_norm),
        )

    def layer(self, number: int) -> TransformerLayer:
        """Return a layer."""
        family, architecture = self._family, self._architecture
        prefix = family.layer.format(number)
        names = {
            "attention_in": family.attention_in,
            "attention_out": (family.attention_out,),
            "feed_in": family.feed_in,
            "feed_out": (family.feed_out,),
        }
        parts: dict[str, Any] = {
            name: self._matrix(name, [prefix + stored for stored in matrices]) for name, matrices in names.items()
        }
        for name, stored in (("attention_norm", family.attention_norm), ("feed_norm", family.feed_norm)):
            parts[name] = self._norm(prefix + stored) if architecture.has_norm(name, number) else None
        if family.query_key_norms is not None:
            query, key = family.query_key_norms
            parts |= {"query_gain": self._head_gain(prefix + query), "key_gain": self._head_gain(prefix + key)}
        return TransformerLayer(**parts)

    def _tensor(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        if name not in self._files:
            raise EncoderError(f"{self._folder}: tensor {name!r} is missing; the checkpoint is incomplete")
        self._read.add(name)
        file, stored = self._files[name]
        values: NDArray[np.float32] = read_tensors(file, {stored: shape}, others=True)[stored]
        if not np.isfinite(values).all():
            raise EncoderError(f"{file}: tensor {stored!r} has values that are not finite; the weights are damaged")
        return values

    def _embeddings(self, name: str, rows: int) -> NDArray[np.float32]:
        return self._tensor(f"{name}.weight", (rows, self._architecture.hidden))

    def _matrix(self, matrix: str, parts: list[str]) -> Matrix:
        """Return a matrix of the core with the outputs of several of the checkpoint."""
        outputs, inputs, has_bias = self._architecture.matrices[matrix]
        levels, scales, biases = [], [], []
        for part, rows in zip(parts, self._split(matrix, outputs, len(parts)), strict=True):
            part_levels, part_scales = quantize_rows(self._tensor(f"{part}.weight", (rows, inputs)))
            levels.append(part_levels)
            scales.append(part_scales)
            if has_bias:
                biases.append(self._tensor(f"{part}.bias", (rows,)))
        bias = np.concatenate(biases) if has_bias else None
        return Matrix.from_rows(np.concatenate(levels), np.concatenate(scales), bias, self._architecture.order(matrix))

    def _split(self, matrix: str, outputs: int, parts: int) -> list[int]:
        """Return the outputs of the checkpoint's matrices that make one of the core."""
        if parts == 1:
            return [outputs]
        if matrix == "feed_in":
            return [self._architecture.intermediate] * 2
        heads = (self._architecture.heads, *[self._architecture.key_value_heads] * 2)
        return [count * self._architecture.head_dim for count in heads]

    def _norm(self, name: str) -> Norm:
        shape = (self._architecture.hidden,)
        bias = self._tensor(f"{name}.bias", shape) if self._architecture.norm_bias else None
        return Norm(self._tensor(f"{name}.weight", shape), bias)

    def _head_gain(self, name: str) -> NDArray[np.float32]:
        return self._tensor(f"{name}.weight", (self._architecture.head_dim,))
