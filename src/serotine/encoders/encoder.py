"""The encoder: text in, L2-normalized token vectors out."""

from __future__ import annotations

import copy
import logging
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.coverage import CoverageReport, warn_about_report, warn_about_texts
from serotine.encoders.backend import Backend
from serotine.encoders.batching import check_budget
from serotine.encoders.choice import BackendName, Choice
from serotine.encoders.dense_pooling import Similarity, pool_texts, pooled_dim, pooling_modes, similarity, text_vectors
from serotine.encoders.fingerprint import (
    HALF_DTYPES,
    MIN_AGREEMENT,
    NATIVE_ARITHMETIC,
    files_digest,
    source_fingerprint,
)
from serotine.encoders.formats import read_checkpoint
from serotine.encoders.loading import load_backend
from serotine.encoders.location import locate
from serotine.encoders.native import NativeBackend
from serotine.encoders.options import EncoderOptions
from serotine.encoders.passages import passage_windows, validated_spans
from serotine.encoders.spec import EncoderSpec, MarkerPosition, Side
from serotine.encoders.states import batched_states, normalize_rows
from serotine.encoders.text_reading import TextReading
from serotine.encoders.token_pooling import cluster_means, cluster_tokens, merge_tokens
from serotine.encoders.tokenization import TextTokenizer, Token
from serotine.encoders.windows import tokenized_windows
from serotine.errors import ZeroShotWarning, check_flags, invalid, not_one_of
from serotine.issued_warnings import warnings_wanted
from serotine.progress import progress_bar
from serotine.texts import strings

# Texts whose token states are in memory at once while they are pooled.
_POOLED_BATCH = 512
_DEVICE = re.compile(r"(cpu|cuda|mps|xpu)(:\d+)?")
_log = logging.getLogger("serotine.encoders")


