"""``serotine index --watch``: update the index whenever its files change, until Ctrl-C."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from serotine.errors import SerotineError, missing_extra
from serotine.ingest import IGNORE_FILES

# Milliseconds. Changes within the debounce time are one update; the tick is when a failed update is tried again.
_DEBOUNCE = 1600
_TICK = 1000
_RETRY_SECONDS = 30.0


def require_watchfiles() -> None:
    """Raise SerotineError where watchfiles is not installed."""
    try:
        import watchfiles  # noqa: F401
    except ImportError:
        raise SerotineError(missing_extra("--watch", "ingest")) from None


def watch(
    sources: Sequence[Path],
    index: Path,
    update: Callable[[Sequence[Path]], None],
    on_error: Callable[[Exception], None],
    say: Callable[[str], None],
) -> None:
    """Call `update` once, and whenever something changes among `sources`, until KeyboardInterrupt.

    Args:
        sources: files and folders. One that is removed is watched again once it returns.
        index: the index that `update` writes, whose changes do not count.
        update: updates the index from the sources that are there. An error does not end the watch: it is tried again
            at the next change, and after half a minute.
        on_error: called with such errors.
        say: called with a message when a source is removed, and when it returns.
    """
    gone: list[Path] = []
    # The first tick updates what changed before the watch began.
    next_update = 0.0
    for is_changed in _ticks(sources, index):
        present = [source for source in sources if source.exists()]
        for source in sources:
            if source not in present and source not in gone:
                say(f"{source}: no longer exists; its documents stay, and it is watched again once it returns")
            elif source in present and source in gone:
                say(f"{source}: exists again, and is watched")
                next_update = 0.0
        gone = [source for source in sources if source not in present]
        if not present or (not is_changed and time.monotonic() < next_update):
            continue
        next_update = float("inf")
        try:
            update(present)
        except (SerotineError, OSError) as error:
            on_error(error)
            next_update = time.monotonic() + _RETRY_SECONDS


def _ticks(sources: Sequence[Path], index: Path) -> Iterator[bool]:
    """Yield about once a second whether something may have changed among the sources.

    A watch ends with its folder, and does not see a new one of the same name: then it begins again.
    """
    import watchfiles

    index_paths = {index.resolve(), index.absolute()}

    def is_relevant(_: watchfiles.Change, path: str) -> bool:
        changed = Path(path)
        if any(changed.is_relative_to(index_path) for index_path in index_paths):
            return False
        # Folders are relevant too: one that is moved away takes its files with it.
        return any(_concerns(changed, source) for source in sources)

    while True:
        folders = _folders(sources)
        if not folders:
            time.sleep(_TICK / 1e3)
            yield False
            continue
        changes = watchfiles.watch(
            *folders,
            watch_filter=is_relevant,
            recursive=any(source.is_dir() for source in sources),
            debounce=_DEBOUNCE,
            rust_timeout=_TICK,
            yield_on_timeout=True,
            ignore_permission_denied=True,
        )
        roots = {os.path.abspath(folder) for folder in folders}  # noqa: PTH100
        is_first = True
        # A folder may go before its watch begins.
        with suppress(FileNotFoundError):
            for batch in changes:
                yield is_first or bool(batch)
                is_first = False
                # A new folder may have the inode of the removed one.
                removed = {path for change, path in batch if change == watchfiles.Change.deleted}
                if roots & removed or _folders(sources) != folders:
                    break


def _folders(sources: Sequence[Path]) -> dict[Path, tuple[int, int]]:
    """Return the folders to watch that exist, with what identifies each.

    Editors replace a file by another of the same name, which only a watch of its folder reports.
    """
    folders: dict[Path, tuple[int, int]] = {}
    for source in sources:
        folder = source if source.is_dir() else source.parent
        with suppress(OSError):
            status = folder.stat()
            folders[folder] = status.st_dev, status.st_ino
    return folders


def _concerns(changed: Path, source: Path) -> bool:
    root = Path(os.path.abspath(source))  # noqa: PTH100 - links are not followed
    changed = Path(os.path.abspath(changed))  # noqa: PTH100
    if changed == root:
        return True
    if not changed.is_relative_to(root):
        return False
    return changed.name in IGNORE_FILES or not any(part.startswith(".") for part in changed.relative_to(root).parts)
