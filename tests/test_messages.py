"""The wording of messages, and the classes of errors."""

from __future__ import annotations

import pytest

from serotine import errors


def test_reason_is_the_first_line_or_the_class() -> None:
    assert errors.reason(ValueError("one\ntwo")) == "one"
    assert errors.reason(ValueError("\n  one  \ntwo")) == "one"
    assert errors.reason(ValueError()) == "ValueError"
    assert errors.reason(ValueError(" \n")) == "ValueError"


def test_a_value_out_of_range() -> None:
    error = errors.invalid("k", "at least 1", 0)
    assert type(error) is ValueError
    assert str(error) == "k: must be at least 1, got 0"
    assert str(errors.invalid("mode", "a mode", "x", fix="see help")) == "mode: must be a mode, got 'x'; see help"
    assert str(errors.not_one_of("nbits", (2, 4, 8), 3)) == "nbits: must be one of 2, 4, 8, got 3"


def test_a_value_of_the_wrong_type() -> None:
    error = errors.wrong_type("ids", "a list of strings", "a", fix="put it in a list")
    assert type(error) is TypeError
    assert str(error) == "ids: must be a list of strings, got str; put it in a list"


def test_long_values_are_cut() -> None:
    assert errors.shown("a" * 78) == repr("a" * 78)
    assert errors.shown("a" * 79) == "'" + "a" * 76 + "..."
    assert len(str(errors.invalid("k", "short", "a" * 1000))) < 120
    assert "\n" not in str(errors.invalid("k", "one line", "a\nb"))


def test_messages() -> None:
    assert errors.unknown_key("modle", ["model", "output"]) == "unknown key 'modle'; valid keys: model, output"
    assert errors.missing_extra("training", "train") == (
        "training needs the extra [train]; run: pip install 'serotine[train]'"
    )


@pytest.mark.parametrize(
    ("values", "expected"), [(["a"], "'a'"), (["a", "b"], "'a' (and 1 more)"), ([3] * 2001, "3 (and 2,000 more)")]
)
def test_first_and_count(values: list[object], expected: str) -> None:
    assert errors.first_and_count(values) == expected


def test_every_error_has_one_base_and_builtin_bases_where_they_fit() -> None:
    classes = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and value.__module__ == errors.__name__ and not issubclass(value, Warning)
    ]
    assert all(issubclass(value, errors.SerotineError) for value in classes)
    assert issubclass(errors.UnknownIdError, KeyError)
    assert issubclass(errors.DuplicateIdError, ValueError)
    assert issubclass(errors.IndexExistsError, FileExistsError)
    # KeyError shows the repr of its message; UnknownIdError shows the message.
    assert str(errors.UnknownIdError("ids[0]: unknown id 'a'")) == "ids[0]: unknown id 'a'"
    assert errors.ServerError("no answer").status is None
    assert errors.ServerError("no answer").code == "unreachable"
