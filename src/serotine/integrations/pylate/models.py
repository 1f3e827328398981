"""`models.ColBERT`: PyLate's model class on Serotine's encoders, as a torch module that can be trained."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from serotine.encoders import Checkpoint, Encoder, EncoderSpec, TextTokenizer, TokenPooling, TorchBackend
from serotine.errors import EncoderError, invalid, not_one_of
from serotine.integrations.pylate import checkpoint, embeddings, scores
from serotine.integrations.pylate.embeddings import Precision
from serotine.integrations.pylate.ignored_parameters import warn_ignored

__all__ = ["ColBERT"]

_IGNORED = {
    "cache_folder": (None, "set the environment variable HF_HOME"),
    "trust_remote_code": (False, "code that comes with a checkpoint is never run"),
    "token": (None, "set the environment variable HF_TOKEN, or run `hf auth login`"),
    "use_auth_token": (None, "set the environment variable HF_TOKEN, or run `hf auth login`"),
    "truncation": (True, "texts are always cut at their length"),
    "model_kwargs": (None, "only dtype is used; everything else follows from the checkpoint"),
    "tokenizer_kwargs": (None, "the tokenizer is the checkpoint's"),
    "config_kwargs": (None, "the configuration is the checkpoint's"),
    "model_card_data": (None, "no model card is written"),
}
_IGNORED_BY_ENCODE = {"batch_size": (32, "batches are sized by tokens, from texts of similar length")}
_SPECIAL_TOKENS = ("unk_token", "pad_token", "cls_token", "sep_token", "mask_token", "bos_token", "eos_token")


class ColBERT(nn.Module):
    """A late-interaction model with PyLate's signature.

    Args:
        model_name_or_path: as for `serotine.Encoder`: a folder or hub id of a PyLate, Stanford ColBERT or
            sentence-transformers checkpoint; an exported encoder (for `encode` only). A plain encoder gets
            markers and a random projection, which needs training.
        device: "cpu", "cuda", "cuda:1", "mps"; the best available unless given.
        prompts: text by name, for `encode(prompt_name=...)`; added to the checkpoint's own.
        default_prompt_name: the prompt `encode` uses unless given one.
        similarity_fn_name: "MaxSim".
        revision: of a hub id.
        local_files_only: use only what was downloaded before.
        truncate_dim: return only the first dimensions of every vector.
        embedding_size: dimension of the vectors; where the checkpoint has another, a random projection is added.
        bias: whether a projection that is added has one.
        query_prefix, document_prefix: the markers; "" for none.
        query_length, document_length: most tokens.
        do_query_expansion: pad queries to their length with scored expansion tokens.
        attend_to_expansion_tokens: whether other tokens attend to expansion tokens.
        skiplist_words: tokens of documents whose vectors are dropped.
        model_kwargs: ``{"dtype": torch.bfloat16}``; everything else has no effect.
        cache_folder, trust_remote_code, token, use_auth_token, truncation, tokenizer_kwargs, config_kwargs,
            model_card_data: without effect.
        modules: must be None; models are built from checkpoints.

    Raises:
        EncoderError: the checkpoint is missing or damaged.
        TypeError, ValueError: an unknown parameter or an invalid value.
    """

    similarity_fn_name = "MaxSim"

    def __init__(
        self,
        model_name_or_path: str | Path | None = None,
        modules: Iterable[nn.Module] | None = None,
        device: str | None = None,
        prompts: dict[str, str] | None = None,
        default_prompt_name: str | None = None,
        similarity_fn_name: str | scores.SimilarityFunction | None = None,
        cache_folder: str | None = None,
        trust_remote_code: bool = False,
        revision: str | None = None,
        local_files_only: bool = False,
        token: bool | str | None = None,
        use_auth_token: bool | str | None = None,
        truncate_dim: int | None = None,
        embedding_size: int | None = None,
        bias: bool = False,
        query_prefix: str | None = None,
        document_prefix: str | None = None,
        truncation: bool = True,
        query_length: int | None = None,
        document_length: int | None = None,
        do_query_expansion: bool | None = None,
        attend_to_expansion_tokens: bool | None = None,
        skiplist_words: list[str] | None = None,
        model_kwargs: dict[str, Any] | None = None,
        tokenizer_kwargs: dict[str, Any] | None = None,
        config_kwargs: dict[str, Any] | None = None,
        model_card_data: Any = None,
    ) -> None:
        if modules is not None:
            raise ValueError("modules: must be None; save the modules and pass their folder as model_name_or_path")
        if similarity_fn_name is not None:
            scores.SimilarityFunction(similarity_fn_name)
        dtype, model_kwargs = checkpoint.pop_dtype(model_kwargs)
        ignored = {name: value for name, value in locals().items() if name in _IGNORED}
        warn_ignored("models.ColBERT", _IGNORED, ignored, stacklevel=2)
        overrides = checkpoint.Overrides(
            query_prefix,
            document_prefix,
            query_length,
            document_length,
            do_query_expansion,
            attend_to_expansion_tokens,
            skiplist_words,
            embedding_size,
            bias,
        )
        super().__init__()
        colbert, self._backend = checkpoint.load(
            model_name_or_path, overrides, device=device, dtype=dtype, revision=revision, offline=local_files_only
        )
        self._spec = colbert.spec
        self._dim = truncate_dim
        self._tokenizer = TextTokenizer(self._spec)
        self._encoders: dict[tuple[bool, int, int], Encoder] = {}
        self._card: Any = None
        self.query_prefix, self.document_prefix = colbert.query_prefix, colbert.document_prefix
        self.skiplist_words = colbert.skiplist_words
        self.prompts = colbert.prompts | (prompts or {})
        self.default_prompt_name = default_prompt_name or colbert.default_prompt_name
        auto_model = None
        if isinstance(self._backend, TorchBackend):
            self.token_encoder = self._backend.model
            auto_model = self._backend.model.backbone
        self._transformer = Transformer(self._spec, self._tokenizer, auto_model)

    def encode(
        self,
        sentences: Any,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        precision: Precision = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        padding: bool = False,
        device: str | None = None,
        normalize_embeddings: bool = True,
        is_query: bool = True,
        pool_factor: int = 1,
        protected_tokens: int = 1,
        output_value: str | None = "token_embeddings",
    ) -> Any:
        """Return the token vectors of texts.

        Args:
            sentences: a text, a list of texts, or a list of lists of texts.
            prompt_name: which of `prompts` to prepend to every text.
            prompt: what to prepend to every text, instead.
            batch_size: without effect.
            show_progress_bar: draw a bar on standard error.
            precision: "float32", "int8", "uint8", "binary" or "ubinary"; see `embeddings.quantize`.
            convert_to_numpy: return arrays; tensors where it is False.
            convert_to_tensor: return tensors, whatever `convert_to_numpy` says.
            padding: zero-pad to the longest text: every text is then (1, tokens, dim).
            device: move the model there first.
            normalize_embeddings: scale every vector to length 1.
            is_query: encode as queries, with their marker and expansion; as documents where it is False.
            pool_factor: merge document vectors until about one in `pool_factor` is left; means are not rescaled.
            protected_tokens: how many leading vectors are never merged.
            output_value: "token_embeddings"; or None for a dict of token_embeddings, input_ids, attention_mask and
                masks (which tokens are scored) of every token.

        Returns:
            One (tokens, dim) a text; for a single text, just that; for lists of texts, a list each.

        Raises:
            ValueError: an unknown prompt, precision or output.
            TypeError: an item that is not a text.
        """
        if isinstance(sentences, (list, tuple)) and sentences and isinstance(sentences[0], (list, tuple)):
            options = {key: value for key, value in locals().items() if key not in ("self", "sentences")}
            lists = [self.encode(list(texts), **options) for texts in sentences]
            return [embeddings.stack_equal(values) for values in lists] if convert_to_tensor else lists
        warn_ignored("ColBERT.encode", _IGNORED_BY_ENCODE, {"batch_size": batch_size}, stacklevel=2)
        if output_value not in ("token_embeddings", None):
            raise not_one_of("output_value", ("token_embeddings", None), output_value)
        if output_value is None and pool_factor > 1:
            raise ValueError(f"output_value: must be 'token_embeddings' with pool_factor={pool_factor}, got None")
        if pool_factor < 1:
            raise invalid("pool_factor", "at least 1", pool_factor)
        if protected_tokens < 0:
            raise invalid("protected_tokens", "at least 0", protected_tokens)
        if device is not None:
            self.to(device)
        self.eval()
        prefix = self._prompt(prompt_name, prompt)
        single = isinstance(sentences, str)
        texts = [sentences] if single else list(sentences)
        texts = [prefix + text if isinstance(text, str) else text for text in texts]
        encoder = self._encoder(normalize_embeddings, 1 if is_query else pool_factor, protected_tokens)
        arrays: dict[str, list[NDArray[Any]]] = {}
        if output_value is None:
            arrays |= self._encode_all_tokens(encoder, texts, is_query=is_query, normalize=normalize_embeddings)
        else:
            encode = encoder.encode_queries if is_query else encoder.encode_documents
            arrays["token_embeddings"] = list(encode(texts, show_progress=bool(show_progress_bar)))
        if padding:
            arrays = {key: embeddings.pad(values) for key, values in arrays.items()}
        arrays["token_embeddings"] = embeddings.quantize(arrays["token_embeddings"], precision)
        output: dict[str, list[Any]] = dict(arrays)
        if convert_to_tensor or not convert_to_numpy:
            output = {
                key: [torch.from_numpy(value).to(self.device) for value in values] for key, values in arrays.items()
            }
        if output_value is None:
            return {key: values[0] if single else values for key, values in output.items()}
        return output["token_embeddings"][0] if single else output["token_embeddings"]

    def tokenize(
        self, texts: Sequence[str], is_query: bool = True, pad: bool = False, task: str | None = None
    ) -> dict[str, Tensor]:
        """Return token ids and attention mask of texts, as `forward` takes them; prompts are not added.

        Args:
            texts: the texts.
            is_query: tokenize as queries, with their marker and expansion; as documents where it is False.
            pad: pad to the side's length instead of the longest text's.
            task: without effect; the collator passes it.

        Returns:
            "input_ids" and "attention_mask", int64 (texts, tokens); "token_type_ids" where the model has segments.
        """
        side = self._spec.query if is_query else self._spec.document
        self._transformer.max_seq_length = side.length - (side.marker is not None)
        encodings = self._tokenizer.encode(list(texts), side)
        width = side.length if pad else max(map(len, encodings), default=0)
        pad_id = 0 if self._spec.query.expansion is None else self._spec.query.expansion.token
        ids = torch.full((len(encodings), width), pad_id, dtype=torch.int64)
        attention = torch.zeros_like(ids)
        for row, tokens in enumerate(encodings):
            ids[row, : len(tokens)] = torch.from_numpy(tokens.ids)
            attention[row, : len(tokens)] = torch.from_numpy(tokens.attention)
        features = {"input_ids": ids, "attention_mask": attention}
        if isinstance(self._backend, TorchBackend) and self._backend.model.token_types > 1:
            features["token_type_ids"] = torch.zeros_like(ids)
        return features

    def forward(self, input: Mapping[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:  # noqa: A002
        """Add "token_embeddings" (texts, tokens, dim), not normalized, to the output of `tokenize`; gradients flow.

        Raises:
            EncoderError: the model is an exported encoder, which torch does not run.
        """
        if not isinstance(self._backend, TorchBackend):
            raise EncoderError(
                f"{self._spec.name}: an exported encoder cannot be trained; use the checkpoint it was exported from"
            )
        states = self._backend.model(input["input_ids"], input["attention_mask"])
        return {**input, "token_embeddings": states[..., : self._dim]}

    similarity = staticmethod(scores.colbert_scores)
    similarity_pairwise = staticmethod(scores.colbert_scores_pairwise)

    @staticmethod
    def skiplist_mask(input_ids: Tensor, skiplist: Sequence[int]) -> Tensor:
        """Return which of `input_ids` are not in `skiplist`, bool of the same shape."""
        return ~torch.isin(input_ids, torch.tensor(list(skiplist), dtype=torch.int64, device=input_ids.device))

    def save_pretrained(self, path: str | Path, *args: Any, **kwargs: Any) -> None:
        """Save the model's current state in PyLate's format to a folder; files of the same names are replaced.

        Raises:
            EncoderError: the model is an exported encoder, or the format cannot express it.
        """
        settings = {
            "prompts": self.prompts,
            "default_prompt_name": self.default_prompt_name,
            "query_prefix": self.query_prefix,
            "document_prefix": self.document_prefix,
            "skiplist_words": self.skiplist_words,
        }
        checkpoint.save_pylate(Encoder.from_backend(self._spec, self._backend), Path(path), settings)

    save = save_pretrained

    def __getitem__(self, index: int) -> Transformer:
        """Return the transformer, as ``model[0]``.

        Raises:
            IndexError: another index.
        """
        if index != 0:
            raise IndexError(f"model[{index}]: only model[0] is available, the transformer")
        return self._transformer

    def _first_module(self) -> Transformer:
        return self._transformer

    @property
    def model_card_data(self) -> Any:
        """The training notes of sentence-transformers' trainer; they are not written."""
        if self._card is None:
            from serotine.integrations.pylate.sentence_transformers import ModelCardData

            self._card = ModelCardData()
            name, _, commit = self._spec.name.partition("@")
            # The name of a folder is its path, which may contain anything.
            if commit and not Path(self._spec.name).is_absolute():
                self._card.base_model, self._card.base_model_revision = name, commit
        return self._card

    @property
    def tokenizer(self) -> Any:
        """Transformers' tokenizer, with the model's markers."""
        return self._transformer.tokenizer

    @property
    def device(self) -> torch.device:
        """The model's device."""
        return torch.device(getattr(self._backend, "device", "cpu"))

    @property
    def query_length(self) -> int:
        """Most tokens of a query; with query expansion, the number of tokens of every query."""
        return self._spec.query.length

    @property
    def document_length(self) -> int:
        """Most tokens of a document."""
        return self._spec.document.length

    @property
    def do_query_expansion(self) -> bool:
        """Whether queries are padded with scored expansion tokens."""
        return self._spec.query.expansion is not None

    @property
    def attend_to_expansion_tokens(self) -> bool:
        """Whether other tokens attend to expansion tokens."""
        expansion = self._spec.query.expansion
        return expansion is not None and expansion.attend

    @property
    def query_prefix_id(self) -> int | None:
        """Token id of the query marker, if there is one."""
        return self._tokenizer.marker_id(self._spec.query)

    @property
    def document_prefix_id(self) -> int | None:
        """Token id of the document marker, if there is one."""
        return self._tokenizer.marker_id(self._spec.document)

    @property
    def skiplist(self) -> list[int]:
        """Ids of the tokens whose vectors documents drop."""
        return list(self._spec.document.skip)

    def _encoder(self, normalize: bool, factor: int, protected: int) -> Encoder:
        """Return an encoder on this model that normalizes, pools and truncates as one call of `encode` requires."""
        key = (normalize, factor, protected if factor > 1 else 0)
        if key not in self._encoders:
            pooling = self._spec.pooling if factor == 1 else TokenPooling(float(factor), protected, normalize=False)
            spec = replace(self._spec, normalize=normalize, pooling=pooling)
            self._encoders[key] = Encoder.from_backend(spec, self._backend, dim=self._dim)
        return self._encoders[key]

    def _encode_all_tokens(
        self, encoder: Encoder, texts: Sequence[str], *, is_query: bool, normalize: bool
    ) -> dict[str, list[NDArray[Any]]]:
        """Return the vector, id, attention and score mask of every token, those that are not scored included."""
        states = encoder.token_states(texts, query=is_query)
        if normalize:
            states = [rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for rows in states]
        encodings = self._tokenizer.encode(list(texts), encoder.spec.query if is_query else encoder.spec.document)
        return {
            "token_embeddings": [rows[:, : encoder.dim] for rows in states],
            "input_ids": [tokens.ids for tokens in encodings],
            "attention_mask": [tokens.attention.astype(np.int64) for tokens in encodings],
            "masks": [tokens.scored for tokens in encodings],
        }

    def _prompt(self, name: str | None, prompt: str | None) -> str:
        if prompt is not None:
            return prompt
        name = self.default_prompt_name if name is None else name
        if name is None:
            return ""
        if not self.prompts:
            raise ValueError(f"prompt_name: the model has no prompts, got {name!r}; pass prompt= instead")
        if name not in self.prompts:
            raise not_one_of("prompt_name", self.prompts, name)
        return self.prompts[name]


