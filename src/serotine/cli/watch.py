"""``serotine index --watch``: update the index whenever its files change, until Ctrl-C."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
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
    sources: Sequence[Path], index: Path, update: Callable[[], None], on_error: Callable[[Exception], None]
) -> None:
    """Call `update` once, and whenever something changes among `sources`, until KeyboardInterrupt.

    Args:
        sources: files and folders.
        index: the index that `update` writes, whose changes do not count.
        update: updates the index from all sources. An error does not end the watch: it is tried again at the next
            change, and after half a minute.
        on_error: called with such errors.
    """
    import watchfiles

    # Editors replace a file by another of the same name, which only a watch of its folder reports.
    folders = {source if source.is_dir() else source.parent for source in sources}
    index_paths = {index.resolve(), index.absolute()}

    def is_relevant(_: watchfiles.Change, path: str) -> bool:
        changed = Path(path)
        if any(changed.is_relative_to(index_path) for index_path in index_paths):
            return False
        # Folders are relevant too: one that is moved away takes its files with it.
        return any(_concerns(changed, source) for source in sources)

    changes = watchfiles.watch(
        *folders,
        watch_filter=is_relevant,
        recursive=any(source.is_dir() for source in sources),
        debounce=_DEBOUNCE,
        rust_timeout=_TICK,
        yield_on_timeout=True,
        ignore_permission_denied=True,
    )
    # The first tick updates what changed before the watch began.
    next_update = 0.0
    for batch in changes:
        if not batch and time.monotonic() < next_update:
            continue
        next_update = float("inf")
        try:
            update()
        except (SerotineError, OSError) as error:
            on_error(error)
            next_update = time.monotonic() + _RETRY_SECONDS


def _concerns(changed: Path, source: Path) -> bool:
    root = Path(os.path.abspath(source))  # noqa: PTH100 - links are not followed
    changed = Path(os.path.abspath(changed))  # noqa: PTH100
    if changed == root:
        return True
    if not changed.is_relative_to(root):
        return False
    return changed.name in IGNORE_FILES or not any(part.startswith(".") for part in changed.relative_to(root).parts)
