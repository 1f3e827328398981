"""The rarity of words in an index: by how many of its documents have them."""

from __future__ import annotations

import weakref

from serotine.common_words import rarity
from serotine.index.store import Snapshot, Store


class WordRarity:
    """Rarities of words in a store's newest state; cached until it changes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # Replaced as a whole, so that threads need no lock; weak, so that no file stays open for it.
        self._cache: tuple[weakref.ref[Snapshot] | None, dict[str, float]] = (None, {})

    def __call__(self, word: str) -> float:
        """Return the rarity of a word, from 0.1 for one that every document has to 1."""
        snapshot = self._store.snapshot()
        counted_in, rarities = self._cache
        if counted_in is None or counted_in() is not snapshot:
            rarities = {}
            self._cache = (weakref.ref(snapshot), rarities)
        if word not in rarities:
            rarities[word] = rarity(word, *self._store.catalog.word_count(word))
        return rarities[word]
