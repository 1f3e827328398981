"""The files of a folder: those to read, and the count of all others."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from pathspec import GitIgnoreSpec

from serotine.errors import InputFileError, check_flags, invalid, wrong_type
from serotine.files import open_regular
from serotine.ingest.generated import generated_kind, is_generated_folder
from serotine.ingest.rows import MAX_NAMED

IGNORE_FILES = (".gitignore", ".serotineignore")
_EXAMPLES = 3
_SINGULAR = {"links to files that are read": "link to a file that is read", "links not followed": "link not followed"}


@dataclass(frozen=True, slots=True)
class FileSelection:
    """Which files of folders are read; a file that is itself a source always is.

    Hidden files, lock files, configuration files in JSON, minified and other generated code, folders of installed
    packages and build outputs, and what `.gitignore` and `.serotineignore` name are left out.

    Attributes:
        exclude: patterns, as in `.gitignore` and relative to each folder, of files and folders to leave out.
        include: patterns of the only files to read, generated ones among them; none: all.
        max_file_size: bytes above which a file is left out; None: no limit.
        ignore_files: whether generated and configuration files, packages, build outputs and what ignore files name are
            left out.
        follow_links: whether links in folders are followed, also out of them; a source that is a link always is.

    >>> FileSelection(exclude=("drafts/", "*.log"), max_file_size=10_000_000).max_file_size
    10000000
    """

    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    max_file_size: int | None = None
    ignore_files: bool = True
    follow_links: bool = True

    def __post_init__(self) -> None:
        for name in ("exclude", "include"):
            if isinstance(getattr(self, name), str):
                raise wrong_type(name, "a list of patterns", getattr(self, name))
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_flags(ignore_files=self.ignore_files, follow_links=self.follow_links)
        if self.max_file_size is not None and self.max_file_size < 0:
            raise invalid("max_file_size", "at least 0", self.max_file_size)
        for name in ("exclude", "include"):
            try:
                GitIgnoreSpec.from_lines(getattr(self, name))
            except ValueError as error:
                raise ValueError(f"{name}: not a valid pattern ({error}); use the syntax of .gitignore") from None

    @property
    def patterns(self) -> dict[str, tuple[str, ...]]:
        """The patterns that are given, by the name of the attribute."""
        given = {"exclude": self.exclude, "include": self.include}
        return {name: tuple(dict.fromkeys(patterns)) for name, patterns in given.items() if patterns}


@dataclass(frozen=True, slots=True)
class Ignored:
    """Files of folders that are not read.

    Attributes:
        suffixes: number of files of unknown types by suffix, the most frequent first; "" for names without one.
        examples: the first three files of unknown types by suffix.
        hidden: number of hidden files and folders.
        excluded: number of files and folders that patterns or ignore files leave out.
        folders: number of folders of packages and build outputs by name.
        generated: number of generated files by kind, such as "lock files" and "minified code".
        too_large: number of files above the maximum size.
        linked: number of links to files and folders that are read under another name.
        unfollowed: number of links that are not followed because of `FileSelection.follow_links`.
        unreadable: number of folders and links that cannot be followed, and of special files.
        beside_corpus: number of files beside a BEIR corpus, which is read alone.
        first: the first ten files that are too large or unreadable.
        unmatched: patterns of `FileSelection` that match nothing, by the name of the attribute.
    """

    suffixes: Mapping[str, int] = field(default_factory=dict)
    hidden: int = 0
    excluded: int = 0
    folders: Mapping[str, int] = field(default_factory=dict)
    generated: Mapping[str, int] = field(default_factory=dict)
    too_large: int = 0
    linked: int = 0
    unfollowed: int = 0
    unreadable: int = 0
    beside_corpus: int = 0
    first: tuple[str, ...] = ()
    examples: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unmatched: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.suffixes or self.folders or self.generated or any(count for _, count in self._counts()))

    def __str__(self) -> str:
        unknown = sum(self.suffixes.values())
        kinds = ", ".join(
            f"{suffix} {count:,}" if suffix else self._without_suffix(count) for suffix, count in self.suffixes.items()
        )
        folders = ", ".join(name if count == 1 else f"{name} {count:,}" for name, count in self.folders.items())
        parts = [f"{unknown:,} of unknown types ({kinds})"] if unknown else []
        parts += [
            f"{count:,} {_SINGULAR.get(name, name) if count == 1 else name}" for name, count in self._counts() if count
        ]
        # "lock files" and "minified code": only the first has a singular.
        parts += [
            f"{count:,} {kind.removesuffix('s') if count == 1 else kind}" for kind, count in self.generated.items()
        ]
        parts += [f"folders {folders}"] if folders else []
        return "ignored: " + ", ".join(parts)

    def _without_suffix(self, count: int) -> str:
        """Return the count of files without a suffix, and the names of some: nothing else says what they are."""
        names = [Path(path).name for path in self.examples.get("", ())]
        more = ", ..." if count > len(names) else ""
        named = f": {', '.join(names)}{more}" if names else ""
        return f"no suffix {count:,}{named}"

    def _counts(self) -> tuple[tuple[str, int], ...]:
        return (
            ("hidden", self.hidden),
            ("excluded", self.excluded),
            ("too large", self.too_large),
            ("links to files that are read", self.linked),
            ("links not followed", self.unfollowed),
            ("unreadable", self.unreadable),
            ("beside corpus.jsonl", self.beside_corpus),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the counts as JSON values."""
        return {
            "suffixes": dict(self.suffixes),
            "folders": dict(self.folders),
            "generated": dict(self.generated),
            **{name: getattr(self, name) for name in _COUNTED},
            "first": list(self.first),
            "examples": {suffix: list(names) for suffix, names in self.examples.items()},
            "unmatched": {name: list(patterns) for name, patterns in self.unmatched.items()},
        }

    @classmethod
    def total(cls, ignored: Iterable[Ignored]) -> Ignored:
        """Return the counts of several folders together."""
        by_folder = list(ignored)
        by_name = {name: Counter[str]() for name in ("suffixes", "folders", "generated")}
        for counted in by_folder:
            for name, total in by_name.items():
                total.update(getattr(counted, name))
        counts = {name: sum(getattr(counted, name) for counted in by_folder) for name in _COUNTED}
        first = [name for counted in by_folder for name in counted.first][:MAX_NAMED]
        suffixes, folders, generated = (dict(total.most_common()) for total in by_name.values())
        examples = {
            suffix: tuple(chain.from_iterable(counted.examples.get(suffix, ()) for counted in by_folder))[:_EXAMPLES]
            for suffix in suffixes
        }
        # A pattern that matches in one of the folders has an effect.
        unmatched = {
            name: tuple(p for p in patterns if all(p in counted.unmatched.get(name, ()) for counted in by_folder))
            for name, patterns in (by_folder[0].unmatched if by_folder else {}).items()
        }
        return cls(
            suffixes,
            folders=folders,
            generated=generated,
            first=tuple(first),
            examples=examples,
            unmatched={name: patterns for name, patterns in unmatched.items() if patterns},
            **counts,
        )


