"""The documentation builds as a site without a warning, broken links included, and its pages hold what they name."""

from __future__ import annotations

import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import serotine
import serotine.evaluation
import serotine.maxsim
from serotine.cli import commands

for module in ("mkdocs", "material", "mkdocstrings", "mkdocs_click"):
    pytest.importorskip(module, reason="needs the group: pip install --group docs")
pytest.importorskip("fastapi", reason="the HTTP reference needs the extra: pip install 'serotine[serve]'")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    # Without --quiet, which also hides warnings from --strict.
    build = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (build.returncode, re.findall("^(?:WARNING|ERROR).*", build.stderr, re.MULTILINE)) == (0, []), build.stderr
    return folder


def text(page: Path) -> str:
    return page.read_text("utf-8")


def test_every_page_of_the_repository_is_in_the_site(site: Path) -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        path = page.relative_to(ROOT / "docs")
        html = path.with_name("index.html" if path.name == "README.md" else f"{path.stem}.html")
        assert (site / html).is_file(), path


def test_the_references_hold_every_public_name(site: Path) -> None:
    python = text(site / "reference/python.html")
    anchors = {anchor.rsplit(".", 1)[-1] for anchor in re.findall(r'id="(serotine[\w.]*)"', python)}
    for module in (serotine, serotine.maxsim, serotine.evaluation):
        assert set(module.__all__) - anchors - {"__version__"} == set(), module.__name__
    cli = text(site / "reference/cli.html")
    for name in commands.commands:
        assert f'id="serotine-{name}"' in cli, name
    http = text(site / "reference/http.html")
    for heading in ("POST /v1/indexes/{name}/search", "GET /healthz"):
        assert heading in http, heading


def test_examples_of_docstrings_are_code(site: Path) -> None:
    python = text(site / "reference/python.html")
    assert re.search(r"<p>[^<]*&gt;&gt;&gt;", python) is None
    assert '<span class="gp">&gt;&gt;&gt; </span>' in python


def test_files_that_pages_link_to_are_copied(site: Path) -> None:
    assert (site / "files/benchmarks/results/kernels.json").read_bytes() == (
        ROOT / "benchmarks/results/kernels.json"
    ).read_bytes()
    assert 'href="files/benchmarks/results/kernels.json"' in text(site / "kernels.html")


def test_nothing_is_loaded_from_other_hosts(site: Path) -> None:
    loaded = re.compile(r'<(?:script|img|link[^>]*rel="stylesheet")[^>]*(?:src|href)="?(https?://[^" >]+)')
    assert [(page.name, loaded.findall(text(page))) for page in site.rglob("*.html") if loaded.search(text(page))] == []
    assert "late interaction" in text(site / "search/search_index.js")


def test_the_tables_of_commands_show_defaults_in_words(site: Path) -> None:
    cli = text(site / "reference/cli.html")
    assert re.findall("Sentinel|UNSET|_required", cli) == []
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", cli, re.DOTALL)]
    assert {row[3] for row in rows if row and "--max-expansion" in row[0]} == {"<code>100</code>"}
    assert "<code>required</code>" in {row[3] for row in rows if row and "--shards" in row[0]}


def test_the_python_reference_names_what_is_imported(site: Path) -> None:
    python = text(site / "reference/python.html")
    names = re.findall(r'<span class="doc doc-object-name doc-\w+-name">(serotine[\w.]*)</span>', python)
    assert {"serotine.Index", "serotine.Encoder", "serotine.Client", "serotine.integrations.pack_vectors"} <= set(names)
    assert [
        name for name in names if not hasattr(pkgutil.resolve_name(name.rpartition(".")[0]), name.rpartition(".")[2])
    ] == []
    assert re.findall(r'id="serotine\.errors\.[a-z]\w*"', python) == []


def test_every_page_of_the_navigation_has_an_entry_of_its_own(site: Path) -> None:
    front = text(site / "index.html")
    for title in ("Programs to start from", "Developing"):
        assert re.search(rf'<a href="[^"]+" class="md-nav__link">\s*<span class="md-ellipsis">\s*{title}', front), title


def test_tables_without_headings_have_no_empty_row(site: Path) -> None:
    assert [page.name for page in site.rglob("*.html") if re.search(r"<tr>\s*<th[^>]*></th>\s*</tr>", text(page))] == []
    assert "<thead>" not in re.findall(r"<h2 id=\"what-it-does\">.*?</table>", text(site / "index.html"), re.DOTALL)[0]


def test_a_copied_console_block_is_its_commands(site: Path) -> None:
    page = text(site / "first-search.html")
    assert 'href="site.css"' in page
    assert '<span class="gp">$ </span>' in page
    # The theme sets it while it reads the text of a block.
    assert any("data-md-copying" in text(script) for script in (site / "assets").rglob("*.js"))
    hidden = text(site / "site.css").partition("{")[0]
    assert "[data-md-copying] .gp" in hidden
    assert "[data-md-copying] .go" in hidden
