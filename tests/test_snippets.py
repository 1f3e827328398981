"""The Python snippets of the documentation run, and its command lines are ones that the program accepts."""

from __future__ import annotations

import ast
import importlib.util
import itertools
import json
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from helpers.candidate_stores import stand_ins
from helpers.eval_cases import write_beir
from helpers.printed import check_printed
from markdown_it import MarkdownIt
from markdown_it.token import Token

from serotine import Encoder, Index
from serotine.cli import commands, main

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "models").glob("*/README.md")])
# Fences that cannot run here, by page and position among the Python fences. Their imports run nevertheless.
NOT_RUN = {
    ("docs/encoder.md", 0): "loads a model of the hub",
    ("docs/encoder.md", 1): "loads a checkpoint of the reader's",
    ("docs/hf-kernels.md", 0): "tests/test_hf_kernels.py loads the kernel",
    ("docs/hf-kernels.md", 1): "loads a kernel of the hub",
    ("docs/indexes.md", 1): "loads a model of the hub",
    ("docs/indexes.md", 2): "downloads a collection",
    ("docs/integrations.md", 1): "tests/test_plaid_import.py imports an index",
    ("docs/kernels.md", 1): "loads a model of the hub",
    ("docs/migrating.md", 2): "needs qdrant-client and a server",
    ("docs/pplx.md", 0): "needs two GPUs",
    ("docs/pplx.md", 1): "loads an export of the reader's",
    ("docs/pylate.md", 1): "loads a model of the hub",
    ("docs/rerank-candidates.md", 1): "connects to PostgreSQL",
    ("docs/rerank-candidates.md", 4): "connects to OpenSearch",
    ("docs/reports.md", 1): "downloads a collection",
    ("docs/scale-out.md", 0): "tests/test_distributed.py starts a cluster",
    ("docs/scale-out.md", 1): "tests/test_distributed_changes.py starts a cluster",
    ("docs/serving.md", 0): "tests/test_serving_docs.py calls a server",
    ("docs/several-servers.md", 0): "tests/test_serving_docs.py calls two indexes",
}
# What a page's snippets need beside Serotine.
NEEDED = {
    "docs/databases.md": "duckdb",
    "docs/evaluation.md": "ir_measures",
    "docs/other-language.md": "serotine_multi",
    "docs/rerank-bm25.md": "bm25s",
    "docs/integrations.md": "langchain_core",
    "docs/migrating.md": "lancedb",
    "docs/pylate.md": "torch",
    "docs/reports.md": "jinja2",
    "models/serotine-multi/README.md": "serotine_multi",
}
# Places that only exist on a reader's machine.
SUBSTITUTES = {
    "./my-colbert": "default",
    "s3://bucket": "FOLDER/bucket",
    "/tmp/upload-1": "upload-1",  # noqa: S108
    "perplexity-ai/pplx-embed-v1-late-0.6b": "default",
}


def fences(page: Path, *languages: str) -> list[Token]:
    tokens = MarkdownIt().parse(page.read_text("utf-8"))
    return [token for token in tokens if token.type == "fence" and token.info in languages]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def small_collection() -> dict[str, Any]:
    documents = ["a wing in a supersonic stream", "heat transfer at the stagnation point", "buckling of thin shells"]
    write_beir(
        Path("examples/cranfield"),
        {str(n): text for n, text in enumerate(documents)},
        # No word of the first is in a document, so BM25 and the encoder differ.
        {"0": "aircraft faster than sound", "1": "thin shells"},
        {"test": {"0": {"0": 1}, "1": {"2": 1}}},
    )
    return {}


def wiki() -> dict[str, Any]:
    index = Index.create("wiki.serotine", encoder=Encoder(), filterable={"lang": str})
    index.add(["a"], ["Curiosity motivates discovery."], metadata=[{"lang": "en"}])
    return {"index": index, "Index": Index}


