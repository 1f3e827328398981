"""`models.ColBERT`: PyLate's model class on this project's encoders, as a torch module that can be trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from serotine.encoders.encoder import Encoder
from serotine.encoders.torch_backend import TorchBackend
from serotine.errors import EncoderError
from serotine.integrations.pylate import scores
from serotine.integrations.pylate.encoding import engine, padded, stacked, whole
from serotine.integrations.pylate.ignored import explain_ignored
from serotine.integrations.pylate.precision import Precision, quantised
from serotine.integrations.pylate.pretrained import PretrainedModel
from serotine.integrations.pylate.writing import write_pylate

__all__ = ["ColBERT"]

_WITHOUT_EFFECT = {"batch_size": (32, "batches are made by tokens, of texts of like length")}


class ColBERT(PretrainedModel):
    """A late-interaction model; `PretrainedModel` tells the parameters of its constructor."""

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
        """Token vectors of texts.

        Args:
            sentences: a text, a list of texts, or a list of lists of texts.
            prompt_name: which of `prompts` to put before every text.
            prompt: what to put before every text, instead.
            batch_size: without effect.
            show_progress_bar: draw a bar on standard error.
            precision: "float32", "int8", "uint8", "binary" or "ubinary"; see `precision.quantised`.
            convert_to_numpy: arrays; tensors where it is False.
            convert_to_tensor: tensors, whatever `convert_to_numpy` says.
            padding: fill up with zeros to the longest text: every text is then (1, tokens, dim).
            device: move the model there first.
            normalize_embeddings: scale every vector to length 1.
            is_query: queries, with their marker and expansion; documents where it is False.
            pool_factor: merge document vectors until about one in so many is left; the means are not scaled again.
            protected_tokens: so many leading vectors are left out of that.
            output_value: "token_embeddings"; or None for a dict of token_embeddings, input_ids, attention_mask and
                masks (which tokens count) of every token.

        Returns:
            One (tokens, dim) a text; of a single text, just that; of lists of texts, a list each.

        Raises:
            ValueError: an unknown prompt, precision or output.
            TypeError: something that is no text.
        """
        if isinstance(sentences, (list, tuple)) and sentences and isinstance(sentences[0], (list, tuple)):
            options = {key: value for key, value in locals().items() if key not in ("self", "sentences")}
            return [stacked(self.encode(list(part), **options), convert_to_tensor) for part in sentences]
        explain_ignored("ColBERT.encode", _WITHOUT_EFFECT, {"batch_size": batch_size}, stacklevel=2)
        if output_value not in ("token_embeddings", None) or (output_value is None and pool_factor > 1):
            raise ValueError("output_value: want 'token_embeddings', or None without pool_factor")
        if pool_factor < 1 or protected_tokens < 0:
            raise ValueError("pool_factor: want at least 1; protected_tokens: want at least 0")
        if device is not None:
            self.to(device)
        self.eval()
        before = self._prompt(prompt_name, prompt)
        single = isinstance(sentences, str)
        texts = [sentences] if single else list(sentences)
        texts = [before + text if isinstance(text, str) else text for text in texts]
        encoder = self._engine(normalize_embeddings, 1 if is_query else pool_factor, protected_tokens)
        found: dict[str, list[NDArray[Any]]] = {}
        if output_value is None:
            found |= whole(encoder, self._tokenizer, texts, is_query=is_query, normalise=normalize_embeddings)
        else:
            run = encoder.encode_queries if is_query else encoder.encode_documents
            found["token_embeddings"] = list(run(texts, show_progress=bool(show_progress_bar)))
        if padding:
            found = {key: padded(values) for key, values in found.items()}
        found["token_embeddings"] = quantised(found["token_embeddings"], precision)
        made: dict[str, list[Any]] = dict(found)
        if convert_to_tensor or not convert_to_numpy:
            made = {key: [torch.from_numpy(value).to(self.device) for value in values] for key, values in found.items()}
        if output_value is None:
            return {key: values[0] if single else values for key, values in made.items()}
        return made["token_embeddings"][0] if single else made["token_embeddings"]

    def tokenize(
        self, texts: Sequence[str], is_query: bool = True, pad: bool = False, task: str | None = None
    ) -> dict[str, Tensor]:
        """Token ids and attention mask of texts, as `forward` takes them; prompts are not put in.

        Args:
            texts: what to tokenise.
            is_query: queries, with their marker and expansion; documents where it is False.
            pad: fill up to the side's length instead of the longest text's.
            task: taken for the collator's sake.

        Returns:
            "input_ids" and "attention_mask", int64 (texts, tokens); "token_type_ids" where the model has segments.
        """
        side = self._spec.query if is_query else self._spec.document
        self._first.max_seq_length = side.length - (side.marker is not None)
        tokens = self._tokenizer.encode(list(texts), side)
        width = side.length if pad else max(map(len, tokens), default=0)
        filler = 0 if self._spec.query.expansion is None else self._spec.query.expansion.token
        ids = torch.full((len(tokens), width), filler, dtype=torch.int64)
        attention = torch.zeros_like(ids)
        for row, one in enumerate(tokens):
            ids[row, : len(one)] = torch.from_numpy(one.ids)
            attention[row, : len(one)] = torch.from_numpy(one.attention)
        features = {"input_ids": ids, "attention_mask": attention}
        if isinstance(self._backend, TorchBackend) and self._backend.model.segments > 1:
            features["token_type_ids"] = torch.zeros_like(ids)
        return features

    def forward(self, input: Mapping[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:  # noqa: A002
        """Adds "token_embeddings" (texts, tokens, dim), not scaled, to what `tokenize` gave; gradients flow.

        Raises:
            EncoderError: the model is an exported one, which torch does not run.
        """
        if not isinstance(self._backend, TorchBackend):
            raise EncoderError(f"{self._spec.name}: an exported encoder cannot be trained; use the checkpoint")
        states = self._backend.model(input["input_ids"], input["attention_mask"])
        return {**input, "token_embeddings": states[..., : self._dim]}

    similarity = staticmethod(scores.colbert_scores)
    similarity_pairwise = staticmethod(scores.colbert_scores_pairwise)

    @staticmethod
    def skiplist_mask(input_ids: Tensor, skiplist: Sequence[int]) -> Tensor:
        """Which of `input_ids` are not in `skiplist`, bool of the same shape."""
        return ~torch.isin(input_ids, torch.tensor(list(skiplist), dtype=torch.int64, device=input_ids.device))

    def save_pretrained(self, path: str | Path, *args: Any, **kwargs: Any) -> None:
        """Writes the model as it is now, in PyLate's format, into a folder; files of the same names are replaced.

        Raises:
            EncoderError: the model is an exported one, or does what the format cannot say.
        """
        config = {
            "prompts": self.prompts,
            "default_prompt_name": self.default_prompt_name,
            "query_prefix": self.query_prefix,
            "document_prefix": self.document_prefix,
            "skiplist_words": self.skiplist_words,
        }
        write_pylate(Encoder.from_backend(self._spec, self._backend), Path(path), config)

    save = save_pretrained

    @property
    def model_card_data(self) -> Any:
        """What sentence-transformers' trainer notes of the training; it is not written."""
        if self._card is None:
            from serotine.integrations.pylate.model_card import ModelCardData

            self._card = ModelCardData()
        return self._card

    def _engine(self, normalise: bool, factor: int, protected: int) -> Encoder:
        key = (normalise, factor, protected if factor > 1 else 0)
        if key not in self._engines:
            self._engines[key] = engine(
                self._spec, self._backend, normalise=normalise, factor=factor, protected=protected, dim=self._dim
            )
        return self._engines[key]

    def _prompt(self, name: str | None, prompt: str | None) -> str:
        if prompt is not None:
            return prompt
        name = self.default_prompt_name if name is None else name
        if name is None:
            return ""
        if name not in self.prompts:
            raise ValueError(
                f"prompt_name: no prompt {name!r}; there are {', '.join(map(repr, self.prompts)) or 'none'}"
            )
        return self.prompts[name]
