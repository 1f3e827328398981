"""How many tokens a text will cost the model that reads it, estimated so that a budget is kept.

Which model reads is not known, and the vocabularies of many are secret. What is counted is the word pieces of BERT's
vocabulary, which this package carries, with every digit and every line break as one, and a tenth on top: more than the
byte pairs of today's models need for prose, code and JSON (tests/test_mcp_budget.py counts with Qwen's).
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
# Scripts that the vocabulary lacks: byte pairs seldom take less than two bytes of them at once.
_BYTES_A_TOKEN = 2


def count_tokens(text: str) -> int:
    """An estimate of the tokens of `text` that is seldom too low."""
    tokenizer = _tokenizer()
    unknown = tokenizer.token_to_id("[UNK]")
    encoding = tokenizer.encode(text, add_special_tokens=False)
    pieces = text.count("\n")
    for number, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
        pieces += 1 if number != unknown else len(text[start:end].encode("utf-8", "replace"))
    foreign = sum(len(character.encode("utf-8", "replace")) for character in text if not character.isascii())
    return max(math.ceil(pieces * _MARGIN), math.ceil(foreign / _BYTES_A_TOKEN))


def as_json(value: Any) -> str:
    """`value` as structured output is written on the wire."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@cache
def _tokenizer() -> Tokenizer:
    from tokenizers import Tokenizer, pre_tokenizers

    data = files("serotine.encoders").joinpath("minilm/tokenizer.json").read_text(encoding="utf-8")
    tokenizer = Tokenizer.from_str(data)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([tokenizer.pre_tokenizer, digits])
    return tokenizer
