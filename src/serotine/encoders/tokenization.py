"""Texts to token ids, and each token back to its characters.

Ids and masks are exactly those that each checkpoint format's own library makes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from serotine.encoders.formats.folder import prepare_tokenizer, read_tokenizer
from serotine.encoders.spec import EncoderSpec, Side
from serotine.errors import EncoderError

# As long as any model's texts; a length beyond it was made to fill the memory.
_MOST_EXPANSION = 32768


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a text, one row of its vectors.

    Attributes:
        text: as the tokeniser writes it.
        start: its first character in the original text; equal to `end` for a token that is not of the text: special
            tokens, the marker, the prompt, what a query is filled up with.
        end: one past its last character.
    """

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of one text, as the model gets them.

    Attributes:
        ids: int64 (tokens,).
        attention: bool (tokens,), which of them the others look at.
        kept: bool (tokens,), which of them give a vector.
        spans: int32 (tokens, 2), start and end in the original text; equal where a token is not of the text.
        prompted: how many of the first tokens are the prompt and what stands before it; 0 where there is none.
    """

    ids: NDArray[np.int64]
    attention: NDArray[np.bool_]
    kept: NDArray[np.bool_]
    spans: NDArray[np.int32]
    prompted: int = 0

    def __len__(self) -> int:
        return len(self.ids)


class TextTokenizer:
    """A checkpoint's tokenizer with its rules: prompts, markers, lengths, expansion, and the vectors left out.

    Raises:
        EncoderError: the tokenizer is damaged, or lacks a marker.
    """

    def __init__(self, spec: EncoderSpec) -> None:
        self._tokenizer = read_tokenizer(spec.tokenizer_file)
        prepare_tokenizer(self._tokenizer, spec.markers, lower_case=spec.lower_case)
        self._left = spec.padding_left
        self._cut = "left" if spec.cut_left else "right"
        self._cutters: dict[int, Tokenizer] = {}
        self._markers: dict[str, int] = {}
        self._prompts: dict[str, int] = {}
        added = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        for name, side in (("query", spec.query), ("document", spec.document)):
            if side.marker is not None:
                found = self._tokenizer.token_to_id(side.marker)
                if found is None:
                    raise EncoderError(f"{spec.tokenizer_file}: knows no token {side.marker!r}, which marks its texts")
                self._markers[side.marker] = int(found)
            if side.expansion is not None and side.expansion.length > _MOST_EXPANSION:
                raise EncoderError(
                    f"encoder {spec.name!r}: fills queries up to {side.expansion.length} tokens; "
                    f"want at most {_MOST_EXPANSION}"
                )
            if side.expansion is not None and not self._knows(side.expansion.token):
                raise EncoderError(
                    f"{spec.tokenizer_file}: knows no token {side.expansion.token}, which fills queries up"
                )
            least = added + (side.marker is not None)
            if side.length <= least:
                raise EncoderError(
                    f"encoder {spec.name!r}: its {name} length, {side.length}, must be above {least}, "
                    "the special tokens"
                )

    @property
    def vocabulary(self) -> int:
        """How many token ids there are, added tokens included."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def piece(self, id_: int) -> str:
        """A token as the tokenizer writes it."""
        return self._tokenizer.id_to_token(id_) or ""

    def marker_id(self, side: Side) -> int | None:
        """The id of a side's marker, if it has one that stands after the first token."""
        return None if side.marker is None else self._markers[side.marker]

    def save(self, path: str) -> None:
        """Writes the tokenizer as it is used here."""
        self._tokenizer.save(path)

    def encode(self, texts: Sequence[str], side: Side) -> list[Tokens]:
        """The tokens of every text.

        Args:
            texts: what to encode.
            side: whose rules hold.
        """
        length = side.length - (side.marker is not None)
        joined = [side.prompt + text for text in texts]
        cut = [text.strip() for text in joined] if side.strip else joined
        before = [len(text) - len(text.lstrip()) if side.strip else 0 for text in joined]
        encodings = self._encodings(cut, length)
        return [self._tokens(one, side, first) for one, first in zip(encodings, before, strict=True)]

    def tokens(self, text: str, side: Side) -> list[Token]:
        """One `Token` for every vector that encoding `text` gives, before any pooling."""
        (found,) = self.encode([text], side)
        pieces = [self.piece(int(id_)) for id_ in found.ids]
        return [Token(pieces[i], int(start), int(end)) for i, (start, end) in enumerate(found.spans) if found.kept[i]]

    def room(self, side: Side) -> int:
        """How many tokens of a text fit beside the special ones, the marker and the prompt."""
        added = int(self._tokenizer.num_special_tokens_to_add(is_pair=False))
        prompt = len(self._tokenizer.encode(side.prompt, add_special_tokens=False)) if side.prompt else 0
        return max(side.length - (side.marker is not None) - added - prompt, 1)

    def spans(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """The place of every token of every text, int32 (tokens, 2), special tokens apart; nothing is cut off."""
        encodings = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [np.array(encoding.offsets, dtype=np.int32).reshape(-1, 2) for encoding in encodings]

    def _knows(self, id_: int) -> bool:
        return 0 <= id_ < 1 << 31 and self._tokenizer.id_to_token(id_) is not None

    def _encodings(self, texts: list[str], length: int) -> list[Encoding]:
        encodings: list[Encoding] = self._tokenizer.encode_batch(texts)
        # Truncation is a setting of the whole tokenizer, and batches run beside each other: those that need it go to
        # a copy that has it.
        return [
            encoding if len(encoding) <= length else self._cutter(length).encode(text)
            for text, encoding in zip(texts, encodings, strict=True)
        ]

    def _prompt_tokens(self, prompt: str) -> int:
        """How many leading tokens sentence-transformers' pooling takes for the prompt: [CLS] is one of them."""
        if prompt not in self._prompts:
            alone = self._tokenizer.encode(prompt)
            self._prompts[prompt] = len(alone) - (1 if len(alone) and alone.special_tokens_mask[-1] else 0)
        return self._prompts[prompt]

    def _cutter(self, length: int) -> Tokenizer:
        if length not in self._cutters:
            cutter = Tokenizer.from_str(self._tokenizer.to_str())
            cutter.enable_truncation(length, direction=self._cut)
            self._cutters[length] = cutter
        return self._cutters[length]

    def _tokens(self, encoding: Encoding, side: Side, first: int) -> Tokens:
        """The tokens of prompt and text, the first `first` characters of which were left out."""
        ids = np.array(encoding.ids, dtype=np.int64)
        before = len(side.prompt)
        spans = np.array(encoding.offsets, dtype=np.int32).reshape(-1, 2) + first
        special = np.array(encoding.special_tokens_mask, dtype=bool)
        # A special token written in the text itself is a token of the text.
        prompted = self._prompt_tokens(side.prompt) if side.prompt else 0
        outside = (spans[:, 1] <= before) | (special & (spans[:, 0] == spans[:, 1]))
        spans = np.where(outside[:, None], 0, np.maximum(spans - before, 0)).astype(np.int32)
        attention = np.ones(len(ids), dtype=bool)
        kept = attention.copy()
        if not side.keep_prompt:
            kept[:prompted] = False
        expansion = side.expansion
        marked = side.marker is not None
        if expansion is not None and len(ids) + marked < expansion.length:
            missing = expansion.length - marked - len(ids)
            pad = (missing, 0) if self._left else (0, missing)
            ids = np.pad(ids, pad, constant_values=expansion.token)
            attention = np.pad(attention, pad, constant_values=expansion.attend)
            kept = np.pad(kept, pad, constant_values=True)
            spans = np.pad(spans, (pad, (0, 0)))
        if side.marker is not None:
            # After what fills a query up: of an empty one too the marker comes second, as in PyLate.
            marker = self._markers[side.marker]
            at = min(1, len(ids))
            ids, attention, kept = np.insert(ids, at, marker), np.insert(attention, at, True), np.insert(kept, at, True)
            spans = np.insert(spans, at, 0, axis=0)
        if side.skip:
            kept &= ~np.isin(ids, side.skip)
        if side.only:
            kept &= np.isin(ids, side.only)
        return Tokens(ids, attention, kept, spans, prompted)
