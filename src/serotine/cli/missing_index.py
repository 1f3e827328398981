"""What to do where a path is not an index: the near one is named, or the command that makes one."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path

from serotine.cli.output import shell_line

_SUFFIX = ".serotine"
# Of a sharded index.
_MANIFEST, _FIRST_SHARD = "shards.json", "shard-00000"
# Nearer than other misspellings: it may also be a word of a query.
_NEAR = 0.8


def missing_index_message(path: Path, catalog: str) -> str:
    """Return the message about a path that holds no index.

    Args:
        path: as given on the command line.
        catalog: name of the file that an index has.
    """
    if path.name in ("", ".."):
        path = path.resolve()
    if not path.name:
        return f"{path}: is a folder of files, not an index; create one from a folder in it with: serotine index FOLDER"
    beside = path.with_name(f"{path.name.removesuffix('.gz')}{_SUFFIX}")
    if (path / _MANIFEST).is_file() and (path / _FIRST_SHARD).is_dir():
        command = shell_line("serotine", "serve", "--ray", path)
        return f"{path}: is an index in shards, which a server searches; start one with: {command}"
    if path.exists():
        kind = "a folder of files" if path.is_dir() else "a file"
        near = [candidate for candidate in (beside, path.with_suffix(_SUFFIX)) if (candidate / catalog).is_file()]
        if near:
            return f"{path}: is {kind}, not an index; its index is {near[0]}"
        return f"{path}: is {kind}, not an index; create one with: {shell_line('serotine', 'index', path)}"
    indexes = {entry.name for entry in _entries(path.parent) if (entry / catalog).is_file()}
    # Without the suffix, which makes short names alike.
    stems = {name.removesuffix(_SUFFIX): name for name in sorted(indexes)}
    alike = difflib.get_close_matches(_stem(path.name), stems, n=1)
    named = [name for name in (beside.name, *(stems[stem] for stem in alike)) if name in indexes]
    if named:
        return f"{path}: no such index; did you mean {path.with_name(named[0])}"
    return f"{path}: no such index; create one with: serotine index FOLDER -o {shell_line(path)}"


def mistyped_index(word: str, indexes: Sequence[Path], catalog: str) -> str | None:
    """Return the message about a word between indexes and query that is no index but looks like one; None if not.

    It looks like one where it is a path into a folder that exists, ends in nearly .serotine, or has nearly the name of
    another index beside those that are given.

    Args:
        word: the first that is no index; not the last, which is of the query.
        indexes: those before it.
        catalog: name of the file that an index has.
    """
    path = Path(word)
    is_path = (os.sep in word or word.startswith(("./", "../", "~"))) and (path.is_absolute() or path.parent.is_dir())
    if is_path:
        message = missing_index_message(path, catalog)
    else:
        given = {index.resolve() for index in indexes}
        beside = [entry for folder in dict.fromkeys(index.parent for index in indexes) for entry in _entries(folder)]
        names = {
            entry.name.removesuffix(_SUFFIX): entry
            for entry in beside
            if (entry / catalog).is_file() and entry.resolve() not in given
        }
        stem = _stem(word)
        near = difflib.get_close_matches(stem, names, n=1, cutoff=_NEAR)
        if not near and stem == word:
            return None
        message = f"{word}: no such index" + (f"; did you mean {names[near[0]]}" if near else "")
    return f"{message.partition('; create one')[0]}; quote the query if this is a word of it"


def _stem(name: str) -> str:
    """Return a name without .serotine, which may be misspelt."""
    stem, dot, suffix = name.rpartition(".")
    is_suffix = difflib.SequenceMatcher(None, dot + suffix, _SUFFIX).ratio() >= _NEAR
    return stem if stem and is_suffix else name


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
