"""JSON that nests too deeply is refused before the parser meets it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serotine.nesting import DEEPEST, check_nesting

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('[]{}"\\\n', max_size=9),
    lambda inner: st.lists(inner) | st.dictionaries(st.text('[{"\\', max_size=4), inner),
)


@given(VALUES, st.integers(0, DEEPEST + 3))
def test_it_counts_what_the_parser_would_nest(value: Any, around: int) -> None:
    def depth(part: Any) -> int:
        if isinstance(part, dict):
            part = list(part.values())
        return 1 + max(map(depth, part), default=0) if isinstance(part, list) else 0

    # The brackets within the string are text, however many.
    text = "[" * around + json.dumps([value, "[{" * 200 + '\\"']) + "]" * around
    if around + 1 + depth(value) > DEEPEST:
        with pytest.raises(ValueError, match=f"is nested more than {DEEPEST} deep"):
            check_nesting(text)
    else:
        check_nesting(text)


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a": ' * 200_000, '"' + "[" * 999 + '", ' + "[" * 999])
def test_text_that_breaks_off_counts_too(text: str) -> None:
    with pytest.raises(ValueError, match="nested"):
        check_nesting(text)


def test_many_objects_beside_each_other_are_no_nesting() -> None:
    check_nesting(json.dumps([{"a": [1]}] * 10_000))