_COUNTED = ("hidden", "excluded", "too_large", "linked", "unfollowed", "unreadable", "beside_corpus")


@dataclass(frozen=True, slots=True, order=True)
class FoundFile:
    """A file of a folder that is read.

    Attributes:
        path: below the folder as given.
        key: below the folder with the folder's own links resolved: the same one, whatever it is called.
        real: with all links resolved.
        is_link: whether it is a link itself.
    """

    path: Path
    key: str
    real: str
    is_link: bool = False


@dataclass(frozen=True, slots=True)
class FolderFiles:
    """What a folder contains.

    Attributes:
        files: those to read, sorted by path.
        ignored: the count of all others.
        excluded: keys of the files and folders that rules leave out.
        not_included: how many files there are where `FileSelection.include` matches none of them; otherwise 0.
    """

    files: list[FoundFile]
    ignored: Ignored
    excluded: frozenset[str] = frozenset()
    not_included: int = 0


def walk(root: Path, selection: FileSelection, is_known: Callable[[str], bool]) -> FolderFiles:
    """Return the files of a folder, those of its subfolders included.

    Links are followed, also out of the folder, except those to files and folders that are read anyway, so that loops
    end; or not at all, as `selection` says.

    Args:
        root: the folder.
        selection: which files are read.
        is_known: returns whether the type of a file of this name is known.
    """
    return _Walk(root, selection, is_known).run()


@dataclass(frozen=True, slots=True)
class _Rules:
    """The patterns of one ignore file, relative to its folder."""

    folder: str
    spec: GitIgnoreSpec

    def excludes(self, path: str, *, is_folder: bool) -> bool | None:
        """Return whether a path in the folder is excluded; None where no pattern matches."""
        relative = os.path.relpath(path, self.folder).replace(os.sep, "/")
        return self.spec.check_file(f"{relative}/" if is_folder else relative).include


