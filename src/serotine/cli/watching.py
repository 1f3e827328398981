"""``serotine index --watch``: the index follows its files until Ctrl-C."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from serotine.errors import SerotineError

# Milliseconds. Changes that come together are taken together; the tick lets what failed be tried again.
_DEBOUNCE = 1600
_TICK = 1000
_RETRY_SECONDS = 30.0


def require_watchfiles() -> None:
    """Raises SerotineError where watchfiles is not installed."""
    try:
        import watchfiles  # noqa: F401
    except ImportError:
        raise SerotineError("--watch: needs watchfiles; run: pip install 'serotine[ingest]'") from None


def watch(
    sources: Sequence[Path], index: Path, follow: Callable[[], None], failed: Callable[[Exception], None]
) -> None:
    """Calls `follow` once and whenever something changes among `sources`; returns at Ctrl-C.

    Args:
        sources: files and folders.
        index: what `follow` writes, whose changes do not count.
        follow: does all there is to do, whatever has changed. An error of its does not end the watch: it is tried
            again at the next change, and after half a minute.
        failed: is told of such errors.
    """
    import watchfiles

    # An editor replaces a file by another of its name, which only its folder tells.
    places = {source if source.is_dir() else source.parent for source in sources}
    own = {index.resolve(), index.absolute()}

    def counts(_: watchfiles.Change, path: str) -> bool:
        changed = Path(path)
        if any(changed.is_relative_to(place) for place in own):
            return False
        # Folders count as well: one that is moved away takes its files with it.
        return any(_concerns(changed, source) for source in sources)

    changes = watchfiles.watch(
        *places,
        watch_filter=counts,
        recursive=any(source.is_dir() for source in sources),
        debounce=_DEBOUNCE,
        rust_timeout=_TICK,
        yield_on_timeout=True,
        ignore_permission_denied=True,
    )
    # What changed before the watch began is found at its first tick.
    due = 0.0
    try:
        for found in changes:
            if not found and time.monotonic() < due:
                continue
            due = float("inf")
            try:
                follow()
            except (SerotineError, OSError, sqlite3.Error) as error:
                failed(error)
                due = time.monotonic() + _RETRY_SECONDS
    except KeyboardInterrupt:
        return


def _concerns(changed: Path, source: Path) -> bool:
    place = Path(os.path.abspath(source))  # noqa: PTH100 - links are not followed
    changed = Path(os.path.abspath(changed))  # noqa: PTH100
    if changed == place:
        return True
    return changed.is_relative_to(place) and not any(part.startswith(".") for part in changed.relative_to(place).parts)
