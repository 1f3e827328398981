"""MkDocs hook: pages outside docs/ become pages of the site, and other files that pages link to are copied into it.

In the repository, pages link to files by their paths. The same links have to lead somewhere on the site, offline too.
A link to what does not exist is left as it is: the strict build refuses it.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
# Pages of the site by their paths in the repository.
PAGES = {
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CODE_OF_CONDUCT.md": "development/code-of-conduct.md",
    "CONTRIBUTING.md": "development/contributing.md",
    "SECURITY.md": "security.md",
    "examples/README.md": "examples/README.md",
    "examples/cranfield/README.md": "examples/cranfield.md",
    "examples/languages/README.md": "examples/languages.md",
    "models/serotine-mini/README.md": "models/serotine-mini.md",
    "models/serotine-multi/README.md": "models/serotine-multi.md",
    # The reader of the site is on its front page.
    "README.md": "README.md",
}
_REPOSITORY_PATHS = {page: path for path, page in PAGES.items() if path != "README.md"}
_LINK = re.compile(r"(?<=\]\()([^)\s#]+)(#[^)\s]*)?(?=\))")
_SCHEME = re.compile(r"[a-z]+:")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages outside docs/, and the files that any page links to."""
    for page, source in _REPOSITORY_PATHS.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    linked = {}
    for file in files.documentation_pages():
        for target, _ in _LINK.findall(file.content_string):
            path = _repository_path(file.src_uri, target)
            if path is not None and _site_path(path).startswith("files/"):
                linked[_site_path(path)] = path
    for site_path, path in linked.items():
        files.append(File.generated(config, site_path, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links at the places on the site."""
    folder = posixpath.dirname(page.file.src_uri)

    def replaced(match: re.Match[str]) -> str:
        path = _repository_path(page.file.src_uri, match[1])
        if path is None:
            return match[0]
        return posixpath.relpath(_site_path(path), folder or ".") + (match[2] or "")

    return _LINK.sub(replaced, markdown)


def _repository_path(page: str, target: str) -> str | None:
    """Return the path in the repository of the file that a page links to, or None where there is none."""
    if _SCHEME.match(target):
        return None
    source = PurePosixPath(_REPOSITORY_PATHS.get(page, f"docs/{page}"))
    path = posixpath.normpath(source.parent / target)
    if os.path.isdir(ROOT / path):  # noqa: PTH112
        path = f"{path}/README.md"
    return path if (ROOT / path).is_file() else None


def _site_path(path: str) -> str:
    """Return a file's path on the site by its path in the repository."""
    if path in PAGES:
        return PAGES[path]
    return path.removeprefix("docs/") if path.startswith("docs/") else f"files/{path}"