def closed_wiki() -> dict[str, Any]:
    wiki()["index"].close()
    return {}


def manuals() -> dict[str, Any]:
    for folder in ("manuals", "upload-1"):
        Path(folder).mkdir()
        (Path(folder) / "pump.md").write_text("# The pump\n\nPrime the pump before it is started.", encoding="utf-8")
    assert main(["index", "manuals", "-o", "manuals.serotine"]) == 0
    return {}


def other_systems() -> dict[str, Any]:
    """Write an index's texts as RAGatouille stores them, and a table of LanceDB."""
    from serotine.integrations import export_lancedb

    texts = {"owl": "Owls hunt at night.", "serotine": "The serotine is a bat that emerges late."}
    folder = Path(".ragatouille/colbert/indexes/wiki")
    folder.mkdir(parents=True)
    (folder / "collection.json").write_text(json.dumps(list(texts.values())), "utf-8")
    (folder / "pid_docid_map.json").write_text(json.dumps(dict(enumerate(texts))), "utf-8")
    (folder / "docid_metadata_map.json").write_text(json.dumps({id_: {"lang": "en"} for id_ in texts}), "utf-8")
    with Index.create("exported.serotine", encoder=Encoder()) as index:
        index.add(list(texts), list(texts.values()))
        export_lancedb(index, Path("lance"))
    return {}


def results() -> dict[str, Any]:
    small_collection()
    assert main(["eval", "--model", "default", "--bm25", "examples/cranfield", "-o", "results"]) == 0
    return {}


# What a page's snippets assume: files in the current folder, and names.
PREPARED: dict[str, Callable[[], dict[str, Any]]] = {
    "docs/evaluation.md": small_collection,
    "docs/ingest.md": manuals,
    "docs/integrations.md": closed_wiki,
    "docs/migrating.md": other_systems,
    "docs/rerank-candidates.md": stand_ins,
    "docs/reports.md": results,
    "docs/snapshots.md": wiki,
}


@pytest.mark.parametrize("page", [page for page in PAGES if fences(page, "python")], ids=name)
def test_python_snippets_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if name(page) in NEEDED and importlib.util.find_spec(NEEDED[name(page)]) is None:
        pytest.skip(f"needs {NEEDED[name(page)]}")
    monkeypatch.chdir(tmp_path)
    names = PREPARED.get(name(page), dict)()
    for position, fence in enumerate(fences(page, "python")):
        assert fence.map is not None
        code = fence.content
        for written, substitute in SUBSTITUTES.items():
            code = code.replace(written, substitute.replace("FOLDER", tmp_path.as_uri()))
        tree = ast.parse(code)
        if (name(page), position) in NOT_RUN:
            tree.body = [line for line in tree.body if isinstance(line, ast.ImportFrom) and _installed(line)]
        capsys.readouterr()
        # Errors name the page and its line.
        ast.increment_lineno(tree, fence.map[0] + 1)
        exec(compile(tree, str(page), "exec"), names)  # noqa: S102
        if expected := stated_output(code) if (name(page), position) not in NOT_RUN else []:
            check_printed(capsys.readouterr().out.splitlines(), expected)
    index = names.get("index")
    if isinstance(index, Index):
        index.close()


def stated_output(code: str) -> list[str]:
    """Return the comment lines that end a snippet: what it prints."""
    lines = list(itertools.takewhile(lambda line: line.startswith("# "), reversed(code.splitlines())))
    return [line.removeprefix("# ") for line in reversed(lines)]


def _installed(line: ast.ImportFrom) -> bool:
    return importlib.util.find_spec((line.module or "").partition(".")[0]) is not None


def test_what_is_not_run_exists() -> None:
    assert {(page, position) for page, position in NOT_RUN if position >= len(fences(ROOT / page, "python"))} == set()


