"""What `models.ColBERT` is made of: the constructor's parameters, and what a model says of itself."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from serotine.encoders.encoder import Encoder
from serotine.encoders.tokenization import TextTokenizer
from serotine.encoders.torch_backend import TorchBackend
from serotine.integrations.pylate import loading, scores
from serotine.integrations.pylate.checkpoint import Overrides
from serotine.integrations.pylate.first_module import FirstModule
from serotine.integrations.pylate.ignored import explain_ignored


class PretrainedModel(nn.Module):
    """A late-interaction model, by PyLate's signature.

    Args:
        model_name_or_path: what `serotine.Encoder` takes: a folder or hub id of a PyLate, Stanford ColBERT or
            sentence-transformers checkpoint; an exported encoder (for `encode` alone); "minilm". A plain encoder gets
            markers and a random projection, to be trained.
        device: "cpu", "cuda", "cuda:1", "mps"; the best there is unless given.
        prompts: text by name, for `encode(prompt_name=...)`; added to the checkpoint's own.
        default_prompt_name: the prompt `encode` uses where it is given none.
        similarity_fn_name: "MaxSim".
        revision: of a hub id.
        local_files_only: take only what has been downloaded before.
        truncate_dim: keep only the first numbers of every vector.
        embedding_size: dimension of the vectors: where the checkpoint has another, a random projection is added.
        bias: whether a projection that is added has one.
        query_prefix, document_prefix: the markers; "" for none.
        query_length, document_length: most tokens.
        do_query_expansion: fill queries up to their length.
        attend_to_expansion_tokens: whether other tokens look at what was filled in.
        skiplist_words: tokens of documents whose vectors are left out.
        model_kwargs: ``{"dtype": torch.bfloat16}``; everything else has no effect.
        cache_folder, trust_remote_code, token, use_auth_token, truncation, tokenizer_kwargs, config_kwargs,
            model_card_data: without effect.
        modules: must be None: models are made of checkpoints.

    Raises:
        EncoderError: the model is not there, or its files are damaged.
        TypeError, ValueError: an argument that PyLate does not have, or that is not what it should be.
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
            raise ValueError("modules: a model is made of a checkpoint here; save the modules and give their folder")
        if similarity_fn_name is not None:
            scores.SimilarityFunction(similarity_fn_name)
        dtype, model_kwargs = loading.dtype_of(model_kwargs)
        given = {name: value for name, value in locals().items() if name in loading.WITHOUT_EFFECT}
        explain_ignored("models.ColBERT", loading.WITHOUT_EFFECT, given, stacklevel=2)
        told = Overrides(
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
        known, self._backend = loading.load(
            model_name_or_path, told, device=device, dtype=dtype, revision=revision, offline=local_files_only
        )
        self._spec = known.spec
        self._dim = truncate_dim
        self._tokenizer = TextTokenizer(self._spec)
        self._engines: dict[tuple[bool, int, int], Encoder] = {}
        self._card: Any = None
        self.query_prefix, self.document_prefix = known.query_prefix, known.document_prefix
        self.skiplist_words = known.skiplist_words
        self.prompts = known.prompts | (prompts or {})
        self.default_prompt_name = default_prompt_name or known.default_prompt_name
        auto_model = None
        if isinstance(self._backend, TorchBackend):
            self.token_encoder = self._backend.model
            auto_model = self._backend.model.backbone
        self._first = FirstModule(self._spec, self._tokenizer, auto_model)

    def __getitem__(self, index: int) -> FirstModule:
        """The transformer, as ``model[0]``.

        Raises:
            IndexError: another number.
        """
        if index != 0:
            raise IndexError(f"model[{index}]: only model[0] can be had, the transformer")
        return self._first

    def _first_module(self) -> FirstModule:
        return self._first

    @property
    def tokenizer(self) -> Any:
        """Transformers' tokenizer, with the model's markers."""
        return self._first.tokenizer

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return torch.device(getattr(self._backend, "device", "cpu"))

    @property
    def query_length(self) -> int:
        """Most tokens of a query; what queries are filled up to, if they are."""
        return self._spec.query.length

    @property
    def document_length(self) -> int:
        """Most tokens of a document."""
        return self._spec.document.length

    @property
    def do_query_expansion(self) -> bool:
        """Whether queries are filled up, and what was filled in is scored."""
        return self._spec.query.expansion is not None

    @property
    def attend_to_expansion_tokens(self) -> bool:
        """Whether other tokens look at what was filled in."""
        expansion = self._spec.query.expansion
        return expansion is not None and expansion.attend

    @property
    def query_prefix_id(self) -> int | None:
        """Id of the queries' marker, if they have one."""
        return self._tokenizer.marker_id(self._spec.query)

    @property
    def document_prefix_id(self) -> int | None:
        """Id of the documents' marker, if they have one."""
        return self._tokenizer.marker_id(self._spec.document)

    @property
    def skiplist(self) -> list[int]:
        """Ids of the tokens whose vectors documents leave out."""
        return list(self._spec.document.skip)