class _Walk:
    """One walk."""

    def __init__(self, root: Path, selection: FileSelection, is_known: Callable[[str], bool]) -> None:
        self._root = root
        self._selection = selection
        self._is_known = is_known
        self._exclude = _Rules(str(root), GitIgnoreSpec.from_lines(selection.exclude))
        self._include = GitIgnoreSpec.from_lines(selection.include)
        self._real_root = os.path.realpath(root)
        self._visited = {self._real_root}
        self._files: list[FoundFile] = []
        self._excluded: set[str] = set()
        self._suffixes: Counter[str] = Counter()
        self._folders: Counter[str] = Counter()
        self._generated: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._first: list[str] = []
        self._examples: dict[str, list[str]] = {}
        # Patterns that nothing has matched so far, each alone.
        self._unmatched = {
            name: {pattern: GitIgnoreSpec.from_lines([pattern]) for pattern in patterns}
            for name, patterns in selection.patterns.items()
        }
        self._linked_folders: list[tuple[str, tuple[_Rules, ...]]] = []

    def run(self) -> FolderFiles:
        rules = _rules_above(self._root) if self._selection.ignore_files else ()
        self._folder(str(self._root), self._real_root, rules)
        # After the folders themselves: a link to one of them is not followed.
        while self._linked_folders:
            self._linked_folder(*self._linked_folders.pop(0))
        files = self._without_links()
        not_included = 0 if self._counts["included"] else self._counts["not_included"]
        ignored = Ignored(
            dict(self._suffixes.most_common()),
            folders=dict(self._folders.most_common()),
            generated=dict(self._generated.most_common()),
            first=tuple(self._first),
            examples={suffix: tuple(names) for suffix, names in self._examples.items()},
            unmatched={name: tuple(patterns) for name, patterns in self._unmatched.items() if patterns},
            **{name: self._counts[name] for name in _COUNTED},
        )
        return FolderFiles(files, ignored, frozenset(self._excluded), not_included)

    def _folder(self, folder: str, real: str, rules: tuple[_Rules, ...]) -> None:
        try:
            with os.scandir(folder) as entries:
                children = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if folder == str(self._root):
                raise InputFileError(
                    f"{folder}: cannot be read ({error.strerror or error}); check its permissions"
                ) from None
            self._unreadable(folder)
            return
        names = {entry.name for entry in children}
        if self._selection.ignore_files:
            rules = (*rules, *_read_rules(folder, names))
        for entry in children:
            self._match(entry)
            if entry.name.startswith("."):
                self._counts["hidden"] += 1
                continue
            if not self._selection.follow_links and entry.is_symlink():
                self._counts["unfollowed"] += 1
                self._excluded.add(self._key(entry.path))
                continue
            try:
                if entry.is_dir():
                    self._subfolder(entry, real, rules, names)
                elif entry.is_file():
                    self._file(entry, real, rules)
                else:
                    self._unreadable(entry.path)
            except OSError:
                self._unreadable(entry.path)

    def _match(self, entry: os.DirEntry[str]) -> None:
        """Take the patterns that match a file or folder out of those that nothing has matched."""
        if not any(self._unmatched.values()):
            return
        relative = os.path.relpath(entry.path, self._root).replace(os.sep, "/")
        with suppress(OSError):
            relative = f"{relative}/" if entry.is_dir() else relative
        for specs in self._unmatched.values():
            for pattern in [pattern for pattern, spec in specs.items() if spec.check_file(relative).index is not None]:
                del specs[pattern]

    def _subfolder(self, entry: os.DirEntry[str], real: str, rules: tuple[_Rules, ...], beside: set[str]) -> None:
        if self._is_excluded(entry.path, rules, is_folder=True):
            self._exclude_path(entry.path)
        elif self._selection.ignore_files and is_generated_folder(
            Path(entry.path), beside, lambda name: Path(entry.path, name).is_file()
        ):
            self._folders[entry.name] += 1
            self._excluded.add(self._key(entry.path))
        elif entry.is_symlink():
            self._linked_folders.append((entry.path, rules))
        else:
            inside = str(Path(real, entry.name))
            self._visited.add(inside)
            self._folder(entry.path, inside, rules)

    def _linked_folder(self, path: str, rules: tuple[_Rules, ...]) -> None:
        real = os.path.realpath(path)
        # One above the root contains what is read already.
        if real in self._visited or any(is_within(visited, real) for visited in self._visited):
            self._counts["linked"] += 1
            return
        self._visited.add(real)
        self._folder(path, real, rules)

    def _file(self, entry: os.DirEntry[str], real: str, rules: tuple[_Rules, ...]) -> None:
        relative = os.path.relpath(entry.path, self._root).replace(os.sep, "/")
        if self._is_excluded(entry.path, rules, is_folder=False) or (
            self._selection.include and not self._is_included(relative)
        ):
            self._exclude_path(entry.path)
        elif self._selection.ignore_files and not self._selection.include and (kind := generated_kind(entry.name)):
            self._generated[kind] += 1
            self._excluded.add(self._key(entry.path))
        elif not self._is_known(entry.name):
            suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122
            self._suffixes[suffix] += 1
            examples = self._examples.setdefault(suffix, [])
            if len(examples) < _EXAMPLES:
                examples.append(Path(entry.path).as_posix())
        elif self._selection.max_file_size is not None and entry.stat().st_size > self._selection.max_file_size:
            self._counts["too_large"] += 1
            self._name(entry.path)
        else:
            is_link = entry.is_symlink()
            real = os.path.realpath(entry.path) if is_link else str(Path(real, entry.name))
            self._files.append(FoundFile(Path(entry.path), self._key(entry.path), real, is_link))

    def _key(self, path: str) -> str:
        return str(Path(self._real_root, os.path.relpath(path, self._root)))

    def _without_links(self) -> list[FoundFile]:
        """Return the files, without links to one of them, sorted."""
        chosen: dict[str, FoundFile] = {}
        for file in sorted(self._files, key=lambda file: (file.is_link, file.path)):
            if file.real in chosen:
                self._counts["linked"] += 1
            else:
                chosen[file.real] = file
        return sorted(chosen.values())

    def _is_excluded(self, path: str, rules: Sequence[_Rules], *, is_folder: bool) -> bool:
        # The option first; then the deepest ignore file that has a matching pattern.
        levels = (self._exclude, *reversed(rules))
        decisions = (patterns.excludes(path, is_folder=is_folder) for patterns in levels)
        return next((decision for decision in decisions if decision is not None), False)

    def _is_included(self, relative: str) -> bool:
        matches = self._include.match_file(relative)
        self._counts["included" if matches else "not_included"] += 1
        return matches

    def _exclude_path(self, path: str) -> None:
        self._counts["excluded"] += 1
        self._excluded.add(self._key(path))

    def _unreadable(self, path: str) -> None:
        self._counts["unreadable"] += 1
        self._name(path)

    def _name(self, path: str) -> None:
        if len(self._first) < MAX_NAMED:
            self._first.append(Path(path).as_posix())


