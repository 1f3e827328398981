"""The wording of messages, and the classes of errors."""

from __future__ import annotations

from typing import Any, Literal

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
    assert str(errors.not_one_of("kind", ("a", None), "b")) == "kind: must be one of 'a', None, got 'b'"


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "k: is required"),
        ({"k": 0}, "k: must be at least 1, got 0"),
        ({"k": 3000}, "k: must be at most 1,000, got 3000"),
        ({"k": "x"}, "k: must be a valid integer, unable to parse string as an integer, got 'x'"),
        ({"k": 1, "words": []}, "words: must not be empty"),
        ({"k": 1, "words": ["a"] * 5}, "words: must have at most 4 items, got 5"),
        ({"k": 1, "name": "a" * 9}, "name: must have at most 8 characters, got 9"),
        ({"k": 1, "mode": "x"}, "mode: must be 'late' or 'bm25', got 'x'"),
    ],
)
def test_servers_report_invalid_fields_in_the_words_of_the_library(arguments: dict[str, Any], message: str) -> None:
    pydantic = pytest.importorskip("pydantic", reason="needs the extra: pip install 'serotine[serve]'")
    from serotine.serving.mistakes import mistake_message

    model = pydantic.create_model(
        "Body",
        k=(int, pydantic.Field(ge=1, le=1000)),
        words=(list[str], pydantic.Field(["a"], min_length=1, max_length=4)),
        name=(str, pydantic.Field("a", max_length=8)),
        mode=(Literal["late", "bm25"], "late"),
    )
    with pytest.raises(pydantic.ValidationError) as caught:
        model(**arguments)
    (mistake,) = caught.value.errors()
    assert mistake_message(str(mistake["loc"][0]), mistake) == message
