"""sentence-transformers' `MultiVectorEncoder` where an index wants an encoder.

``Index.create(path, encoder=MultiVectorEncoder(...))`` makes the adapter by itself; the index can be opened again by
name alone where the model came from a folder or the hub, for what is recorded loads it again.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from serotine.encoders.tokenization import Token
from serotine.errors import EncoderError
from serotine.index.encoding import SENTENCE_TRANSFORMERS

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder


class MultiVectorAdapter:
    """A `MultiVectorEncoder` as an encoder of this project; safe from any number of threads, one of which encodes.

    Args:
        model: the model. Its vectors are taken as `encode_query` and `encode_document` give them.
    """

    def __init__(self, model: MultiVectorEncoder) -> None:
        self._model = model
        self._fingerprint: str | None = None
        # One tokenizer serves questions, documents and `tokens`, and is told how to cut and pad before each: another
        # thread must not tell it otherwise in between.
        self._encoding = threading.Lock()

    @classmethod
    def load(cls, name: str) -> MultiVectorAdapter:
        """The model that an index recorded under `name`.

        Raises:
            EncoderError: it cannot be loaded.
        """
        source = name.removeprefix(SENTENCE_TRANSFORMERS)
        try:
            from sentence_transformers import MultiVectorEncoder
        except ImportError as error:
            raise EncoderError(
                f"encoder {name!r}: needs sentence-transformers 6; run: "
                f"pip install 'serotine[sentence-transformers]' ({error})"
            ) from None
        if not source:
            raise EncoderError(
                "encoder: the index was built with a sentence-transformers model that came from no folder; "
                "give that model as encoder="
            )
        try:
            return cls(MultiVectorEncoder(source))
        # Loading a model can raise anything at all inside the libraries.
        except Exception as error:
            raise EncoderError(f"encoder {name!r}: cannot be loaded ({str(error).splitlines()[0]})") from error

    @property
    def name(self) -> str:
        """Where the model was loaded from, after "sentence-transformers:"."""
        config = getattr(self._model.transformers_model, "config", None)
        return SENTENCE_TRANSFORMERS + str(getattr(config, "_name_or_path", "") or "")

    @property
    def dim(self) -> int:
        """Dimension of a token vector."""
        found = self._model.get_embedding_dimension()
        if found is None:
            raise EncoderError("encoder: this MultiVectorEncoder does not say the dimension of its vectors")
        return int(found)

    @property
    def fingerprint(self) -> str:
        """A hash of the weights, the tokenizer, and the settings of every module."""
        if self._fingerprint is None:
            digest = hashlib.sha256()
            for key, tensor in sorted(self._model.state_dict().items()):
                digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
                digest.update(tensor.detach().cpu().contiguous().flatten().view(_bytes()).numpy().tobytes())
            # Truncation and padding are as the last call left them.
            tokenizer = json.loads(self._model.tokenizer.backend_tokenizer.to_str())
            digest.update(json.dumps(tokenizer | {"truncation": None, "padding": None}, sort_keys=True).encode())
            modules: list[Any] = list(self._model)
            settings = [
                [type(module).__name__, module.get_config_dict()]
                for module in modules
                if hasattr(module, "get_config_dict")
            ]
            told = [settings, self._model.prompts, self._model.similarity_fn_name]
            digest.update(json.dumps(told, sort_keys=True, default=str).encode())
            self._fingerprint = digest.hexdigest()[:16]
        return self._fingerprint

    def encode_queries(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """One float32 (tokens, dim) array a text."""
        with self._encoding:
            return [_float32(vectors) for vectors in self._model.encode_query(list(texts), convert_to_numpy=True)]

    def encode_documents(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """One float32 (tokens, dim) array a text."""
        with self._encoding:
            return [_float32(vectors) for vectors in self._model.encode_document(list(texts), convert_to_numpy=True)]

    def tokens(self, text: str, *, query: bool) -> list[Token]:
        """The token of every row that encoding `text` gives, with its place in the text.

        Raises:
            EncoderError: the model merges tokens, whose places are then not known.
        """
        encode = self._model.encode_query if query else self._model.encode_document
        prompt = self._prompt(query)
        tokenizer = self._model.tokenizer
        with self._encoding:
            features: Any = encode(text, output_value=None)
            whole = tokenizer(prompt + text, return_offsets_mapping=True, return_special_tokens_mask=True)
        kept = features["attention_mask"].bool().cpu().numpy()
        ids = features.get("input_ids")
        if ids is None or len(ids) != len(kept):
            raise EncoderError(f"{self.name}: merges tokens, and does not tell which; explain needs a model without")
        ids = ids.cpu().tolist()
        spans = _aligned(ids, whole["input_ids"], whole["offset_mapping"], whole["special_tokens_mask"])
        pieces = tokenizer.convert_ids_to_tokens(ids)
        out = []
        for i in np.flatnonzero(kept):
            start, end = (max(place - len(prompt), 0) for place in spans[i])
            out.append(Token(str(pieces[i]), start, end) if end else Token(str(pieces[i]), 0, 0))
        return out

    @property
    def document_room(self) -> int:
        """How many tokens of a document's text are encoded, as `Encoder.document_room`."""
        first: Any = self._model[0]
        length = getattr(first, "document_length", None) or self._model.max_seq_length
        tokenizer = self._whole_tokenizer
        prompt = len(tokenizer.encode(self._prompt(query=False), add_special_tokens=False))
        added = int(tokenizer.num_special_tokens_to_add(is_pair=False))
        return max(int(length or self._model.tokenizer.model_max_length) - added - prompt, 1)

    def token_spans(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Where every token of every text stands, as `Encoder.token_spans`."""
        found = self._whole_tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [np.array(each.offsets, np.int32).reshape(-1, 2) for each in found]

    @cached_property
    def _whole_tokenizer(self) -> Tokenizer:
        """A copy that cuts nothing off: on the model's own, truncation is as the last call left it."""
        copied = Tokenizer.from_str(self._model.tokenizer.backend_tokenizer.to_str())
        copied.no_truncation()
        copied.no_padding()
        return copied

    def _prompt(self, query: bool) -> str:
        names = ("query",) if query else ("document", "passage", "corpus")
        found = [self._model.prompts[name] for name in names if name in self._model.prompts]
        return found[0] or "" if found else ""


def _aligned(
    ids: Sequence[int], whole: Sequence[int], offsets: Sequence[tuple[int, int]], special: Sequence[int]
) -> list[tuple[int, int]]:
    """The place of every id, which are those of the whole text, cut, and with others put in between or around."""
    spans = []
    at = 0
    for id_ in ids:
        if at < len(whole) and whole[at] == id_:
            spans.append((0, 0) if special[at] else offsets[at])
            at += 1
        else:
            spans.append((0, 0))
    return spans


def _float32(vectors: Any) -> NDArray[np.float32]:
    found: NDArray[np.float32] = np.asarray(vectors, dtype=np.float32)
    return found


def _bytes() -> Any:
    import torch

    return torch.uint8