def _rules_above(root: Path) -> tuple[_Rules, ...]:
    """Return the ignore rules of the repository around a folder, unless they exclude the folder itself."""
    folder = Path(os.path.abspath(root))  # noqa: PTH100 - links are not followed
    rules: list[_Rules] = []
    if (folder / ".git").exists():
        return ()
    for parent in folder.parents:
        rules = [*_read_rules(str(parent), set(IGNORE_FILES)), *rules]
        if (parent / ".git").exists():
            break
    else:
        return ()
    within = [path for path in (folder, *folder.parents) if path.is_relative_to(parent) and path != parent]
    if any(patterns.excludes(str(path), is_folder=True) for path in within for patterns in rules):
        return ()
    return tuple(rules)


def _read_rules(folder: str, names: set[str]) -> Iterator[_Rules]:
    lines: list[str] = []
    for name in IGNORE_FILES:
        if name in names:
            try:
                with open_regular(Path(folder, name)) as file:
                    lines += file.read().decode("utf-8", errors="replace").splitlines()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise InputFileError(
                    f"{folder}/{name}: cannot be read ({error.strerror or error}); check its permissions"
                ) from None
    if lines:
        try:
            spec = GitIgnoreSpec.from_lines(lines)
        except ValueError as error:
            raise InputFileError(
                f"{folder}: {' or '.join(IGNORE_FILES)} has an invalid pattern ({error}); correct it"
            ) from None
        yield _Rules(folder, spec)


def is_within(path: str, folder: str) -> bool:
    """Return whether a path is a folder, or below it."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def root_of(path: str, roots: Set[str]) -> str | None:
    """Return which of `roots` a path is, or is below; there may be as many roots as files."""
    while path not in roots:
        parent = os.path.dirname(path)  # noqa: PTH120
        if parent in (path, ""):
            return None
        path = parent
    return path
