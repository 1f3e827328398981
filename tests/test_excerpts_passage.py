"""Passages with marked matches."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serotine.excerpts import MARK, UNMARK, code_passage, passage


def marked(text: str, spans: list[tuple[int, int, float]], width: int = 240) -> str:
    return passage(text, spans, width).replace(MARK, "[").replace(UNMARK, "]")


def spans_of(text: str, *words: str) -> list[tuple[int, int, float]]:
    return sorted((text.index(word), text.index(word) + len(word), 1.0) for word in words)


def test_the_passage_has_the_best_matches_whole_words_and_ellipses() -> None:
    text = "one " + "filler " * 50 + "serotine bats fly " + "filler " * 50
    shown = marked(text, spans_of(text, "one", "serotine", "bats"), width=60)
    assert shown == "… filler filler filler [serotine] [bats] fly filler filler …"
    assert marked(text, spans_of(text, "one"), width=20) == "[one] filler filler …"
    assert marked(text, [], width=20) == "one filler filler …"


def test_weak_matches_are_not_marked_and_touching_ones_are_merged() -> None:
    assert marked("a bat in flight", [(2, 5, 1.0), (6, 8, 0.4)]) == "a [bat] in flight"
    assert marked("東京都庁", [(0, 1, 1.0), (1, 2, 0.9), (3, 4, 1.0)]) == "[東京]都[庁]"


def test_a_cut_never_hides_its_match() -> None:
    text = "x" * 100 + "-known " + "y" * 100
    assert "[known]" in marked(text, spans_of(text, "known"), width=30)


def test_code_is_shown_around_its_best_lines() -> None:
    code = "\n".join(f"    line_{number} = {number}" for number in range(40))
    shown = code_passage(code, spans_of(code, "line_30", "line_31"), height=4)
    assert shown.replace(MARK, "[").replace(UNMARK, "]").splitlines() == [
        "…", "line_29 = 29", "[line_30] = 30", "[line_31] = 31", "line_32 = 32", "…",
    ]  # fmt: skip
    assert code_passage(code, [], height=2).splitlines() == ["line_0 = 0", "line_1 = 1", "…"]
    assert code_passage("if x:\n\ty = 1", []) == "if x:\n    y = 1"
    assert code_passage("", []) == ""
    minified = "a=1;" * 100 + "roost=late;" + "b=2;" * 100
    (line,) = code_passage(minified, spans_of(minified, "roost"), width=50).splitlines()
    assert f"{MARK}roost{UNMARK}" in line
    assert len(line) < 70


@given(text=st.text(max_size=300), data=st.data())
def test_any_text_as_code(text: str, data: st.DataObject) -> None:
    cuts = sorted(set(data.draw(st.lists(st.integers(0, len(text)), max_size=12))))
    spans = [(a, b, data.draw(st.floats(0.01, 1.0))) for a, b in zip(cuts[::2], cuts[1::2], strict=False)]
    shown = code_passage(text, spans, 40, 5)
    assert shown.count(MARK) == shown.count(UNMARK)
    assert len(shown.splitlines()) <= 7
    assert "\x1b" not in shown


@given(text=st.text(max_size=300), width=st.integers(10, 60), data=st.data())
def test_any_text(text: str, width: int, data: st.DataObject) -> None:
    cuts = sorted(set(data.draw(st.lists(st.integers(0, len(text)), max_size=12))))
    spans = [(a, b, data.draw(st.floats(0.01, 1.0))) for a, b in zip(cuts[::2], cuts[1::2], strict=False)]
    shown = passage(text, spans, width)
    assert shown.count(MARK) == shown.count(UNMARK)
    assert "\n" not in shown
    assert "\x1b" not in shown
    # A single match longer than the width is shown whole; beside that only dots, spaces and marks are added.
    max_width = max([width, *(end - start for start, end, _ in spans)])
    assert len(text) <= width or len(shown) <= max_width + len("…  …") + 2 * shown.count(MARK)
