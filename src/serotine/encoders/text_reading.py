"""What an encoder reads of texts: tokens, their number, what is outside the vocabulary. The model is not run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serotine.coverage import TextCoverage
from serotine.encoders.passages import passage_windows, validated_spans
from serotine.encoders.spec import EncoderSpec, Side
from serotine.encoders.tokenization import TextTokenizer, Token
from serotine.texts import strings


class TextReading:
    """The half of `serotine.Encoder` that needs a tokenizer and no model."""

    _spec: EncoderSpec
    _tokenizer: TextTokenizer

    def token_ids(self, text: str, *, query: bool) -> tuple[int, ...]:
        """Return the ids of all tokens of a text that the model gets."""
        (tokens,) = self._tokenizer.encode(strings([text], "texts"), self._side(query))
        return tuple(tokens.ids.tolist())

    def passage_tokens(self, document: str, start: int, end: int) -> list[Token]:
        """Return the token of every row of a passage that `encode_passages` encodes; `pool_factor` is left aside.

        >>> from serotine import Encoder
        >>> [token.text for token in Encoder().passage_tokens("Late bats.", 5, 9)]
        ['[CLS]', 'bats', '[SEP]']
        """
        spans = validated_spans(document, [(start, end)])
        plan = passage_windows(self._tokenizer, document, spans, self._spec.document, allow_empty=False)
        return plan.tokens(0, start, self._tokenizer.piece)

    @property
    def document_room(self) -> int:
        """Number of tokens of a document's text that are encoded; the rest is truncated.

        >>> from serotine import Encoder
        >>> Encoder().document_room
        510
        """
        return self._tokenizer.max_text_tokens(self._spec.document)

    @property
    def query_room(self) -> int:
        """Number of tokens of a query's text that are encoded; the rest is truncated.

        >>> from serotine import Encoder
        >>> Encoder().query_room
        62
        """
        return self._tokenizer.max_text_tokens(self._spec.query)

    def coverage(self, texts: Sequence[str], *, query: bool = False) -> list[TextCoverage]:
        """Return how many tokens every text has, how many are encoded, and what is outside the vocabulary.

        The model is not run.

        >>> from serotine import Encoder
        >>> text = "bats " * 600
        >>> (coverage,) = Encoder().coverage([text])
        >>> coverage.tokens, coverage.limit, coverage.truncated, coverage.unknown_share(text)
        (600, 510, True, 0.0)
        """
        return self._tokenizer.coverage(strings(texts, "texts"), self._side(query))

    def token_spans(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Return the characters of every token, int32 (tokens, 2) per text, not truncated; the model is not run.

        >>> from serotine import Encoder
        >>> Encoder().token_spans(["late bats"])[0].tolist()
        [[0, 4], [5, 9]]
        """
        return self._tokenizer.spans(strings(texts, "texts"))

    def _side(self, query: bool) -> Side:
        return self._spec.query if query else self._spec.document
