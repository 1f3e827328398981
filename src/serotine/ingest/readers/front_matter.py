"""Front matter: the metadata that a text file begins with, in YAML between `---` or TOML between `+++`."""

from __future__ import annotations

import math
import re
import tomllib
from dataclasses import dataclass, field
from typing import Any

from serotine.errors import missing_extra
from serotine.json_values import json_value

_YAML = re.compile(r"\A\ufeff?---[ \t]*(?:\r\n|\n)(.*?)^(?:---|\.\.\.)[ \t]*(?:\r\n|\n|\Z)", re.DOTALL | re.MULTILINE)
_TOML = re.compile(r"\A\ufeff?\+\+\+[ \t]*(?:\r\n|\n)(.*?)^\+\+\+[ \t]*(?:\r\n|\n|\Z)", re.DOTALL | re.MULTILINE)
# "---" may also be a line across the page; then no key follows.
_KEY = re.compile(r"(?:\s|#.*+)*+[\w\"'.-]+[ \t]*:(?:\s|\Z)")
_MAX_LENGTH = 1 << 16
# Aliases may repeat what it has.
_MAX_VALUES, _MAX_CHARACTERS = 10_000, 1 << 17
_MAX_DEPTH = 16
# A key such as "a.b.c", of more parts than are read; tomllib keeps every beginning of it, in quadratic space.
_KEY_PART = r"""(?:[\w-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')"""
_LONG_KEY = re.compile(rf"(?<![\w\\-])(?:{_KEY_PART}[ \t]*+\.[ \t]*+){{{_MAX_DEPTH + 1}}}")
# Keys that readers give to passages; the file's own values of these names are in `front_matter`.
_RESERVED = frozenset(("document", "encoding", "end", "heading", "last_page", "page", "source", "start"))


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """The front matter of a text.

    Attributes:
        end: where the text after it begins; 0 where there is none.
        broken_end: where one that is broken, and text, ends; 0 where it is none.
        metadata: its values, valid JSON; dates as ISO text.
        problems: its line and what is wrong with it; it is text then.
    """

    end: int = 0
    metadata: dict[str, Any] = field(default_factory=dict)
    problems: tuple[tuple[int, str], ...] = ()
    broken_end: int = 0


def read_front_matter(text: str) -> FrontMatter:
    """Return the front matter of a text; broken one is a problem and stays in the text."""
    head = text[:_MAX_LENGTH]
    yaml, toml = _YAML.match(head), _TOML.match(head)
    match = yaml or toml
    if match is None:
        return FrontMatter()
    content = match.group(1)
    try:
        values = _parse_yaml(content) if yaml else _parse_toml(content)
    # PyYAML raises ValueError for a date such as 2026-13-45, and AttributeError and others for broken tags.
    except Exception as error:
        if yaml and _KEY.match(content) is None:
            return FrontMatter()
        reason = str(getattr(error, "problem", None) or error).splitlines() or [type(error).__name__]
        kind = "YAML" if yaml else "TOML"
        message = f"front matter is not valid {kind} ({reason[0]}) and was read as text; correct it"
        return FrontMatter(problems=((_line(error), message),), broken_end=match.end())
    if values is None:
        values = {}
    # A paragraph between two lines.
    if not isinstance(values, dict):
        return FrontMatter()
    metadata = {key: value for key, value in values.items() if key not in _RESERVED}
    reserved = {key: value for key, value in values.items() if key in _RESERVED}
    if "title" in metadata and not isinstance(metadata["title"], str):
        metadata["title"] = str(metadata["title"])
    return FrontMatter(match.end(), {**metadata, **({"front_matter": reserved} if reserved else {})})


def _parse_yaml(content: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise ValueError(missing_extra("reading it", "ingest")) from None
    return _convert(yaml.safe_load(content), [_MAX_VALUES, _MAX_CHARACTERS], 0)


def _parse_toml(content: str) -> Any:
    if _LONG_KEY.search(content):
        raise ValueError(f"a key of more than {_MAX_DEPTH} parts, such as a.b.c")
    return _convert(tomllib.loads(content), [_MAX_VALUES, _MAX_CHARACTERS], 0)


def _convert(value: Any, budget: list[int], depth: int) -> Any:
    """Return a value as JSON; ValueError where aliases would multiply it, or it is nested too deeply."""
    budget[0] -= 1
    budget[1] -= len(value) if isinstance(value, str) else 0
    if min(budget) < 0 or depth > _MAX_DEPTH:
        raise ValueError(
            f"more than {_MAX_VALUES:,} values or {_MAX_CHARACTERS:,} characters, or nested more than {_MAX_DEPTH} deep"
        )
    if isinstance(value, dict):
        return {str(_convert(key, budget, depth + 1)): _convert(item, budget, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_convert(item, budget, depth + 1) for item in value]
    if isinstance(value, float) and math.isinf(value):
        return None
    return json_value(value, "front matter")


def _line(error: Exception) -> int:
    mark = getattr(error, "problem_mark", None)
    return 1 if mark is None else int(mark.line) + 2
