"""Texts to token ids, and each token back to its characters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Encoding, Tokenizer

from serotine.errors import EncoderError


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a text, one row of its vectors.

    Attributes:
        text: as the tokeniser writes it.
        start: its first character in the original text; equal to `end` for a special token.
        end: one past its last character.
    """

    text: str
    start: int
    end: int


class TextTokenizer:
    """A Hugging Face `tokenizer.json`, with the truncation and padding it may carry switched off.

    Raises:
        EncoderError: the file is not a tokenizer.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        # The library raises plain Exception for a file it cannot parse.
        except Exception as error:
            raise EncoderError(f"{path}: cannot be read as a tokenizer ({error})") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    @property
    def special_tokens(self) -> int:
        """How many special tokens every text gets, [CLS] and [SEP] for example; no cut can spare them."""
        added: int = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        return added

    def encode(self, texts: Sequence[str], length: int) -> list[Encoding]:
        """Token ids and offsets of every text, special tokens added, cut to `length` tokens in all."""
        # Truncation is a setting of the shared tokenizer, so it is done here: cut the text's own tokens and keep
        # the special tokens that end the sequence.
        encodings: list[Encoding] = self._tokenizer.encode_batch(list(texts))
        if all(len(encoding) <= length for encoding in encodings):
            return encodings
        cutter = Tokenizer.from_str(self._tokenizer.to_str())
        cutter.enable_truncation(length)
        return [
            encoding if len(encoding) <= length else cutter.encode(text)
            for text, encoding in zip(texts, encodings, strict=True)
        ]

    def tokens(self, text: str, length: int) -> list[Token]:
        """One `Token` for every row that encoding `text` gives."""
        (encoding,) = self.encode([text], length)
        return [
            Token(piece, 0, 0) if special else Token(piece, start, end)
            for piece, (start, end), special in zip(
                encoding.tokens, encoding.offsets, encoding.special_tokens_mask, strict=True
            )
        ]
