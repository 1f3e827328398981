"""What an encoder is, whatever the format it was stored in."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

# What decides the vectors; the rest says where files are and what the encoder is called.
_DECIDING = ("dim", "query", "document", "markers", "padding_left", "cut_left", "lower_case", "normalise", "pooling")

MarkerPosition = Literal["prepend", "after_first"]


@dataclass(frozen=True, slots=True)
class Expansion:
    """Queries filled up with a token whose vectors count too (Khattab and Zaharia 2020, section 3.2).

    Attributes:
        token: id of the token they are filled up with.
        length: they are filled up to this many tokens.
        attend: whether other tokens look at the ones filled in.
        cut: whether longer queries are cut to `length`.
    """

    token: int
    length: int
    attend: bool = False
    cut: bool = True


@dataclass(frozen=True, slots=True)
class Side:
    """How texts of one side, queries or documents, become tokens.

    Attributes:
        length: most tokens, all special ones included.
        prompt: put before every text.
        keep_prompt: whether the prompt's own tokens are scored.
        marker: the added token that tells the sides apart, if it stands after the first token; a marker that stands
            first is part of `prompt`.
        strip: whether spaces around a text are taken off first, as PyLate does.
        expansion: how queries are filled up, if they are.
        skip: ids of tokens whose vectors are left out.
        only: if any, ids of the tokens whose vectors are the only ones kept.
    """

    length: int
    prompt: str = ""
    keep_prompt: bool = True
    marker: str | None = None
    strip: bool = False
    expansion: Expansion | None = None
    skip: tuple[int, ...] = ()
    only: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Projection:
    """One layer between the backbone's states and the token vectors.

    Attributes:
        folder: where its `model.safetensors` lies; for Stanford checkpoints, the checkpoint itself.
        inputs, outputs: its dimensions.
        bias: whether it adds one.
        activation: one of `projection.ACTIVATIONS`.
        residual: whether the input is added to the output, through a matrix of its own where the dimensions differ.
    """

    folder: str
    inputs: int
    outputs: int
    bias: bool = False
    activation: str = "Identity"
    residual: bool = False


@dataclass(frozen=True, slots=True)
class TokenPooling:
    """Document tokens that are near each other merged into their mean (Clavié et al. 2024, "token pooling").

    Attributes:
        factor: about one in `factor` vectors is kept; 1 keeps all.
        protected: this many leading vectors are left as they are.
        normalise: whether the means are scaled to length 1.
        queries: whether query vectors are merged too.
    """

    factor: float = 1.0
    protected: int = 1
    normalise: bool = True
    queries: bool = False


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """Everything that decides which vectors a text gets.

    Attributes:
        name: what loads this encoder again: "serotine-mini", a folder, or a hub id with its revision.
        folder: where its files are.
        origin: the format: "serotine", "pylate", "stanford", "sentence-transformers", "dense" (no late-interaction
            parts: its token states are used as they are).
        dim: dimension of a token vector.
        query, document: how texts become tokens.
        backbone: the transformers model type, "bert" for example.
        backbone_folder: folder of the backbone and its configuration, relative to `folder`.
        model: the ONNX file, relative to `folder`; None for a checkpoint of weights.
        output: the ONNX output that holds the vectors, before they are scaled to length 1.
        model_sha256: what the ONNX file must hash to; not checked where it is None.
        source: of a float32 export: the hash of the files it was made from, which give the same vectors.
        tokenizer: the `tokenizer.json`, relative to `folder`.
        markers: added tokens to be found whole wherever they stand in a text.
        padding_left: whether batches are padded, and queries filled up, on the left.
        cut_left: whether a long text loses its beginning instead of its end.
        lower_case: whether texts are lower-cased before anything else.
        projections: layers between the backbone's states and the vectors.
        normalise: whether vectors are scaled to length 1.
        pooling: how document vectors are merged.
        similarity: "maxsim" or "meanmaxsim" (MaxSim over the number of query tokens: the same order, other scores).
        pooled_by: "dense" only: how the model's own pooled vector is made, "mean" for example.
        pooled_similarity: "dense" only: how its pooled vectors are compared, "cosine" or "dot".
        warning: what whoever loads it should be told.
    """

    name: str
    folder: Path
    origin: str
    dim: int
    query: Side
    document: Side
    backbone: str = ""
    backbone_folder: str = ""
    model: str | None = None
    output: str = "token_vectors"
    model_sha256: str | None = None
    source: str | None = None
    tokenizer: str = "tokenizer.json"
    markers: tuple[str, ...] = ()
    padding_left: bool = False
    cut_left: bool = False
    lower_case: bool = False
    projections: tuple[Projection, ...] = ()
    normalise: bool = True
    pooling: TokenPooling = field(default_factory=TokenPooling)
    similarity: str = "maxsim"
    pooled_by: str | None = None
    pooled_similarity: str = "cosine"
    warning: str | None = None

    @property
    def model_file(self) -> Path | None:
        """The ONNX file, if there is one."""
        return None if self.model is None else self.folder / self.model

    @property
    def tokenizer_file(self) -> Path:
        """The `tokenizer.json`."""
        return self.folder / self.tokenizer

    @property
    def backbone_path(self) -> Path:
        """The folder of the backbone's weights."""
        return self.folder / self.backbone_folder

    def settings(self) -> dict[str, Any]:
        """What decides the vectors, the files' contents apart, in plain values: the same wherever the files lie."""
        values = asdict(self)
        return {key: value for key, value in values.items() if key in _DECIDING}

    def fingerprint(self, files: list[str]) -> str:
        """16 hexadecimal digits of the settings and the hashes of the files that count."""
        told = json.dumps([self.settings(), files], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    def with_marker_position(self, position: MarkerPosition) -> EncoderSpec:
        """The same encoder with sentence-transformers' layout, or PyLate's.

        Args:
            position: "prepend" puts the markers first; "after_first" after each text's first token, spaces around the
                text taken off.
        """
        return replace(self, query=self._moved(self.query, position), document=self._moved(self.document, position))

    def with_query_length(self, length: int) -> EncoderSpec:
        """The same encoder with queries of at most `length` tokens, and filled up to as many where they are."""
        expansion = self.query.expansion
        if expansion is not None:
            # Queries filled up to a least length may be longer; they are cut to the new one like any other.
            filled = length if expansion.cut else min(expansion.length, length)
            expansion = replace(expansion, length=filled)
        return replace(self, query=replace(self.query, length=length, expansion=expansion))

    def _moved(self, side: Side, position: MarkerPosition) -> Side:
        if position == "prepend":
            return replace(side, prompt=(side.marker or "") + side.prompt, marker=None, strip=False)
        for marker in self.markers:
            if side.marker is None and marker and side.prompt.startswith(marker):
                return replace(side, prompt=side.prompt.removeprefix(marker), marker=marker, strip=True)
        return replace(side, strip=True)
