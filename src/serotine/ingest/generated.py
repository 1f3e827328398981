"""Files and folders for tools, which nobody reads: lock and configuration files, minified code, build outputs.

The names are those that GitHub's Linguist calls generated, the lock files of npm, Cargo, Poetry and others, and the
configuration files that are JSON, where other files of that type are records.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from pathlib import Path, PurePath

_PACKAGE_FOLDERS = {"node_modules", "bower_components", "site-packages", "__pycache__", "__pypackages__"}
_INDEX_MARKER = "catalog.sqlite"
_MARKERS_INSIDE = ("pyvenv.cfg", "CACHEDIR.TAG", "CMakeCache.txt", _INDEX_MARKER)
_BUILD_FOLDERS = {"build", "dist", "target", "out"}
_MARKERS_BESIDE = (
    *("Cargo.toml", "package.json", "pyproject.toml", "setup.py", "pom.xml", "build.gradle", "build.gradle.kts"),
    *("CMakeLists.txt", "meson.build"),
)
_LOCK_FILES = {
    *("package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock", "bun.lockb", "deno.lock"),
    *("poetry.lock", "pdm.lock", "uv.lock", "pipfile.lock", "pylock.toml", "conda-lock.yml", "pixi.lock"),
    *("cargo.lock", "cargo.toml.orig", "go.sum", "go.work.sum", "gopkg.lock", "glide.lock"),
    *("composer.lock", "gemfile.lock", "podfile.lock", "package.resolved", "mix.lock", "pubspec.lock", "flake.lock"),
    *("packages.lock.json", "project.assets.json", "gradle.lockfile", ".terraform.lock.hcl", "module.bazel.lock"),
    *("jsr.lock", "cartfile.resolved", "manifest.toml.lock"),
}
_CONFIGURATION_FILES = {
    *("angular.json", "app.json", "appsettings.json", "biome.json", "bower.json", "cmakepresets.json"),
    *("cmakeuserpresets.json", "composer.json", "deno.json", "devcontainer.json", "firebase.json", "global.json"),
    *("jsconfig.json", "lerna.json", "launchsettings.json", "nest-cli.json", "nodemon.json", "now.json", "nx.json"),
    *("package.json", "project.json", "pyrightconfig.json", "renovate.json", "rush.json", "tsconfig.json"),
    *("tslint.json", "turbo.json", "typedoc.json", "vcpkg.json", "vercel.json"),
}
_KINDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("configuration files", re.compile(r"(ts|js)config\..+\.json|.+\.config\.json|appsettings\..+\.json")),
    ("minified code", re.compile(r".+[.-]min\.(m?js|css)")),
    ("source maps", re.compile(r".+\.(m?js|css|ts|cjs)\.map")),
    ("generated code", re.compile(r".+(_pb2(_grpc)?\.pyi?|\.pb\.(go|cc|h)|\.pb\.gw\.go|\.g\.dart|\.designer\.cs)")),
)


def generated_kind(name: str) -> str | None:
    """Return the kind of a generated or configuration file, from its name; None for all other files.

    >>> generated_kind("package-lock.json"), generated_kind("tsconfig.json"), generated_kind("lock.py")
    ('lock files', 'configuration files', None)
    """
    lowered = name.lower()
    if lowered in _LOCK_FILES:
        return "lock files"
    if lowered in _CONFIGURATION_FILES:
        return "configuration files"
    return next((kind for kind, pattern in _KINDS if pattern.fullmatch(lowered)), None)


def is_generated_folder(path: PurePath, beside: Collection[str], has_file: Callable[[str], bool]) -> bool:
    """Return whether a folder holds installed packages, build outputs or an index.

    Args:
        path: the folder.
        beside: the names in the folder around it.
        has_file: returns whether the folder contains a file of this name.
    """
    if path.name in _PACKAGE_FOLDERS or path.name.endswith(".egg-info"):
        return True
    if path.name in _BUILD_FOLDERS and any(marker in beside for marker in _MARKERS_BESIDE):
        return True
    return any(has_file(marker) for marker in _MARKERS_INSIDE)


def is_index_folder(path: Path) -> bool:
    """Return whether a folder is an index of Serotine."""
    return (path / _INDEX_MARKER).is_file()
