"""JSON that nests too deep is rejected before it is parsed."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serotine.nesting import MAX_DEPTH, check_nesting

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('[]{}"\\\n', max_size=9),
    lambda inner: st.lists(inner) | st.dictionaries(st.text('[{"\\', max_size=4), inner),
)


@given(VALUES, st.integers(0, MAX_DEPTH + 3))
def test_depth_is_what_the_parser_would_recurse(value: Any, outer: int) -> None:
    def depth(child: Any) -> int:
        if isinstance(child, dict):
            child = list(child.values())
        return 1 + max(map(depth, child), default=0) if isinstance(child, list) else 0

    # Brackets within a string do not count.
    text = "[" * outer + json.dumps([value, "[{" * 200 + '\\"']) + "]" * outer
    if outer + 1 + depth(value) > MAX_DEPTH:
        with pytest.raises(ValueError, match=f"nested more than {MAX_DEPTH} levels deep"):
            check_nesting(text)
    else:
        check_nesting(text)


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a": ' * 200_000, '"' + "[" * 999 + '", ' + "[" * 999])
def test_truncated_text_counts_too(text: str) -> None:
    with pytest.raises(ValueError, match="nested"):
        check_nesting(text)


def test_siblings_do_not_nest() -> None:
    check_nesting(json.dumps([{"a": [1]}] * 10_000))


@pytest.mark.parametrize("text", ['"' + '\\"' * 30_000, '"' + "\\" * 60_000, '"a' * 20_000])
def test_a_string_without_an_end_is_read_once(text: str) -> None:
    start = time.thread_time()
    check_nesting("[" * MAX_DEPTH + text.replace("{", "") + "]" * MAX_DEPTH + "[]")
    # Half a minute when every quote began another look at the rest.
    assert time.thread_time() - start < 0.5
