"""What an update from files leaves in the index beside documents: the marks of sources that are not finished."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from serotine.index.store import Store


@contextmanager
def updating(
    store: Store, sources: Sequence[str], is_finished: Callable[[str], bool], splitting: str | None
) -> Iterator[None]:
    """Mark sources as unfinished while a block updates the index from them; see `Index.updating`."""
    with store.update_running():
        _record(store, dict.fromkeys([*store.snapshot().unfinished, *sources]), splitting)
        yield
        _record(store, (name for name in store.snapshot().unfinished if not is_finished(name)), None)


def _record(store: Store, sources: Iterable[str], splitting: str | None) -> None:
    unfinished = tuple(sources)
    with store.changes:
        is_new = splitting is not None and splitting != store.sources.splitting()
        if store.snapshot().unfinished != unfinished or is_new:
            with store.transaction() as transaction:
                transaction.set_unfinished(unfinished)
                if splitting is not None:
                    transaction.set_splitting(splitting)