class Encoder(TextReading):
    """Turns texts into one unit vector per token, ready for MaxSim.

    Args:
        name_or_path: a hub id ("perplexity-ai/pplx-embed-v1-late-0.6b"; "owner/model@revision" for one revision), a
            folder, or "serotine-mini", the default (models/serotine-mini). A folder may hold a PyLate, Stanford ColBERT
            or sentence-transformers checkpoint, one that ``serotine model export`` wrote, or any dense encoder, whose
            token states are then used without training. Safetensors only; code in a checkpoint is never run.
        backend: "native" (in 8 bits, on the CPU, in the compiled core), "onnx" (an ONNX export,
            ``pip install 'serotine[onnx]'``) or "torch" (``pip install 'serotine[torch]'``). Unless given: what an
            export was written for; native for a checkpoint that it covers, where torch has no GPU; else torch.
            `backend_choice` says which and why.
        device: of the torch backend: "cpu", "cuda", "cuda:1", "mps"; the fastest available unless given.
        dtype: of the torch backend: "float32", "float16" or "bfloat16". Unless given: bfloat16 on a CPU with
            AVX512-BF16, else float32.
        num_threads: threads of the model on a CPU; all processors unless given.
        revision: of a hub id: a branch, tag or commit.
        offline: use only what was downloaded before.
        marker_position: position of "[Q] " and "[D] ": "prepend" (first) or "after_first" (after the first token);
            the checkpoint's unless given. The same for a tokenizer that begins texts with [CLS].
        dim: number of leading dimensions to keep of every vector, for models trained that way (Matryoshka).
        pool_factor: merge similar document vectors until about one in `pool_factor` remains
            (``pip install 'serotine[pooling]'``).
        query_length: most tokens of a query, special tokens included, and the length that expanded queries are filled
            up to; the checkpoint's unless given.

    Raises:
        EncoderError: the encoder does not exist, a file is damaged, or a library is not installed.
        ValueError: an argument is not valid.

    Warns:
        ZeroShotWarning: the checkpoint is a dense encoder.
        PackageNameWarning: the name of an installed encoder is also that of a folder with one.

    >>> encoder = Encoder()
    >>> encoder
    Encoder('serotine-mini')
    >>> vectors, = encoder.encode_queries(["a bat at night"])
    >>> vectors.shape
    (6, 128)
    """

    def __init__(
        self,
        name_or_path: str | Path | None = None,
        *,
        backend: BackendName | None = None,
        device: str | None = None,
        dtype: str | None = None,
        num_threads: int | None = None,
        revision: str | None = None,
        offline: bool = False,
        marker_position: MarkerPosition | None = None,
        dim: int | None = None,
        pool_factor: float | None = None,
        query_length: int | None = None,
    ) -> None:
        check_flags(offline=offline)
        if num_threads is not None and num_threads < 1:
            raise invalid("num_threads", "at least 1", num_threads)
        if backend not in (None, "native", "onnx", "torch"):
            raise not_one_of("backend", ("native", "onnx", "torch"), backend)
        if device is not None and not _DEVICE.fullmatch(str(device)):
            raise not_one_of("device", ("cpu", "cuda", "cuda:0", "mps", "xpu"), device)
        self._options = EncoderOptions(marker_position, dim, pool_factor, query_length)
        location = locate(name_or_path, revision=revision, offline=offline)
        location.warn_if_shadowed()
        spec = self._options.apply(read_checkpoint(location.folder, location.name))
        self._set(spec, dim or spec.dim)
        self._choice: Choice | None
        vocabulary = self._tokenizer.vocabulary
        self._backend, self._choice = load_backend(spec, vocabulary, backend, device, dtype, num_threads)
        _log.info("loaded %s from %s (%s, %s)", spec.name, spec.folder, spec.origin, type(self._backend).__name__)
        if spec.warning is not None:
            warnings.warn(spec.warning, ZeroShotWarning, stacklevel=2)

    @classmethod
    def from_backend(cls, spec: EncoderSpec, backend: Backend, *, dim: int | None = None) -> Encoder:
        """Return an encoder with a custom spec, on a model that is already loaded.

        Its `name` need not load it again, which an index that is opened by name alone requires.

        Args:
            spec: how texts become tokens, and which vectors are kept.
            backend: the model.
            dim: number of leading dimensions of every vector.
        """
        encoder = cls.__new__(cls)
        encoder._options = EncoderOptions()
        encoder._set(spec, dim or spec.dim)
        encoder._backend, encoder._choice = backend, None
        return encoder

    def _set(self, spec: EncoderSpec, dim: int) -> None:
        self._spec = spec
        self._dim = dim
        self._tokenizer = TextTokenizer(spec)
        self._digest: str | None = None

    def __repr__(self) -> str:
        options = "".join(f", {key}={value!r}" for key, value in self.options.items())
        return f"Encoder({self.name!r}{options})"

    @property
    def name(self) -> str:
        """Name that loads this encoder again, with its `options`."""
        return self._spec.name

    @property
    def options(self) -> dict[str, Any]:
        """Arguments that change the vectors: those given of `marker_position`, `dim`, `pool_factor`, `query_length`.

        >>> Encoder(dim=64).options
        {'dim': 64}
        """
        return self._options.values()

    @property
    def spec(self) -> EncoderSpec:
        """Description of the checkpoint."""
        return self._spec

    @property
    def backend(self) -> Backend:
        """The loaded model."""
        return self._backend

    @property
    def backend_choice(self) -> Choice | None:
        """Which backend runs, and why; None for `from_backend`."""
        return self._choice

    @property
    def dim(self) -> int:
        """Dimension of a token vector."""
        return self._dim

    @property
    def pooled_dim(self) -> int | None:
        """Dimension of a vector of `encode_pooled`; None for a late-interaction encoder, which has none."""
        return pooled_dim(self._spec, self._dim)

    @property
    def pooled_similarity(self) -> Similarity | None:
        """How the model compares such vectors; None where it has none."""
        return None if self.pooled_dim is None else similarity(self._spec)

    @property
    def normalizes(self) -> bool:
        """Whether vectors have length 1, so that `Hit.score_per_token` is at most 1."""
        return self._spec.normalize or self._dim < self._spec.dim

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change whenever a text would get other vectors: model, tokenizer or settings.

        A checkpoint and its float32 export have the same fingerprint; an int8 ONNX export has its own. Other arithmetic
        on the same weights adds its name: "0123456789abcdef-int8" of the native backend, "-bfloat16" and "-float16" of
        torch.
        """
        if self._digest is None:
            self._digest = files_digest(self._spec)
        dim = self._dim if self._dim != self._spec.dim else None
        fingerprint = self._spec.fingerprint([self._digest, str(dim)])
        if isinstance(self._backend, NativeBackend):
            return f"{fingerprint}{NATIVE_ARITHMETIC}"
        # Only the torch backend has a dtype.
        dtype = getattr(self._backend, "dtype", None)
        return f"{fingerprint}-{dtype}" if dtype in HALF_DTYPES else fingerprint

    @property
    def agreeing_fingerprints(self) -> tuple[str, ...]:
        """Fingerprints of encoders whose vectors may be searched with this one's, its own first.

        A native export agrees with what it was exported from, to a mean cosine per token of `spec.source_cosine`, which
        must be at least `fingerprint.MIN_AGREEMENT`. The dtypes of torch agree with one another.
        """
        fingerprint, cosine = self.fingerprint, self._spec.source_cosine
        if fingerprint.endswith(NATIVE_ARITHMETIC) and (cosine is None or cosine < MIN_AGREEMENT):
            return (fingerprint,)
        source = source_fingerprint(fingerprint)
        others = (source, *(f"{source}-{dtype}" for dtype in HALF_DTYPES))
        return (fingerprint, *(other for other in others if other != fingerprint))

    def encode_queries(self, texts: Sequence[str], *, show_progress: bool = False) -> list[NDArray[np.float32]]:
        """Encode queries.

        Args:
            texts: the queries.
            show_progress: draw a bar on standard error.

        Returns:
            One float32 array (tokens, dim) per text, rows of length 1.

        Raises:
            TypeError: `texts` is not a list of strings.
            ValueError: a string contains a lone surrogate.
            EncoderError: the model fails on them.

        Warns:
            TruncatedTextWarning: some are longer than `query_room` tokens; what follows is ignored.
            UnknownTextWarning: more than 20% of some are characters outside the vocabulary.

        >>> [vectors.shape for vectors in Encoder().encode_queries(["a bat", "a bat at night"])]
        [(4, 128), (6, 128)]
        """
        return self._encode(texts, self._spec.query, show_progress)

    def encode_documents(
        self, texts: Sequence[str], *, show_progress: bool = False, batch_tokens: int | None = None
    ) -> list[NDArray[np.float32]]:
        """Encode documents, truncated to `document_room` tokens. Otherwise as `encode_queries`.

        Texts are tokenized on another thread while those before them are computed.

        Args:
            texts: the documents.
            show_progress: draw a bar on standard error.
            batch_tokens: number of tokens, padding included, that the model gets at once; the backend's best unless
                given. More need more memory.

        >>> from serotine import maxsim
        >>> encoder = Encoder()
        >>> query, = encoder.encode_queries(["when do bats hunt?"])
        >>> documents = encoder.encode_documents(["Bats hunt at night.", "Heat transfer at a wall."])
        >>> int(maxsim.score(query, documents).argmax())
        0
        """
        check_budget(batch_tokens)
        return self._encode(texts, self._spec.document, show_progress, batch_tokens)

    def encode_passages(
        self,
        document: str,
        spans: Sequence[tuple[int, int]],
        *,
        allow_empty: bool = False,
        batch_tokens: int | None = None,
    ) -> list[NDArray[np.float32]]:
        """Encode passages of one document with the text around them (late chunking, arXiv:2409.04701).

        A document of at most `document_room` tokens is encoded at once, a longer one in windows of so many, each of
        which shares a quarter with the one before it; nothing is truncated. Tokens between the spans are context only.
        Special tokens, marker and prompt of its windows belong to every passage, whose vectors do not depend on which
        others are asked for. Warns of characters outside the vocabulary.

        Args:
            document: the whole text.
            spans: the (start, end) of every passage in characters, sorted, without overlap.
            allow_empty: return no rows for a span without tokens, rather than raise.
            batch_tokens: as in `encode_documents`.

        Returns:
            One float32 array (tokens, dim) per passage; of one that is the whole text, what `encode_documents` returns.

        Raises:
            TypeError, ValueError: an argument is not valid; names the span.
            EncoderError: the model fails.

        >>> text = "Bats hunt at night. They sleep by day."
        >>> [vectors.shape for vectors in Encoder().encode_passages(text, [(0, 19), (20, 38)])]
        [(6, 128), (6, 128)]
        """
        check_budget(batch_tokens)
        check_flags(allow_empty=allow_empty)
        side, validated = self._spec.document, validated_spans(document, spans)
        plan = passage_windows(self._tokenizer, document, validated, side, allow_empty=allow_empty)
        warn_about_texts(self, [document], query=False, is_read_whole=True)
        encoded = plan.vectors(batched_states(self._spec, self._backend, plan.windows, batch_tokens), self._dim)
        if self.normalizes:
            normalize_rows(encoded, self.name)
        return [merge_tokens(vectors, self._spec.pooling) for vectors in encoded] if self._pools(side) else encoded

    def encode_pooled(self, texts: Sequence[str], *, query: bool, show_progress: bool = False) -> NDArray[np.float32]:
        """Encode texts with a dense encoder into one vector each, with the model's own pooling.

        Args:
            texts: what to encode.
            query: whether they are queries, for models that distinguish them by a prompt.
            show_progress: draw a bar on standard error.

        Returns:
            float32 (texts, dim), as sentence-transformers; rows of length 1 unless the model compares by dot product.

        Raises:
            EncoderError: a late-interaction encoder, or an unknown pooling mode.
            TypeError, ValueError: as `encode_queries`.
        """
        validated = strings(texts, "texts")
        return self._with_pooled(validated, self._side(query), show_progress=show_progress)[1]

    def encode_documents_with_pooled(
        self, texts: Sequence[str], *, show_progress: bool = False
    ) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
        """Return what `encode_documents` and `encode_pooled` return of documents, of one pass of a dense encoder.

        Raises:
            Every error of the two.
        """
        validated, side = strings(texts, "texts"), self._spec.document
        warn_about_texts(self, validated, query=False)
        vectors, pooled = self._with_pooled(validated, side, show_progress=show_progress)
        if self.normalizes:
            normalize_rows(vectors, self.name)
        return [merge_tokens(rows, self._spec.pooling) for rows in vectors] if self._pools(side) else vectors, pooled

    def with_query_length(self, length: int) -> Encoder:
        """Return this encoder with queries of at most `length` tokens; the model is shared.

        Raises:
            ValueError, EncoderError: `length` is not valid, or leaves no room beside the special tokens.

        >>> Encoder().with_query_length(8).query_room
        6
        """
        options = EncoderOptions(**{**self.options, "query_length": length})
        encoder = copy.copy(self)
        encoder._spec = self._spec.with_query_length(length)
        encoder._tokenizer = TextTokenizer(encoder._spec)
        encoder._options = options
        return encoder

    def token_states(
        self, texts: Sequence[str], *, query: bool, show_progress: bool = False
    ) -> list[NDArray[np.float32]]:
        """Return the model's states of all tokens, unscaled and none left out: float32 (tokens, dim) per text."""
        return self._states(strings(texts, "texts"), self._side(query), show_progress=show_progress, all_tokens=True)

    def tokens(self, text: str, *, query: bool) -> list[Token]:
        """Return the token of every row that encoding `text` gives, with its characters.

        A row that is the mean of several tokens is represented by the token nearest to it.

        >>> [token.text for token in Encoder().tokens("Bats, late.", query=False)]
        ['[CLS]', 'bats', 'late', '[SEP]']
        """
        (validated,) = strings([text], "texts")
        side = self._side(query)
        tokens = self._tokenizer.tokens(validated, side)
        if not self._pools(side):
            return tokens
        (vectors,) = self._vectors([validated], side, show_progress=False)
        clusters = cluster_tokens(vectors, self._spec.pooling)
        means = cluster_means(vectors, clusters, normalize=True)
        return [tokens[rows[int(np.argmax(vectors[rows] @ mean))]] for rows, mean in zip(clusters, means, strict=True)]

    def _pools(self, side: Side) -> bool:
        pooling = self._spec.pooling
        return pooling.factor > 1 and (pooling.queries or side is self._spec.document)

    def _encode(
        self, texts: Sequence[str], side: Side, show_progress: bool, batch_tokens: int | None = None
    ) -> list[NDArray[np.float32]]:
        validated = strings(texts, "texts")
        report = CoverageReport() if warnings_wanted() else None
        encoded = self._vectors(validated, side, show_progress=show_progress, batch_tokens=batch_tokens, report=report)
        return [merge_tokens(vectors, self._spec.pooling) for vectors in encoded] if self._pools(side) else encoded

    def _with_pooled(
        self, texts: list[str], side: Side, *, show_progress: bool
    ) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
        """Return the states of every text's scored tokens, and the pooled vectors."""
        modes = pooling_modes(self._spec)
        scored: list[NDArray[np.float32]] = []
        rows: list[NDArray[np.float32]] = []
        with progress_bar(len(texts), "Encoding", enabled=show_progress) as advance:
            for start in range(0, len(texts), _POOLED_BATCH):
                batch = texts[start : start + _POOLED_BATCH]
                states = self._states(batch, side, show_progress=False, all_tokens=True)
                encoded = self._tokenizer.encode(batch, side)
                rows += pool_texts(states, encoded, side, modes, self._spec)
                scored += [rows_[tokens.scored, : self._dim] for rows_, tokens in zip(states, encoded, strict=True)]
                advance(len(batch))
        return scored, text_vectors(rows, self._spec, self._dim)

    def _vectors(
        self,
        texts: list[str],
        side: Side,
        *,
        show_progress: bool,
        batch_tokens: int | None = None,
        report: CoverageReport | None = None,
    ) -> list[NDArray[np.float32]]:
        """Return the vectors of every text's scored tokens, before token pooling; warn if there is a `report`."""
        encoded = self._states(
            texts, side, show_progress=show_progress, all_tokens=False, batch_tokens=batch_tokens, report=report
        )
        if self.normalizes:
            normalize_rows(encoded, self.name)
        return encoded

    def _states(
        self,
        texts: list[str],
        side: Side,
        *,
        show_progress: bool,
        all_tokens: bool,
        batch_tokens: int | None = None,
        report: CoverageReport | None = None,
    ) -> list[NDArray[np.float32]]:
        """Return the model's states per text: of all tokens, or only those of scored tokens, cut to `dim`.

        Texts are counted in `report`; it is warned about before the last texts are computed.
        """
        dim = self._spec.dim if all_tokens else self._dim
        states = [np.empty((0, dim), dtype=np.float32)] * len(texts)
        query = side is self._spec.query
        windows = tokenized_windows(self._tokenizer, texts, side, report, query=query)
        with progress_bar(len(texts), "Encoding", enabled=show_progress) as advance:
            for first, encoded in windows:
                if report is not None and first + len(encoded) == len(texts):
                    warn_about_report(report, self.name, query=query)
                for batch in batched_states(self._spec, self._backend, encoded, batch_tokens):
                    for item, rows in batch:
                        # A copy, so that no text keeps its whole padded batch in memory.
                        kept = rows if all_tokens else rows[encoded[item].scored, :dim]
                        states[first + item] = kept.copy()
                    advance(len(batch), tokens=sum(len(encoded[item]) for item, _ in batch))
        return states
