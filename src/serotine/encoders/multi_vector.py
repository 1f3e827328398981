"""sentence-transformers' `MultiVectorEncoder` as a `TextEncoder`, and encoders by the name an index recorded.

Imports neither sentence-transformers nor torch until a model is loaded.
"""

from __future__ import annotations

import hashlib
import json
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from serotine.coverage import TextCoverage
from serotine.encoders.tokenizer_errors import tokenizer_errors
from serotine.errors import EncoderError, PackageNameWarning, ZeroShotWarning, missing_extra, reason, wrong_type
from serotine.text_encoder import AnyEncoder, TextEncoder
from serotine.wording import local_fix

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder
    from tokenizers import Tokenizer

    from serotine.encoders.known_words import KnownWords
    from serotine.encoders.tokenization import Token

# Prefix of the recorded name of a model that sentence-transformers loads.
_PREFIX = "sentence-transformers:"
_MODULE = "sentence_transformers.multi_vector_encoder"


def as_text_encoder(encoder: AnyEncoder) -> TextEncoder:
    """Return an encoder as a `TextEncoder`: load one by name, wrap sentence-transformers' `MultiVectorEncoder`.

    Raises:
        EncoderError: no encoder has that name, or it cannot be loaded.
        TypeError: it is neither an encoder nor a name.
    """
    if isinstance(encoder, (str, Path)):
        from serotine.encoders import Encoder

        return Encoder(encoder)
    # Recognized by its module's name: importing the library to use isinstance would take seconds.
    if any(base.__module__.startswith(_MODULE) for base in type(encoder).__mro__):
        return MultiVectorAdapter(cast("MultiVectorEncoder", encoder))
    if not hasattr(encoder, "encode_queries"):
        raise wrong_type("encoder", "an encoder such as serotine.Encoder, or the name of one", encoder)
    return cast(TextEncoder, encoder)


def load_recorded(name: str, options: Mapping[str, Any], fingerprint: str | None = None) -> TextEncoder:
    """Load an encoder by the name and options that an index recorded, on the backend that made the index.

    Args:
        name: `TextEncoder.name`; "sentence-transformers:" and a folder or hub id for a `MultiVectorEncoder`.
        options: `Encoder.options`.
        fingerprint: `TextEncoder.fingerprint`, which says which arithmetic made the index.

    Raises:
        EncoderError: the encoder cannot be loaded.
    """
    if name.startswith(_PREFIX):
        return MultiVectorAdapter.load(name)
    from serotine.encoders import Encoder, EncoderOptions
    from serotine.encoders.choice import recorded_arithmetic

    with warnings.catch_warnings():
        # They were shown when the index was created.
        for shown in (ZeroShotWarning, PackageNameWarning):
            warnings.simplefilter("ignore", shown)
        selected = EncoderOptions.from_recorded(name, options).values()
        encoder = Encoder(name, **selected)
        arithmetic = recorded_arithmetic(encoder, fingerprint)
        return Encoder(name, **arithmetic, **selected) if arithmetic else encoder