class Transformer:
    """The module that training scripts reach as ``model[0]``, by sentence-transformers' names.

    Attributes:
        auto_model: transformers' model; None for an exported encoder.
        max_seq_length: most tokens of a text, without its marker, in the last call of `ColBERT.tokenize`.
    """

    def __init__(self, spec: EncoderSpec, tokenizer: TextTokenizer, auto_model: Any) -> None:
        self._spec = spec
        self._text_tokenizer = tokenizer
        self._tokenizer: Any = None
        self.auto_model = auto_model
        self.max_seq_length = spec.document.length

    @property
    def tokenizer(self) -> Any:
        """Transformers' tokenizer, with the model's markers."""
        if self._tokenizer is None:
            from transformers import PreTrainedTokenizerFast

            folder = Checkpoint(self._spec.folder, self._spec.name)
            special_tokens = {name: folder.special_token(name) for name in _SPECIAL_TOKENS}
            with tempfile.TemporaryDirectory() as scratch:
                file = Path(scratch) / "tokenizer.json"
                self._text_tokenizer.save(str(file))
                self._tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(file), **special_tokens)
        return self._tokenizer

    def tokenize(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Return token ids (texts, tokens) and attention mask of texts without marker or expansion."""
        side = replace(self._spec.document, marker=None, skip=(), length=self.max_seq_length)
        tokens = [torch.from_numpy(tokens.ids) for tokens in self._text_tokenizer.encode(list(texts), side)]
        ids = torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True)
        lengths = torch.tensor([len(row) for row in tokens])
        return {"input_ids": ids, "attention_mask": (torch.arange(ids.shape[1]) < lengths[:, None]).long()}
