"""The encoder: text in, L2-normalised token vectors out."""

from __future__ import annotations

import copy
import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from serotine.encoders.backend import Backend
from serotine.encoders.batching import batches
from serotine.encoders.formats import read_checkpoint
from serotine.encoders.location import locate
from serotine.encoders.onnx import OnnxBackend
from serotine.encoders.pooled import check_pools, pooled
from serotine.encoders.pooling import clusters, means
from serotine.encoders.settings import DROPPED, SettingsFile
from serotine.encoders.spec import EncoderSpec, MarkerPosition, Side
from serotine.encoders.tokenization import TextTokenizer, Token, Tokens
from serotine.encoders.weights import weight_files
from serotine.errors import EncoderError, ZeroShotWarning
from serotine.progress import progress_bar
from serotine.texts import strings

# Tokens of one batch, padding included. On a CPU measured best of 256 to 4,096 for MiniLM, whose activations then stay
# in cache; a GPU wants enough to be busy.
_BATCH_TOKENS = {"cpu": 1024}
_BATCH_TOKENS_ELSEWHERE = 32768
# Texts whose token states are held while they are pooled.
_POOLED_AT_ONCE = 512


class Encoder:
    """Turns texts into one unit vector a token, ready for MaxSim.

    Args:
        name_or_path: a hub id ("perplexity-ai/pplx-embed-v1-late-0.6b"; "owner/model@revision" for one revision), a
            folder, or "serotine-mini", the default (models/serotine-mini). A folder may hold a PyLate, Stanford ColBERT
            or sentence-transformers checkpoint, one that ``serotine model export`` wrote, or any dense encoder, whose
            token states are then used without training. Safetensors only; code in a checkpoint is never run.
        backend: "onnx" (a checkpoint that was exported) or "torch" (``pip install 'serotine[torch]'``); what the
            checkpoint has unless given.
        device: of the torch backend: "cpu", "cuda", "cuda:1", "mps"; the best there is unless given.
        dtype: of the torch backend: "float32", "float16" or "bfloat16".
        num_threads: threads of the model on a CPU; all processors unless given.
        revision: of a hub id: a branch, tag or commit.
        offline: take only what has been downloaded before.
        marker_position: where "[Q] " and "[D] " stand: "prepend" (first) or "after_first" (after the first token). As
            the checkpoint's format has it unless given; the same thing where the tokenizer begins texts with [CLS].
        dim: keep only the first `dim` numbers of every vector, for models trained so (Matryoshka).
        pool_factor: merge document vectors that are near each other until about one in `pool_factor` is left
            (``pip install 'serotine[pooling]'``).
        query_length: most tokens of a query, special ones included, and what it is filled up to where the model fills
            queries up; as the checkpoint has it unless given.

    Raises:
        EncoderError: the encoder is not there, its files are damaged, or it asks for what is not installed.
        ValueError: an argument that is not what it should be.

    Warns:
        ZeroShotWarning: the checkpoint is a dense encoder.
    """

    def __init__(
        self,
        name_or_path: str | Path | None = None,
        *,
        backend: Literal["onnx", "torch"] | None = None,
        device: str | None = None,
        dtype: str = "float32",
        num_threads: int | None = None,
        revision: str | None = None,
        offline: bool = False,
        marker_position: MarkerPosition | None = None,
        dim: int | None = None,
        pool_factor: float | None = None,
        query_length: int | None = None,
    ) -> None:
        if num_threads is not None and num_threads < 1:
            raise ValueError(f"num_threads: want at least 1, got {num_threads}")
        if marker_position not in (None, "prepend", "after_first"):
            raise ValueError(f"marker_position: want 'prepend' or 'after_first', got {marker_position!r}")
        if backend not in (None, "onnx", "torch"):
            raise ValueError(f"backend: want 'onnx' or 'torch', got {backend!r}")
        location = locate(name_or_path, revision=revision, offline=offline)
        spec = read_checkpoint(location.folder, location.name)
        self._options: dict[str, Any] = {}
        if marker_position is not None:
            spec = spec.with_marker_position(marker_position)
            self._options["marker_position"] = marker_position
        if dim is not None:
            if not 1 <= dim <= spec.dim:
                raise ValueError(
                    f"dim: {spec.name!r} makes vectors of {spec.dim} numbers; want 1 to {spec.dim}, got {dim}"
                )
            self._options["dim"] = dim
        if pool_factor is not None:
            if not pool_factor >= 1:
                raise ValueError(f"pool_factor: want at least 1, got {pool_factor}")
            merged = replace(spec.pooling, factor=float(pool_factor), normalise=True)
            spec = replace(spec, pooling=merged)
            self._options["pool_factor"] = float(pool_factor)
        if query_length is not None:
            spec = _with_query_length(spec, query_length)
            self._options["query_length"] = query_length
        self._set(spec, dim or spec.dim)
        self._backend = self._load(backend, device, dtype, num_threads)
        if spec.warning is not None:
            warnings.warn(spec.warning, ZeroShotWarning, stacklevel=2)

    @classmethod
    def from_backend(cls, spec: EncoderSpec, backend: Backend, *, dim: int | None = None) -> Encoder:
        """An encoder that follows a spec of one's own, on a model that is running already.

        Its `name` need not load it again, so an index that is to be opened by name alone wants another.

        Args:
            spec: how texts become tokens, and which vectors are kept.
            backend: what runs the model.
            dim: keep only the first `dim` numbers of every vector.
        """
        made = cls.__new__(cls)
        made._options = {}
        made._set(spec, dim or spec.dim)
        made._device = getattr(backend, "device", "cpu")
        made._backend = backend
        return made

    def _set(self, spec: EncoderSpec, dim: int) -> None:
        self._spec = spec
        self._dim = dim
        self._tokenizer = TextTokenizer(spec)
        self._digest: str | None = None
        self._device = "cpu"

    def __repr__(self) -> str:
        options = "".join(f", {key}={value!r}" for key, value in self._options.items())
        return f"Encoder({self.name!r}{options})"

    @property
    def name(self) -> str:
        """What loads this encoder again, with its `options`."""
        return self._spec.name

    @property
    def options(self) -> dict[str, Any]:
        """The arguments given that change its vectors: of `marker_position`, `dim`, `pool_factor`, `query_length`."""
        return dict(self._options)

    @property
    def spec(self) -> EncoderSpec:
        """Everything the checkpoint says of itself."""
        return self._spec

    @property
    def backend(self) -> Backend:
        """What runs the model."""
        return self._backend

    @property
    def dim(self) -> int:
        """Dimension of a token vector."""
        return self._dim

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change whenever a text would get other vectors: model, tokenizer or settings.

        An encoder and its float32 export have the same; an int8 export has its own.
        """
        if self._digest is None:
            self._digest = files_digest(self._spec)
        kept = self._dim if self._dim != self._spec.dim else None
        return self._spec.fingerprint([self._digest, str(kept)])

    def encode_queries(self, texts: Sequence[str], *, show_progress: bool = False) -> list[NDArray[np.float32]]:
        """Encodes questions.

        Args:
            texts: the questions.
            show_progress: draw a bar on standard error.

        Returns:
            One float32 array (tokens, dim) a text, rows of length 1.

        Raises:
            TypeError: not a list of strings.
            ValueError: a string that is no text (lone surrogates).
            EncoderError: the model fails on them.
        """
        return self._encode(texts, self._spec.query, show_progress)

    def encode_documents(self, texts: Sequence[str], *, show_progress: bool = False) -> list[NDArray[np.float32]]:
        """Encodes documents; what lies beyond the document length is cut off. As `encode_queries` otherwise."""
        return self._encode(texts, self._spec.document, show_progress)

    def encode_pooled(self, texts: Sequence[str], *, query: bool, show_progress: bool = False) -> NDArray[np.float32]:
        """One vector a text, of a dense encoder: as sentence-transformers makes it, with the model's own pooling.

        Args:
            texts: what to encode.
            query: whether they are questions, for models that tell the two apart by a prompt.
            show_progress: draw a bar on standard error.

        Returns:
            float32 (texts, dim), rows of length 1 unless the model compares them by dot product.

        Raises:
            EncoderError: a late-interaction encoder, or a way of pooling that is not known.
            TypeError, ValueError: as `encode_queries`.
        """
        modes = check_pools(self._spec)
        listed, side = strings(texts, "texts"), self._side(query)
        rows: list[NDArray[np.float32]] = []
        with progress_bar(len(listed), "Encoding", enabled=show_progress) as advance:
            for start in range(0, len(listed), _POOLED_AT_ONCE):
                part = listed[start : start + _POOLED_AT_ONCE]
                states = self._states(part, side, show_progress=False, whole=True)
                tokens = self._tokenizer.encode(part, side)
                for one, found in zip(states, tokens, strict=True):
                    counted = np.arange(len(found)) >= (0 if side.keep_prompt else found.prompted)
                    vector = pooled(one, counted, modes) if len(one) else np.zeros(self._spec.dim, dtype=np.float32)
                    rows.append(vector[: self._dim] if self._dim < self._spec.dim else vector)
                advance(len(part))
        if not rows:
            return np.empty((0, self._dim), dtype=np.float32)
        vectors = np.stack(rows)
        if not np.isfinite(vectors).all():
            raise EncoderError(f"{self.name}: gives vectors that are no finite numbers; its weights are damaged")
        if self._spec.pooled_similarity == "cosine":
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors

    def with_query_length(self, length: int) -> Encoder:
        """This encoder with queries of at most `length` tokens; the model itself is shared.

        Raises:
            ValueError, EncoderError: not a length, or no room in it for more than the special tokens.
        """
        other = copy.copy(self)
        other._spec = _with_query_length(self._spec, length)
        other._tokenizer = TextTokenizer(other._spec)
        other._options = {**self._options, "query_length": length}
        return other

    def token_ids(self, text: str, *, query: bool) -> tuple[int, ...]:
        """The ids of all tokens the model gets of a text."""
        (tokens,) = self._tokenizer.encode(strings([text], "texts"), self._side(query))
        return tuple(tokens.ids.tolist())

    def token_states(
        self, texts: Sequence[str], *, query: bool, show_progress: bool = False
    ) -> list[NDArray[np.float32]]:
        """The model's own states, float32 (tokens, dim) a text: of all its tokens, before any is scaled or left out."""
        return self._states(strings(texts, "texts"), self._side(query), show_progress=show_progress, whole=True)

    def tokens(self, text: str, *, query: bool) -> list[Token]:
        """The token of every row that encoding `text` gives, with its place in the text.

        A row that is the mean of several tokens is told as the one of them nearest to it.
        """
        (checked,) = strings([text], "texts")
        side = self._side(query)
        tokens = self._tokenizer.tokens(checked, side)
        if not self._pools(side):
            return tokens
        (vectors,) = self._vectors([checked], side, show_progress=False)
        members = clusters(vectors, self._spec.pooling)
        pooled = means(vectors, members, normalise=True)
        return [
            tokens[group[int(np.argmax(vectors[group] @ mean))]] for group, mean in zip(members, pooled, strict=True)
        ]

    @property
    def document_room(self) -> int:
        """How many tokens of a document's text are encoded; what lies beyond is cut off."""
        return self._tokenizer.room(self._spec.document)

    def token_spans(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Where every token of every text stands, int32 (tokens, 2), however long the text is; the model is not run."""
        return self._tokenizer.spans(strings(texts, "texts"))

    def _load(self, backend: str | None, device: str | None, dtype: str, threads: int | None) -> Backend:
        spec = self._spec
        model = spec.model_file
        elsewhere = device not in (None, "cpu")
        if backend == "onnx" and model is None:
            raise EncoderError(
                f"{spec.folder}: holds no ONNX model; write one once: serotine model export {spec.name} FOLDER"
            )
        if model is not None:
            if backend == "torch" or elsewhere:
                raise EncoderError(
                    f"{spec.folder}: is an exported encoder, which runs on the CPU through ONNX Runtime only"
                )
            if spec.model_sha256 is not None and (digest := model_digest(model)) != spec.model_sha256:
                raise EncoderError(
                    f"{model}: its SHA-256 is {digest}, serotine.json wants {spec.model_sha256}; "
                    "install the model again"
                )
            return OnnxBackend(model, spec.output, threads)
        weight_files(spec.backbone_path)
        try:
            from serotine.encoders.torch import TorchBackend
        except ImportError as error:
            raise EncoderError(
                f"{spec.name}: is a checkpoint of weights, which torch runs; pip install 'serotine[torch]', "
                f"or export it once where torch is: serotine model export {spec.name} FOLDER ({error})"
            ) from None
        loaded = TorchBackend(spec, self._tokenizer.vocabulary, device, dtype, threads)
        self._device = loaded.device
        return loaded

    def _side(self, query: bool) -> Side:
        return self._spec.query if query else self._spec.document

    def _pools(self, side: Side) -> bool:
        pooling = self._spec.pooling
        return pooling.factor > 1 and (pooling.queries or side is self._spec.document)

    def _encode(self, texts: Sequence[str], side: Side, show_progress: bool) -> list[NDArray[np.float32]]:
        found = self._vectors(strings(texts, "texts"), side, show_progress=show_progress)
        if not self._pools(side):
            return found
        pooling = self._spec.pooling
        return [means(vectors, clusters(vectors, pooling), normalise=pooling.normalise) for vectors in found]

    def _vectors(self, texts: list[str], side: Side, *, show_progress: bool) -> list[NDArray[np.float32]]:
        """What is kept of every text's tokens, before any pooling."""
        found = self._states(texts, side, show_progress=show_progress, whole=False)
        if self._spec.normalise or self._dim < self._spec.dim:
            for vectors in found:
                with np.errstate(over="ignore", invalid="ignore"):
                    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
                if not np.isfinite(lengths).all():
                    raise EncoderError(
                        f"{self.name}: gives vectors that are no finite numbers; its weights are damaged, or too large "
                        "for the dtype they run in"
                    )
                vectors /= np.maximum(lengths, 1e-12)
        return found

    def _states(self, texts: list[str], side: Side, *, show_progress: bool, whole: bool) -> list[NDArray[np.float32]]:
        """The model's states of every text: of all its tokens, or of those kept and as far as their dimensions are."""
        encoded = self._tokenizer.encode(texts, side)
        dim = self._spec.dim if whole else self._dim
        found = [np.empty((0, dim), dtype=np.float32)] * len(encoded)
        budget = _BATCH_TOKENS.get(self._device, _BATCH_TOKENS_ELSEWHERE)
        with progress_bar(len(encoded), "Encoding", enabled=show_progress) as advance:
            for batch in batches([len(tokens) for tokens in encoded], budget):
                states = self._run([encoded[item] for item in batch])
                for item, rows in zip(batch, states, strict=True):
                    # A copy, so that no text keeps its whole padded batch in memory.
                    found[item] = rows.copy() if whole else rows[encoded[item].kept, :dim].copy()
                advance(len(batch))
        return found

    def _run(self, batch: list[Tokens]) -> list[NDArray[np.float32]]:
        """The model's states of every token, padding taken off."""
        longest = max(map(len, batch))
        if longest == 0:
            return [np.empty((0, self._spec.dim), dtype=np.float32)] * len(batch)
        ids = np.zeros((len(batch), longest), dtype=np.int64)
        attention = np.zeros((len(batch), longest), dtype=np.int64)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)] = tokens.ids
            attention[row, : len(tokens)] = tokens.attention
        states = self._backend.run(ids, attention)
        if states.ndim != 3 or states.shape[2] != self._spec.dim:
            raise EncoderError(f"{self.name}: gives states {states.shape}, not (batch, tokens, {self._spec.dim})")
        return [states[row, : len(tokens)] for row, tokens in enumerate(batch)]