class MultiVectorAdapter:
    """A `MultiVectorEncoder` as a `TextEncoder`; thread-safe, encoding one call at a time.

    Args:
        model: the model; its vectors are used as `encode_query` and `encode_document` return them.
    """

    def __init__(self, model: MultiVectorEncoder) -> None:
        self._model = model
        self._fingerprint: str | None = None
        # Queries, documents and `tokens` share one tokenizer, whose truncation and padding each call sets first.
        self._encoding = threading.Lock()

    @classmethod
    def load(cls, name: str) -> MultiVectorAdapter:
        """Load the model that an index recorded under `name`.

        Raises:
            EncoderError: it cannot be loaded.
        """
        source = name.removeprefix(_PREFIX)
        try:
            from sentence_transformers import MultiVectorEncoder
        except ImportError as error:
            raise EncoderError(f"{missing_extra(f'encoder {name!r}', 'sentence-transformers')} ({error})") from None
        if not source:
            fault = "the index was built with a sentence-transformers model that was not loaded from a folder"
            raise EncoderError(f"encoder: {fault}; {local_fix('pass that model as encoder=')}")
        try:
            return cls(MultiVectorEncoder(source))
        # Loading a model can raise anything inside the libraries.
        except Exception as error:
            raise EncoderError(f"encoder {name!r}: cannot be loaded ({reason(error)})") from error

    @property
    def name(self) -> str:
        """Where the model was loaded from, behind the prefix "sentence-transformers:"."""
        config = getattr(self._model.transformers_model, "config", None)
        return _PREFIX + str(getattr(config, "_name_or_path", "") or "")

    @property
    def dim(self) -> int:
        """Dimension of a token vector."""
        dim = self._model.get_embedding_dimension()
        if dim is None:
            raise EncoderError(f"encoder {self.name!r}: does not report the dimension of its vectors")
        return int(dim)

    @property
    def normalizes(self) -> bool:
        """As `Encoder.normalizes`."""
        return any(getattr(module, "module_input_name", "") == "token_embeddings" for module in self._normalizers())

    @property
    def fingerprint(self) -> str:
        """Hash of the weights, the tokenizer and the settings of every module."""
        if self._fingerprint is None:
            digest = hashlib.sha256()
            for key, tensor in sorted(self._model.state_dict().items()):
                digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
                digest.update(tensor.detach().cpu().contiguous().flatten().view(_uint8()).numpy().tobytes())
            # Truncation and padding depend on the last call.
            tokenizer = json.loads(self._model.tokenizer.backend_tokenizer.to_str())
            digest.update(json.dumps(tokenizer | {"truncation": None, "padding": None}, sort_keys=True).encode())
            modules: list[Any] = list(self._model)
            settings = [
                [type(module).__name__, module.get_config_dict()]
                for module in modules
                if hasattr(module, "get_config_dict")
            ]
            description = [settings, self._model.prompts, self._model.similarity_fn_name]
            digest.update(json.dumps(description, sort_keys=True, default=str).encode())
            self._fingerprint = digest.hexdigest()[:16]
        return self._fingerprint

    def encode_queries(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """Return one float32 (tokens, dim) array per text."""
        with self._encoding, tokenizer_errors(self.name):
            return [_float32(vectors) for vectors in self._model.encode_query(list(texts), convert_to_numpy=True)]

    def encode_documents(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """Return one float32 (tokens, dim) array per text."""
        with self._encoding, tokenizer_errors(self.name):
            return [_float32(vectors) for vectors in self._model.encode_document(list(texts), convert_to_numpy=True)]

    def tokens(self, text: str, *, query: bool) -> list[Token]:
        """Return the token of every row that encoding `text` gives, with its characters.

        Raises:
            EncoderError: the model merges tokens, so their characters are unknown.
        """
        from serotine.encoders.tokenization import Token

        encode = self._model.encode_query if query else self._model.encode_document
        prompt = self._prompt(query)
        tokenizer = self._model.tokenizer
        with self._encoding:
            features: Any = encode(text, output_value=None)
            untruncated = tokenizer(prompt + text, return_offsets_mapping=True, return_special_tokens_mask=True)
        scored = features["attention_mask"].bool().cpu().numpy()
        ids = features.get("input_ids")
        if ids is None or len(ids) != len(scored):
            raise EncoderError(
                f"{self.name}: merges tokens without reporting which; explain needs a model without token pooling"
            )
        ids = ids.cpu().tolist()
        spans = _align(ids, untruncated["input_ids"], untruncated["offset_mapping"], untruncated["special_tokens_mask"])
        pieces = tokenizer.convert_ids_to_tokens(ids)
        tokens = []
        for i in np.flatnonzero(scored):
            start, end = (max(offset - len(prompt), 0) for offset in spans[i])
            tokens.append(Token(str(pieces[i]), start, end) if end else Token(str(pieces[i]), 0, 0))
        return tokens

    @property
    def document_room(self) -> int:
        """Number of tokens of a document's text that are encoded, as `Encoder.document_room`."""
        return self._room(query=False)

    def coverage(self, texts: Sequence[str], *, query: bool = False) -> list[TextCoverage]:
        """Return how many tokens every text has, how many are encoded, and what is unknown, as `Encoder.coverage`."""
        from serotine.encoders.tokenization import token_coverage

        tokenizer, prompt = self._full_tokenizer, self._prompt(query)
        offsets = [-len(prompt)] * len(texts)
        prompted = [prompt + text for text in texts]
        with tokenizer_errors(self.name):
            other = len(tokenizer.encode(prompt))
            return token_coverage(tokenizer, prompted, self._room(query=query), other, offsets, self._known_words)

    def _room(self, *, query: bool) -> int:
        """Return the number of tokens of a text that are encoded beside special tokens and prompt."""
        transformer: Any = self._model[0]
        length = getattr(transformer, "query_length" if query else "document_length", None)
        length = length or self._model.max_seq_length or self._model.tokenizer.model_max_length
        return max(int(length) - len(self._full_tokenizer.encode(self._prompt(query))), 1)

    def token_spans(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Return the character spans of the tokens of every text, as `Encoder.token_spans`."""
        with tokenizer_errors(self.name):
            encodings = self._full_tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [np.array(encoding.offsets, np.int32).reshape(-1, 2) for encoding in encodings]

    @cached_property
    def _full_tokenizer(self) -> Tokenizer:
        """Copy of the tokenizer that never truncates; the model's own keeps the truncation of the last call."""
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_str(self._model.tokenizer.backend_tokenizer.to_str())
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    @cached_property
    def _known_words(self) -> KnownWords:
        from serotine.encoders.known_words import KnownWords

        return KnownWords(self._full_tokenizer)

    def _normalizers(self) -> Iterator[object]:
        modules: Iterable[object] = self._model
        return (module for module in modules if type(module).__name__ == "Normalize")

    def _prompt(self, query: bool) -> str:
        names = ("query",) if query else ("document", "passage", "corpus")
        prompts = [self._model.prompts[name] for name in names if name in self._model.prompts]
        return prompts[0] or "" if prompts else ""


def _align(
    ids: Sequence[int], text_ids: Sequence[int], offsets: Sequence[tuple[int, int]], special: Sequence[int]
) -> list[tuple[int, int]]:
    """Return the character span of every id; `ids` are `text_ids`, truncated, with others inserted or around them."""
    spans = []
    position = 0
    for id_ in ids:
        if position < len(text_ids) and text_ids[position] == id_:
            spans.append((0, 0) if special[position] else offsets[position])
            position += 1
        else:
            spans.append((0, 0))
    return spans


def _float32(vectors: Any) -> NDArray[np.float32]:
    array: NDArray[np.float32] = np.asarray(vectors, dtype=np.float32)
    return array


def _uint8() -> Any:
    import torch

    return torch.uint8
