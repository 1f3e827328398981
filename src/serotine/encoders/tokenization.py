"""Texts to token ids, and each token back to its characters.

Ids and masks equal those of each checkpoint format's own library.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from serotine.coverage import TextCoverage
from serotine.encoders.formats.folder import prepare_tokenizer, read_tokenizer, write_tokenizer
from serotine.encoders.known_words import KnownWords
from serotine.encoders.long_texts import PIECE, pieces, relevant_part
from serotine.encoders.spec import EncoderSpec, Side
from serotine.encoders.tokenizer_errors import tokenizer_errors
from serotine.errors import EncoderError

# Longer than any model's texts; more would only exhaust memory.
_MAX_EXPANSION = 32768


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a text, one row of its vectors.

    Attributes:
        text: the token as the tokenizer writes it.
        start: its first character in the original text; equal to `end` for special tokens, the marker, the prompt and
            query expansion.
        end: one past its last character.
    """

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of one text that the model gets.

    Attributes:
        ids: int64 (tokens,).
        attention: bool (tokens,), whether other tokens attend to it.
        scored: bool (tokens,), whether its vector is returned.
        prompt_tokens: number of leading tokens up to the end of the prompt; 0 without a prompt.
    """

    ids: NDArray[np.int64]
    attention: NDArray[np.bool_]
    scored: NDArray[np.bool_]
    prompt_tokens: int = 0

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class WholeText:
    """All tokens of a text of any length, without those that the model gets beside it.

    Attributes:
        ids: int64 (tokens,).
        spans: int32 (tokens, 2), the characters of each.
        before: int64, the ids before them: special tokens and the prompt.
        after: int64, the ids after them.
    """

    ids: NDArray[np.int64]
    spans: NDArray[np.int32]
    before: NDArray[np.int64]
    after: NDArray[np.int64]


class TextTokenizer:
    """A checkpoint's tokenizer with its rules: prompts, markers, lengths, expansion, and tokens that are not scored.

    Raises:
        EncoderError: the tokenizer is damaged, or lacks a marker or the expansion token. So do the methods that
            tokenize: some damage shows in some texts only.
    """

    def __init__(self, spec: EncoderSpec) -> None:
        self._file = spec.tokenizer_file
        self._tokenizer = read_tokenizer(self._file)
        with tokenizer_errors(self._file):
            self._prepare(spec)

    def _prepare(self, spec: EncoderSpec) -> None:
        prepare_tokenizer(self._tokenizer, spec.markers, lower_case=spec.lower_case)
        self._left = spec.padding_left
        self._direction = "left" if spec.cut_left else "right"
        self._truncators: dict[int, Tokenizer] = {}
        self._markers: dict[str, int] = {}
        self._prompts: dict[str, int] = {}
        self._kept_ids: dict[tuple[tuple[int, ...], tuple[int, ...]], NDArray[np.bool_]] = {}
        self._words = KnownWords(self._tokenizer)
        special = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        for name, side in (("query", spec.query), ("document", spec.document)):
            if side.marker is not None:
                marker = self._tokenizer.token_to_id(side.marker)
                if marker is None:
                    raise EncoderError(f"{spec.tokenizer_file}: no token {side.marker!r}, the {name} marker")
                self._markers[side.marker] = int(marker)
            if side.expansion is not None and side.expansion.length > _MAX_EXPANSION:
                raise EncoderError(
                    f"encoder {spec.name!r}: query expansion must be at most {_MAX_EXPANSION} tokens, "
                    f"got {side.expansion.length}"
                )
            if side.expansion is not None and not self._has_token(side.expansion.token):
                raise EncoderError(f"{spec.tokenizer_file}: no token {side.expansion.token}, the expansion token")
            reserved = special + (side.marker is not None)
            if side.length <= reserved:
                raise EncoderError(
                    f"encoder {spec.name!r}: {name} length must be above {reserved}, the special tokens, "
                    f"got {side.length}"
                )

    @property
    def vocabulary(self) -> int:
        """Number of token ids, added tokens included."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def piece(self, id_: int) -> str:
        """Return a token as the tokenizer writes it."""
        return self._tokenizer.id_to_token(id_) or ""

    def marker_id(self, side: Side) -> int | None:
        """Return the id of a side's marker that follows the first token, if it has one."""
        return None if side.marker is None else self._markers[side.marker]

    def save(self, path: str) -> None:
        """Write the tokenizer as it is used here."""
        self._tokenizer.save(path)

    def export(self, folder: Path) -> str:
        """Write the tokenizer into an export's folder, compressed if it is large; return the file's name."""
        return write_tokenizer(self._tokenizer, folder)

    def encode(self, texts: Sequence[str], side: Side) -> list[Tokens]:
        """Return the tokens of every text.

        Args:
            texts: what to tokenize.
            side: the tokenization rules.
        """
        prompted, removed = _prompted(texts, side)
        with tokenizer_errors(self._file):
            parts, _ = self._parts(prompted, removed, side)
            return self._truncated(parts, self._tokenizer.encode_batch_fast(parts), side)

    def encode_and_measure(self, texts: Sequence[str], side: Side) -> tuple[list[Tokens], list[TextCoverage]]:
        """Return the tokens of every text, and what is encoded of it, tokenizing once."""
        prompted, removed = _prompted(texts, side)
        with tokenizer_errors(self._file):
            limit, other, offsets = self._limits(removed, side)
            parts, _ = self._parts(prompted, removed, side)
            encodings: list[Encoding] = self._tokenizer.encode_batch_fast(parts)
            spans = _unknown_spans(self._tokenizer, parts, encodings, offsets, self._words)
            counts = list(map(len, encodings))
            coverages = _coverages(self._tokenizer, prompted, counts, spans, limit, other, offsets, self._words)
            return self._truncated(parts, encodings, side), coverages

    def coverage(self, texts: Sequence[str], side: Side) -> list[TextCoverage]:
        """Return what is encoded of every text; its tokens are counted, the model is not run."""
        prompted, removed = _prompted(texts, side)
        with tokenizer_errors(self._file):
            limit, other, offsets = self._limits(removed, side)
            return token_coverage(self._tokenizer, prompted, limit, other, offsets, self._words)

    def tokens(self, text: str, side: Side) -> list[Token]:
        """Return the `Token` of every vector that encoding `text` gives, before token pooling."""
        prompted, removed = _prompted([text], side)
        with tokenizer_errors(self._file):
            ((part,), (offset,)) = self._parts(prompted, removed, side)
            encoding = self._cut(part, self._tokenizer.encode(part), side)
            tokens, spans = self._tokens(encoding.ids, side), self._token_spans(encoding, side, offset)
        pieces = [self.piece(id_) for id_ in tokens.ids.tolist()]
        return [Token(pieces[i], start, end) for i, (start, end) in enumerate(spans.tolist()) if tokens.scored[i]]

    def whole(self, text: str, side: Side) -> WholeText:
        """Return all tokens of a text, not truncated, which is tokenized piece by piece if it is very long."""
        parts: list[WholeText] = []
        with tokenizer_errors(self._file):
            for start, piece in pieces(text):
                (prompted,), (removed,) = _prompted([piece], side)
                encoding = self._tokenizer.encode(prompted)
                is_text, spans = _text_spans(encoding, side, removed)
                positions = np.flatnonzero(is_text)
                first, last = (int(positions[0]), int(positions[-1]) + 1) if positions.size else (len(encoding),) * 2
                ids = np.array(encoding.ids, dtype=np.int64)
                parts.append(WholeText(ids[first:last], spans[first:last] + start, ids[:first], ids[last:]))
        parts = [part for part in parts if len(part.ids)] or parts[:1]
        ids, spans = (np.concatenate([getattr(part, name) for part in parts]) for name in ("ids", "spans"))
        return WholeText(ids, spans, parts[0].before, parts[-1].after)

    def window_room(self, text: WholeText, side: Side) -> int:
        """Return the number of tokens of a text that fit in a window, beside those that belong there."""
        return max(side.length - (side.marker is not None) - len(text.before) - len(text.after), 1)

    def window(self, text: WholeText, first: int, last: int, side: Side) -> tuple[Tokens, NDArray[np.int64]]:
        """Return some tokens of a text with those that belong beside them, as `encode` does a text of these tokens.

        Also returns which token of the text each is, int64 (tokens,), and -1 for those beside them.
        """
        ids = np.concatenate([text.before, text.ids[first:last], text.after])
        numbers = np.full(len(ids), -1, dtype=np.int64)
        numbers[len(text.before) : len(text.before) + last - first] = np.arange(first, last)
        return self._tokens(ids, side), self._with_added(numbers, side, -1)

    @property
    def begins_with_special(self) -> bool:
        """Whether texts begin with a special token."""
        with tokenizer_errors(self._file):
            start, end = self._tokenizer.encode("a").offsets[0]
        return bool(start == end)

    def max_text_tokens(self, side: Side) -> int:
        """Return the number of tokens of a text that fit beside special tokens, marker and prompt."""
        with tokenizer_errors(self._file):
            special = int(self._tokenizer.num_special_tokens_to_add(is_pair=False))
            prompt = len(self._tokenizer.encode(side.prompt, add_special_tokens=False)) if side.prompt else 0
        return max(side.length - (side.marker is not None) - special - prompt, 1)

    def spans(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Return the characters of every token, int32 (tokens, 2) per text, without special tokens and truncation."""
        with tokenizer_errors(self._file):
            encodings = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [np.array(encoding.offsets, dtype=np.int32).reshape(-1, 2) for encoding in encodings]

    def _has_token(self, id_: int) -> bool:
        return 0 <= id_ < 1 << 31 and self._tokenizer.id_to_token(id_) is not None

    def _limits(self, removed: list[int], side: Side) -> tuple[int, int, list[int]]:
        """Return the tokens encoded of a text, those around them, and what to add to the characters of each."""
        limit = self.max_text_tokens(side)
        other = side.length - (side.marker is not None) - limit
        return limit, other, [before - len(side.prompt) for before in removed]

    def _parts(self, texts: list[str], removed: list[int], side: Side) -> tuple[list[str], list[int]]:
        """Return what is read of every text, all of it unless it is very long, and how many characters precede it."""
        if max(map(len, texts), default=0) <= PIECE:
            return texts, removed
        left = self._direction == "left"
        read = [relevant_part(text, side.length, self._tokenizer.encode, left=left) for text in texts]
        return [part for _, part in read], [before + start for before, (start, _) in zip(removed, read, strict=True)]

    def _truncated(self, texts: list[str], encodings: list[Encoding], side: Side) -> list[Tokens]:
        return [
            self._tokens(self._cut(text, encoding, side).ids, side)
            for text, encoding in zip(texts, encodings, strict=True)
        ]

    def _cut(self, text: str, encoding: Encoding, side: Side) -> Encoding:
        """Return the tokens of a text that fit; of one that is too long, encoded again."""
        length = side.length - (side.marker is not None)
        # Truncation is a setting of the whole tokenizer, which threads share: long texts go to a copy that has it.
        return encoding if len(encoding) <= length else self._truncator(length).encode(text)

    def _prompt_tokens(self, prompt: str) -> int:
        """Return the number of leading tokens of a prompt as sentence-transformers counts them, with [CLS]."""
        if prompt not in self._prompts:
            encoding = self._tokenizer.encode(prompt)
            self._prompts[prompt] = len(encoding) - (1 if len(encoding) and encoding.special_tokens_mask[-1] else 0)
        return self._prompts[prompt]

    def _kept(self, side: Side) -> NDArray[np.bool_]:
        """Return for every id whether its tokens are scored where `side` leaves some out."""
        rules = (side.skip, side.only)
        if rules not in self._kept_ids:
            kept = np.full(max(self.vocabulary, *side.skip, *side.only) + 1, not side.only)
            kept[list(side.only)] = True
            kept[list(side.skip)] = False
            self._kept_ids[rules] = kept
        return self._kept_ids[rules]

    def _truncator(self, length: int) -> Tokenizer:
        if length not in self._truncators:
            tokenizer = Tokenizer.from_str(self._tokenizer.to_str())
            tokenizer.enable_truncation(length, direction=self._direction)
            self._truncators[length] = tokenizer
        return self._truncators[length]

    def _tokens(self, text_ids: Sequence[int] | NDArray[np.int64], side: Side) -> Tokens:
        """Return the tokens of prompt and text, with expansion and marker."""
        ids = np.array(text_ids, dtype=np.int64)
        prompt_tokens = self._prompt_tokens(side.prompt) if side.prompt else 0
        attention = np.ones(len(ids), dtype=bool)
        scored = attention.copy()
        if not side.keep_prompt:
            scored[:prompt_tokens] = False
        pad = self._padding(len(ids), side)
        if side.expansion is not None and any(pad):
            ids = np.pad(ids, pad, constant_values=side.expansion.token)
            attention = np.pad(attention, pad, constant_values=side.expansion.attend)
            scored = np.pad(scored, pad, constant_values=True)
        if side.marker is not None:
            position = _marker_position(ids)
            ids = np.insert(ids, position, self._markers[side.marker])
            attention = np.insert(attention, position, True)
            scored = np.insert(scored, position, True)
        if side.skip or side.only:
            scored &= self._kept(side)[ids]
        return Tokens(ids, attention, scored, prompt_tokens)

    def _token_spans(self, encoding: Encoding, side: Side, offset: int) -> NDArray[np.int32]:
        """Return the characters of each of `_tokens`, int32 (tokens, 2), in a text that has lost its first `offset`.

        Start and end are equal for a token that is not part of the text.
        """
        is_text, spans = _text_spans(encoding, side, offset)
        return self._with_added(np.where(is_text[:, None], spans, 0).astype(np.int32), side, 0)

    def _with_added(self, rows: NDArray[Any], side: Side, value: int) -> NDArray[Any]:
        """Return rows of the tokens of prompt and text with `value` where `_tokens` adds expansion and marker."""
        added = (self._padding(len(rows), side), *((0, 0) for _ in rows.shape[1:]))
        rows = np.pad(rows, added, constant_values=value)
        return rows if side.marker is None else np.insert(rows, _marker_position(rows), value, axis=0)

    def _padding(self, count: int, side: Side) -> tuple[int, int]:
        """Return how many tokens of expansion come before and after so many tokens."""
        if side.expansion is None:
            return (0, 0)
        padding = max(side.expansion.length - (side.marker is not None) - count, 0)
        return (padding, 0) if self._left else (0, padding)


def _marker_position(tokens: NDArray[Any]) -> int:
    """Return where the marker comes: second in an empty query too, because it follows expansion, as in PyLate."""
    return min(1, len(tokens))


def _text_spans(encoding: Encoding, side: Side, offset: int) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
    """Return which tokens are of the text, bool (tokens,), and their characters in it, int32 (tokens, 2).

    The text has lost its first `offset` characters.
    """
    prompt = len(side.prompt)
    spans = np.array(encoding.offsets, dtype=np.int32).reshape(-1, 2) + offset
    special = np.array(encoding.special_tokens_mask, dtype=bool)
    # A special token that is written in the text is part of the text: it has characters.
    not_text = (spans[:, 1] <= prompt) | (special & (spans[:, 0] == spans[:, 1]))
    return ~not_text, np.maximum(spans - prompt, 0)


def token_coverage(
    tokenizer: Tokenizer,
    texts: Sequence[str],
    limit: int,
    other: int,
    offsets: Sequence[int],
    words: KnownWords,
) -> list[TextCoverage]:
    """Return the coverage of texts.

    Args:
        tokenizer: without truncation and padding.
        texts: as it gets them.
        limit: number of tokens of a text that are encoded.
        other: number of tokens around them: special tokens and prompt.
        offsets: how much to add to the characters of every text.
        words: what the tokenizer's vocabulary knows.
    """
    short = [text if len(text) <= PIECE else "" for text in texts]
    encodings: list[Encoding] = tokenizer.encode_batch_fast(short)
    spans = _unknown_spans(tokenizer, short, encodings, offsets, words)
    return _coverages(tokenizer, texts, list(map(len, encodings)), spans, limit, other, offsets, words)


def _coverages(
    tokenizer: Tokenizer,
    texts: Sequence[str],
    counts: Sequence[int],
    spans: Mapping[int, tuple[tuple[int, int], ...]],
    limit: int,
    other: int,
    offsets: Sequence[int],
    words: KnownWords,
) -> list[TextCoverage]:
    """Return the coverage of texts from their token counts and unknown characters; very long ones have none yet."""
    return [
        TextCoverage(max(count - other, 0), limit, spans.get(i, ()))
        if len(text) <= PIECE
        else _long_text_coverage(tokenizer, text, limit, other, offsets[i], words)
        for i, (text, count) in enumerate(zip(texts, counts, strict=True))
    ]


def _long_text_coverage(
    tokenizer: Tokenizer, text: str, limit: int, other: int, offset: int, words: KnownWords
) -> TextCoverage:
    """Return the coverage of a text piece by piece; the arguments are those of `token_coverage`.

    The count may differ from that of the whole text by a token per piece.
    """
    tokens = -other
    spans: list[tuple[int, int]] = []
    for start, piece in pieces(text):
        encoding = tokenizer.encode(piece, add_special_tokens=start == 0)
        tokens += len(encoding)
        spans += _unknown_spans(tokenizer, [piece], [encoding], [offset + start], words).get(0, ())
    return TextCoverage(max(tokens, 0), limit, tuple(spans))


def _unknown_spans(
    tokenizer: Tokenizer, texts: Sequence[str], encodings: Sequence[Encoding], offsets: Sequence[int], words: KnownWords
) -> dict[int, tuple[tuple[int, int], ...]]:
    """Return the characters outside the vocabulary of the texts that may have some, by their number.

    Encodings without the characters of every token take a third less time: such texts are encoded again.
    """
    numbers = [i for i, encoding in enumerate(encodings) if words.may_lack(texts[i], encoding)]
    spans: dict[int, tuple[tuple[int, int], ...]] = {}
    for i, encoding in zip(
        numbers, tokenizer.encode_batch([texts[i] for i in numbers]) if numbers else [], strict=True
    ):
        pairs = words.unknown_spans(texts[i], encoding)
        spans[i] = tuple((start + offsets[i], end + offsets[i]) for start, end in pairs if start + offsets[i] >= 0)
    return spans


def _prompted(texts: Sequence[str], side: Side) -> tuple[list[str], list[int]]:
    """Return the texts as the tokenizer gets them, and how many characters were removed from the beginning of each."""
    prompted = [side.prompt + text for text in texts]
    if not side.strip:
        return prompted, [0] * len(prompted)
    return [text.strip() for text in prompted], [len(text) - len(text.lstrip()) for text in prompted]
