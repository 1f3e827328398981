"""The index compared with a dictionary, through additions, replacements, deletions and reopenings in any order."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from numpy.typing import NDArray

from serotine import Index
from serotine.errors import DuplicateIdError, UnknownIdError
from serotine.maxsim import reference

DIM = 4
IDS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=4, unique=True)


class IndexMachine(RuleBasedStateMachine):
    """A writer and a reader of one index, compared with the documents it must hold, in insertion order."""

    @initialize()
    def start(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "x"
        self.writer = Index.create(self.path, dim=DIM)
        self.reader = Index.open(self.path, read_only=True)
        self.documents: dict[str, tuple[NDArray[Any], dict[str, Any]]] = {}
        self.rng = np.random.default_rng(0)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.writer.close()
            self.reader.close()
            self.folder.cleanup()

    @rule(ids=IDS, lengths=st.lists(st.integers(0, 3), min_size=4, max_size=4), upsert=st.booleans())
    def add(self, ids: list[str], lengths: list[int], upsert: bool) -> None:
        # Few distinct values, so that scores tie.
        vectors = [self.rng.integers(-1, 2, (length, DIM)).astype(np.float32) for length in lengths[: len(ids)]]
        metadata = [{"n": int(self.rng.integers(1000))} for _ in ids]
        if not upsert and set(ids) & set(self.documents):
            with pytest.raises(DuplicateIdError):
                self.writer.add(ids=ids, vectors=vectors, metadata=metadata)
            return
        self.writer.add(ids=ids, vectors=vectors, metadata=metadata, upsert=upsert)
        for id_, document, document_metadata in zip(ids, vectors, metadata, strict=True):
            self.documents.pop(id_, None)
            self.documents[id_] = (document, document_metadata)

    @rule(ids=IDS)
    def delete(self, ids: list[str]) -> None:
        if not set(ids) <= set(self.documents):
            with pytest.raises(UnknownIdError):
                self.writer.delete(ids)
            return
        self.writer.delete(ids)
        for id_ in ids:
            del self.documents[id_]

    @rule()
    def reopen(self) -> None:
        self.writer.close()
        self.writer = Index.open(self.path)
        self.writer.verify()

    @invariant()
    def writer_and_reader_agree_with_the_model(self) -> None:
        if not hasattr(self, "documents"):
            return
        query = self.rng.integers(-1, 2, (2, DIM)).astype(np.float32)
        scores = {id_: reference.score(query, document) for id_, (document, _) in self.documents.items()}
        # sorted is stable: equal scores stay in insertion order, as a search must return them.
        ranked = sorted(scores, key=lambda id_: -scores[id_])
        for index in (self.writer, self.reader):
            assert index.ids() == list(self.documents)
            for k in (1, 3, 100):
                hits = index.search(query, k=k, exact=True)
                assert [(hit.id, hit.score) for hit in hits] == [(id_, scores[id_]) for id_ in ranked[:k]]
                assert [hit.metadata for hit in hits] == [self.documents[id_][1] for id_ in ranked[:k]]
                assert hits.stats.documents == len(self.documents)
                assert hits.stats.tokens == sum(len(document) for document, _ in self.documents.values())


TestIndexModel = IndexMachine.TestCase
TestIndexModel.settings = settings(max_examples=25, stateful_step_count=15, deadline=None, derandomize=True)
