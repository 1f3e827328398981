"""Unicode normalization in time proportional to the text."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

# As many as any word of any language needs: the limit of Unicode's Stream-Safe Text Format (UAX 15, D4).
_MAX_MARKS = 30
# The combining grapheme joiner, which is not seen, and between marks keeps their order.
_JOINER = "\u034f"
# Combining marks begin and end within.
_CODES = range(0x300, 0x1F000)


def nfkc(text: str) -> str:
    r"""Return `text` in the form NFKC; in runs of more than 30 combining marks, every 30 are followed by a joiner.

    Python sorts the marks of a run by insertion, without end where there are many.

    >>> nfkc("\uff26\uff4f\uff58"), nfkc("e\u0301")
    ('Fox', 'é')
    """
    if text.isascii():
        return text
    return unicodedata.normalize("NFKC", _long_run().sub(rf"\g<0>{_JOINER}", text))


@cache
def _long_run() -> re.Pattern[str]:
    """Return the pattern of 30 combining marks before another."""
    marks = "".join(chr(code) for code in _CODES if _is_mark(chr(code)))
    return re.compile(f"[{marks}]{{{_MAX_MARKS}}}(?=[{marks}])")


def _is_mark(character: str) -> bool:
    """Return whether NFKC sorts a character with its neighbors; halfwidth voiced sound marks become such."""
    return unicodedata.combining(unicodedata.normalize("NFKD", character)[0]) != 0