def _with_query_length(spec: EncoderSpec, length: int) -> EncoderSpec:
    if isinstance(length, bool) or not isinstance(length, int) or length < 1:
        raise ValueError(f"query_length: want an int of at least 1, got {length!r}")
    return spec.with_query_length(length)


def files_digest(spec: EncoderSpec) -> str:
    """One hash of all the files that decide an encoder's vectors."""
    if spec.source is not None:
        return spec.source
    if spec.model_file is not None:
        return hashlib.sha256((model_digest(spec.model_file) + sha256(spec.tokenizer_file)).encode()).hexdigest()
    files = weight_files(spec.backbone_path)
    for layer in spec.projections:
        if layer.folder != spec.backbone_folder:
            files += weight_files(spec.folder / layer.folder)
    digests = [*map(sha256, [*files, spec.tokenizer_file]), _settings_digest(spec)]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _settings_digest(spec: EncoderSpec) -> str:
    """Of what decides a checkpoint's vectors beside its weights: how the backbone and its projections compute."""
    stored = SettingsFile(spec.backbone_path / "config.json").values
    backbone = {
        key: value
        for key, value in stored.items()
        if key not in (*DROPPED, "transformers_version", "architectures") and not key.startswith("_")
    }
    layers = [{**asdict(layer), "folder": None} for layer in spec.projections]
    return hashlib.sha256(json.dumps([backbone, layers], sort_keys=True).encode()).hexdigest()


def model_digest(model: Path) -> str:
    """The SHA-256 of an ONNX file; with the weights beside it, where it has them in a file of their own."""
    # Ours is called model.onnx.data; others write model.onnx_data.
    weights = sorted(file for file in model.parent.glob(f"{model.name}?data") if file.is_file())
    if not weights:
        return sha256(model)
    return hashlib.sha256("".join(map(sha256, [model, *weights])).encode()).hexdigest()


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
