"""MkDocs hook: the reference of the HTTP API, written from the schema of the server."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from serotine.serving import ServerSettings
from serotine.serving.http.app import create_app

PAGE = "reference/http.md"
SCHEMA = "reference/openapi.json"
_OPENING = "[openapi.json](openapi.json) is the schema for generators of clients.\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the schema."""
    files.append(File.generated(config, SCHEMA, content=json.dumps(openapi(), indent=1)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Add the operations and schemas to their page."""
    return "\n".join([markdown, *reference(openapi())]) if page.file.src_uri == PAGE else markdown


def openapi() -> dict[str, Any]:
    """Return the schema of a server without indexes."""
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(ServerSettings(indexes={}, state=Path(folder)))
        try:
            return app.openapi()
        finally:
            app.state.services.close()


def reference(schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of the page: every operation, then every schema that they name."""
    yield _OPENING
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            # Contents beside the page are narrow: without what most routes begin with.
            label = f"{method.upper()} {path.removeprefix('/v1').replace('/indexes/{name}/', '.../')}"
            yield f'## `{method.upper()} {path}` {{ data-toc-label="{label}" }}\n'
            yield f"{operation.get('description') or operation['summary']}\n"
            yield from _table(operation.get("parameters", ()), "parameter")
            for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
                yield f"Body, `{media_type}`: {_type(content['schema'])}\n"
                name = content["schema"].get("$ref", "").rpartition("/")[2]
                yield from _table(_fields(schema["components"]["schemas"].get(name, {})), "field")
            yield "| status | response |\n|---|---|"
            for status, response in operation["responses"].items():
                types = [_type(content.get("schema", {})) for content in response.get("content", {}).values()]
                yield f"| {status} | {_cell(' '.join([response['description'], *types]))} |"
            yield ""
    yield "## Schemas\n"
    for name, definition in schema["components"]["schemas"].items():
        yield f"### {name}\n"
        yield f"{definition.get('description', '')}\n"
        yield from _table(_fields(definition), "field")


def _fields(definition: Mapping[str, Any]) -> list[dict[str, Any]]:
    required = definition.get("required", ())
    return [
        {"name": name, "required": name in required, "schema": value}
        for name, value in definition.get("properties", {}).items()
    ]


def _table(fields: Any, kind: str) -> Iterator[str]:
    if not fields:
        return
    yield f"| {kind} | type | default | |\n|---|---|---|---|"
    for field in fields:
        default = "required" if field.get("required") else f"`{json.dumps(field['schema'].get('default'))}`"
        description = field.get("description") or field["schema"].get("description", "")
        yield f"| `{field['name']}` | {_type(field['schema'])} | {default} | {_cell(description)} |"
    yield ""


def _type(schema: Mapping[str, Any]) -> str:
    """Return a schema's type in words; the name of another schema is a link to it."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(_type(option) for option in schema[key]))
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{json.dumps(value)}`" for value in schema.get("enum", [schema.get("const")]))
    kind = str(schema.get("type", "any"))
    if kind == "array":
        return f"array of {_type(schema.get('items', {}))}"
    return kind


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
