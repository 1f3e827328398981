"""Token estimates: how many tokens a text costs the model that reads it, high enough to stay within a budget.

The reading model is unknown, and many vocabularies are secret. The estimate counts word pieces of BERT's vocabulary,
which this package includes (tokenizer.json of sentence-transformers/all-MiniLM-L6-v2, Apache License 2.0), with every
digit and line break as one, plus a tenth: more than current models' byte pairs need for prose, code and JSON
(tests/test_mcp_budget.py compares with Qwen's vocabulary).
"""

from __future__ import annotations

import json
import math
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_MARGIN = 1.1
# Scripts outside the vocabulary: a byte pair rarely covers more than two of their bytes.
_BYTES_PER_TOKEN = 2


def count_tokens(text: str) -> int:
    """Return an estimate of the tokens of `text` that is rarely too low."""
    tokenizer = _tokenizer()
    unknown_id = tokenizer.token_to_id("[UNK]")
    encoding = tokenizer.encode(text, add_special_tokens=False)
    pieces = text.count("\n")
    for id_, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
        pieces += 1 if id_ != unknown_id else len(text[start:end].encode("utf-8", "replace"))
    non_ascii = sum(len(character.encode("utf-8", "replace")) for character in text if not character.isascii())
    return max(math.ceil(pieces * _MARGIN), math.ceil(non_ascii / _BYTES_PER_TOKEN))


def count_tokens_sent(text: str) -> int:
    """Return the tokens of `text` as plain text or inside a JSON string, whichever are more."""
    return max(count_tokens(text), count_tokens(as_json(text)[1:-1]))


def as_json(value: Any) -> str:
    """Return `value` as structured output is sent."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@cache
def _tokenizer() -> Tokenizer:
    from tokenizers import Tokenizer, pre_tokenizers

    data = files("serotine.serving.mcp").joinpath("tokenizer.json").read_text(encoding="utf-8")
    tokenizer = Tokenizer.from_str(data)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([tokenizer.pre_tokenizer, digits])
    return tokenizer
