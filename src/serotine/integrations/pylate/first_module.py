"""What training scripts reach for inside a model: ``model[0]``, its backbone and its tokenizer."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from serotine.encoders.formats.folder import Checkpoint
from serotine.encoders.spec import EncoderSpec
from serotine.encoders.tokenization import TextTokenizer

_ROLES = ("unk_token", "pad_token", "cls_token", "sep_token", "mask_token", "bos_token", "eos_token")


class FirstModule:
    """The transformer of a model, by sentence-transformers' names.

    Attributes:
        auto_model: transformers' model; None of an exported encoder.
        max_seq_length: most tokens of a text, its marker apart, in the last call of `ColBERT.tokenize`.
    """

    def __init__(self, spec: EncoderSpec, tokenizer: TextTokenizer, auto_model: Any) -> None:
        self._spec = spec
        self._texts = tokenizer
        self._tokenizer: Any = None
        self.auto_model = auto_model
        self.max_seq_length = spec.document.length

    @property
    def tokenizer(self) -> Any:
        """Transformers' tokenizer, with the markers the model was given."""
        if self._tokenizer is None:
            from transformers import PreTrainedTokenizerFast

            checkpoint = Checkpoint(self._spec.folder, self._spec.name)
            roles = {role: checkpoint.special(role) for role in _ROLES}
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "tokenizer.json"
                self._texts.save(str(file))
                self._tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(file), **roles)
        return self._tokenizer

    def tokenize(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Token ids (texts, tokens) and attention mask of texts as they are, without marker or expansion."""
        side = replace(self._spec.document, marker=None, skip=(), length=self.max_seq_length)
        tokens = [torch.from_numpy(one.ids) for one in self._texts.encode(list(texts), side)]
        ids = torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True)
        lengths = torch.tensor([len(one) for one in tokens])
        return {"input_ids": ids, "attention_mask": (torch.arange(ids.shape[1]) < lengths[:, None]).long()}