def test_the_tutorial_on_evaluation_shows_what_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ir_measures", reason="needs the extra: pip install 'serotine[eval]'")
    page = ROOT / "docs/evaluate-honestly.md"
    monkeypatch.chdir(tmp_path)
    (collection,) = fences(page, "python")
    exec(collection.content, {})  # noqa: S102
    evaluated, compared, _ = fences(page, "console")
    for fence in (evaluated, compared):
        command, *printed = [line for line in fence.content.splitlines() if not line.startswith(("$ pip", "$ python3"))]
        capsys.readouterr()
        assert main(shlex.split(command.removeprefix("$ serotine "))) == 0
        lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
        check_printed(lines[-len(printed) :], printed)


def command_lines(page: Path) -> Iterator[list[str]]:
    """Yield the arguments of every call of `serotine` in a page's consoles and in its agents' settings."""
    for fence in fences(page, "console", ""):
        for line in fence.content.replace("\\\n", " ").splitlines():
            words = line.removeprefix("$ ")
            if words.startswith("serotine "):
                arguments = shlex.split(words, comments=True)[1:]
                yield arguments[: next((n for n, word in enumerate(arguments) if word in "|>&&"), None)]
    for fence in fences(page, "json", "toml"):
        settings = (json.loads if fence.info == "json" else tomllib.loads)(fence.content)
        yield from (call["args"] for call in calls(settings) if call["command"] == "serotine")


def calls(settings: Any) -> Iterator[dict[str, Any]]:
    """Yield every object with a command and arguments."""
    if isinstance(settings, dict):
        if {"command", "args"} <= settings.keys():
            yield settings
        for value in settings.values():
            yield from calls(value)


@pytest.mark.parametrize("page", [page for page in PAGES if list(command_lines(page))], ids=name)
def test_command_lines_are_accepted(page: Path) -> None:
    for arguments in command_lines(page):
        group: click.Command = commands
        rest = list(arguments)
        assert rest[0].startswith("-") or rest[0] in commands.commands, arguments
        while isinstance(group, click.Group) and rest and rest[0] in group.commands:
            group = group.commands[rest.pop(0)]
        context = click.Context(group)
        # Only parsed: the files of the examples do not exist.
        _, unknown, _ = group.make_parser(context).parse_args(rest)
        assert [word for word in unknown if word.startswith("-")] == [], arguments


def test_the_table_of_mcp_names_every_argument() -> None:
    pytest.importorskip("pydantic", reason="needs the extra: pip install 'serotine[mcp]'")
    from serotine.serving.mcp.schemas import ExpandArguments, ListArguments, SearchArguments

    rows = [line.split("|") for line in (ROOT / "docs/mcp.md").read_text("utf-8").splitlines()]
    for tool, arguments in (("search", SearchArguments), ("expand", ExpandArguments), ("list", ListArguments)):
        (documented,) = (row[2] for row in rows if len(row) > 2 and row[1] == f" `{tool}` ")
        fields = arguments.model_fields
        assert set(re.findall(r"`(\w+)`", documented)) == set(fields), tool
        for field, default in re.findall(r"`(\w+)` \(([\d,]+)\)", documented):
            assert fields[field].default == int(default.replace(",", "")), field


@pytest.mark.parametrize("page", [path.relative_to(ROOT).as_posix() for path in PAGES])
def test_every_relative_link_leads_to_a_file_of_the_clone(page: str) -> None:
    # Where code is hosted, pages are shown without those that the site generates.
    inline = [
        child
        for token in MarkdownIt("commonmark").enable("table").parse((ROOT / page).read_text("utf-8"))
        for child in token.children or ()
    ]
    targets = [str(token.attrs["href"]) for token in inline if token.type == "link_open"]
    targets += [str(token.attrs["src"]) for token in inline if token.type == "image"]
    paths = [target.partition("#")[0] for target in targets if not re.match("[a-z]+:|#", target)]
    assert [path for path in paths if not (ROOT / page).parent.joinpath(path).exists()] == []
