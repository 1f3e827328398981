"""The description of an encoder, the same for every checkpoint format."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

# Fields that decide the vectors; the others locate files and name the encoder.
_HASHED = ("dim", "query", "document", "markers", "padding_left", "cut_left", "lower_case", "normalize", "pooling")
# Names of fields in serotine.json and in the hashed settings: indexes record the hash, so these never change.
STORED_NAMES = {"normalize": "normalise"}

EXPORT_OUTPUT = "token_vectors"
"""Name of an export's output; of native ones the only name."""

MarkerPosition = Literal["prepend", "after_first"]


@dataclass(frozen=True, slots=True)
class Expansion:
    """Query expansion: short queries are filled up with a token whose vectors are scored too.

    Khattab and Zaharia 2020, section 3.2.

    Attributes:
        token: id of that token.
        length: number of tokens that queries are filled up to.
        attend: whether other tokens attend to the added ones.
        cut: whether longer queries are truncated to `length`.
    """

    token: int
    length: int
    attend: bool = False
    cut: bool = True


@dataclass(frozen=True, slots=True)
class Side:
    """Tokenization rules of one side, queries or documents.

    Attributes:
        length: most tokens, special tokens included.
        prompt: text before every text.
        keep_prompt: whether the prompt's tokens are scored.
        marker: the added token that distinguishes the sides, if it follows the first token; a marker that comes first
            is part of `prompt`.
        strip: whether whitespace around a text is removed first, as in PyLate.
        expansion: query expansion, if any.
        skip: ids of tokens that are not scored.
        only: if not empty, ids of the only tokens that are scored.
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
        folder: folder of its `model.safetensors`; for Stanford checkpoints, the checkpoint itself.
        inputs, outputs: its dimensions.
        bias: whether it adds a bias.
        activation: one of `projection.ACTIVATIONS`.
        residual: whether the input is added to the output, through a matrix if the dimensions differ.
    """

    folder: str
    inputs: int
    outputs: int
    bias: bool = False
    activation: str = "Identity"
    residual: bool = False


@dataclass(frozen=True, slots=True)
class TokenPooling:
    """Token pooling: similar document vectors are replaced by their mean (Clavié et al. 2024).

    Attributes:
        factor: about one in `factor` vectors remains; 1 merges none.
        protected: number of leading vectors that are never merged.
        normalize: whether the means are scaled to length 1.
        queries: whether query vectors are merged too.
    """

    factor: float = 1.0
    protected: int = 1
    normalize: bool = True
    queries: bool = False


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """Everything that decides which vectors a text gets, and where its files are.

    Attributes:
        name: name that loads this encoder again: "serotine-mini", a folder, or a hub id with its commit.
        folder: folder of its files.
        origin: the format: "serotine", "pylate", "stanford", "sentence-transformers", "dense" (a dense
            encoder: its token states are used without late-interaction training).
        dim: dimension of a token vector.
        query, document: tokenization rules.
        backbone: the transformers model type, "bert" for example.
        backbone_folder: folder of the backbone's weights and configuration, relative to `folder`.
        model: the model file of an export, relative to `folder`; None for a checkpoint of weights.
        output: name of the ONNX output with the vectors, before they are scaled to length 1.
        model_sha256: SHA-256 of the model file; not checked if None.
        source: of a float32 or native export: hash of the files it was exported from.
        source_cosine: of a native export: mean cosine between its vectors and the source's, measured when it was
            exported.
        tokenizer: the `tokenizer.json`, or that compressed, relative to `folder`.
        markers: added tokens that the tokenizer must never split.
        padding_left: whether batches are padded, and queries expanded, on the left.
        cut_left: whether long texts are truncated at the beginning instead of the end.
        lower_case: whether texts are lower-cased first.
        projections: layers between the backbone's states and the vectors.
        normalize: whether vectors are scaled to length 1.
        pooling: token pooling of documents.
        similarity: "maxsim" or "meanmaxsim" (MaxSim over the number of query tokens: the same order, other scores).
        pooled_by: "dense" only: the model's pooling mode, "mean" for example.
        pooled_similarity: "dense" only: similarity of its pooled vectors, "cosine" or "dot".
        warning: text of the warning on loading it, if any.
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
    output: str = EXPORT_OUTPUT
    model_sha256: str | None = None
    source: str | None = None
    source_cosine: float | None = None
    tokenizer: str = "tokenizer.json"
    markers: tuple[str, ...] = ()
    padding_left: bool = False
    cut_left: bool = False
    lower_case: bool = False
    projections: tuple[Projection, ...] = ()
    normalize: bool = True
    pooling: TokenPooling = field(default_factory=TokenPooling)
    similarity: str = "maxsim"
    pooled_by: str | None = None
    pooled_similarity: str = "cosine"
    warning: str | None = None

    @property
    def model_file(self) -> Path | None:
        """The model file of an export; None for a checkpoint of weights."""
        return None if self.model is None else self.folder / self.model

    @property
    def tokenizer_file(self) -> Path:
        """The `tokenizer.json`."""
        return self.folder / self.tokenizer

    @property
    def backbone_path(self) -> Path:
        """The folder of the backbone's weights."""
        return self.folder / self.backbone_folder

    def stored(self) -> dict[str, Any]:
        """Return all fields as plain values, under their stored names."""
        values: dict[str, Any] = _with_stored_names(asdict(self))
        return values

    def settings(self) -> dict[str, Any]:
        """Return the stored fields that decide the vectors, apart from the contents of files."""
        hashed = {STORED_NAMES.get(name, name) for name in _HASHED}
        return {key: value for key, value in self.stored().items() if key in hashed}

    def fingerprint(self, files: list[str]) -> str:
        """Return 16 hexadecimal digits: a hash of the settings and of `files`, the hashes of files."""
        hashed = json.dumps([self.settings(), files], sort_keys=True)
        return hashlib.sha256(hashed.encode()).hexdigest()[:16]

    def with_marker_position(self, position: MarkerPosition) -> EncoderSpec:
        """Return this spec with the marker position of sentence-transformers, or of PyLate.

        Args:
            position: "prepend" puts the markers first; "after_first" after each text's first token, with whitespace
                around the text removed.
        """
        return replace(
            self, query=self._with_marker(self.query, position), document=self._with_marker(self.document, position)
        )

    def with_query_length(self, length: int) -> EncoderSpec:
        """Return this spec with queries of at most `length` tokens; expanded queries are filled up to it."""
        expansion = self.query.expansion
        if expansion is not None:
            # Expansion without truncation gives a minimum length, which may exceed the new maximum.
            expansion = replace(expansion, length=length if expansion.cut else min(expansion.length, length))
        return replace(self, query=replace(self.query, length=length, expansion=expansion))

    def _with_marker(self, side: Side, position: MarkerPosition) -> Side:
        if position == "prepend":
            return replace(side, prompt=(side.marker or "") + side.prompt, marker=None, strip=False)
        for marker in self.markers:
            if side.marker is None and marker and side.prompt.startswith(marker):
                return replace(side, prompt=side.prompt.removeprefix(marker), marker=marker, strip=True)
        return replace(side, strip=True)


def _with_stored_names(values: Any) -> Any:
    if not isinstance(values, dict):
        return values
    return {STORED_NAMES.get(key, key): _with_stored_names(value) for key, value in values.items()}
