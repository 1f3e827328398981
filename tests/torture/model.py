"""Any changes in any order, in writer, reader and forked processes, compared with a dictionary and NumPy."""

from __future__ import annotations

import random
import tempfile
import traceback
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import hypothesis
import numpy as np
import pytest
from helpers.fakes import WordEncoder
from helpers.filter_reference import matches
from helpers.small_engine import THRESHOLDS
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from numpy.typing import NDArray

from serotine import Index
from serotine.errors import DuplicateIdError, ReadOnlyError, UnknownIdError
from serotine.maxsim import reference

from .outcomes import Attack, Outcome, isolated

ENCODER = WordEncoder(4)
WORDS = ("bat", "owl", "fox", "elk")
IDS = st.lists(st.sampled_from("abcdefghijkl"), min_size=1, max_size=6, unique=True)
SEEDS = st.integers(0, 2**32 - 1)
FILTERS: tuple[dict[str, Any], ...] = (
    {"n": {">=": 4}},
    {"n": {"<": 2}, "tag": "a"},
    {"tag": {"in": ["a", "b"]}},
    {"year": 2001},
    {"year": {">": 2000}},
    {"or": [{"tag": "b"}, {"n": 3}]},
    {"not": {"tag": "a"}},
    {"list": {"contains": 1}},
    {"missing": 1},
)
# Sizes of the documents' vectors make the first training, the head, merges and retraining happen within a few changes.
_MAX_TOKENS = 6
_POOLED_DIM = 3


@dataclass
class Document:
    """What the index must return of a document."""

    text: str
    vectors: NDArray[np.float32]
    pooled: NDArray[np.float32]
    metadata: dict[str, Any]


class IndexMachine(RuleBasedStateMachine):
    """A writer and a reader of one index, compared with the documents it must hold, in insertion order."""

    @initialize(nbits=st.sampled_from((2, 4, 8)), keep_vectors=st.booleans(), pooled=st.booleans())
    def start(self, nbits: int, keep_vectors: bool, pooled: bool) -> None:
        self.stack = ExitStack()
        self.stack.enter_context(warnings.catch_warnings())
        # Filters on absent fields warn, and processes with threads that fork.
        warnings.simplefilter("ignore")
        for module, name, value in THRESHOLDS:
            self.stack.enter_context(patch.object(module, name, value))
        self.path = Path(self.stack.enter_context(tempfile.TemporaryDirectory())) / "x"
        self.keep_vectors, self.pooled = keep_vectors, pooled
        options: dict[str, Any] = {"pooled": _POOLED_DIM} if pooled else {}
        self.writer = Index.create(
            self.path, encoder=ENCODER, nbits=nbits, keep_vectors=keep_vectors, filterable={"year": int}, **options
        )
        self.reader = Index.open(self.path, read_only=True, encoder=ENCODER)
        self.documents: dict[str, Document] = {}

    def teardown(self) -> None:
        if hasattr(self, "stack"):
            self.writer.close()
            self.reader.close()
            self.stack.close()

    @rule(ids=IDS, seed=SEEDS, upsert=st.booleans())
    def add(self, ids: list[str], seed: int, upsert: bool) -> None:
        new = {id_: _document(np.random.default_rng([seed, i])) for i, id_ in enumerate(ids)}
        arguments: dict[str, Any] = {
            "ids": ids,
            "texts": [document.text for document in new.values()],
            "vectors": [document.vectors for document in new.values()],
            "metadata": [document.metadata for document in new.values()],
        }
        if self.pooled:
            arguments["pooled"] = [document.pooled for document in new.values()]
        if not upsert and set(ids) & set(self.documents):
            with pytest.raises(DuplicateIdError):
                self.writer.add(**arguments)
            return
        self.writer.add(**arguments, upsert=upsert)
        for id_, document in new.items():
            # Replaced, it is the newest.
            self.documents.pop(id_, None)
            self.documents[id_] = document

    @rule(ids=IDS)
    def delete(self, ids: list[str]) -> None:
        if not set(ids) <= set(self.documents):
            with pytest.raises(UnknownIdError):
                self.writer.delete(ids)
            return
        assert self.writer.delete(ids) == len(ids)
        for id_ in ids:
            del self.documents[id_]

    @rule(where=st.sampled_from(FILTERS))
    def delete_where(self, where: dict[str, Any]) -> None:
        chosen = self.passing(where)
        refusal = ""
        try:
            deleted = self.writer.delete(where=where)
        except ValueError as error:
            refusal = str(error)
        if refusal:
            # Documents that pass because none has one of its fields, or a value of its kind there.
            assert "nothing was deleted" in refusal
            assert "not" in where
            assert chosen
            return
        assert deleted == len(chosen)
        for id_ in chosen:
            del self.documents[id_]

    @rule(ids=IDS, seed=SEEDS, replace=st.booleans())
    def update_metadata(self, ids: list[str], seed: int, replace: bool) -> None:
        rng = np.random.default_rng(seed)
        fields = [{**_metadata(rng), "tag": None} if rng.random() < 0.3 else _metadata(rng) for _ in ids]
        if not set(ids) <= set(self.documents):
            with pytest.raises(UnknownIdError):
                self.writer.update_metadata(ids, fields, replace=replace)
            return
        self.writer.update_metadata(ids, fields, replace=replace)
        for id_, values in zip(ids, fields, strict=True):
            merged = values if replace else {**self.documents[id_].metadata, **values}
            removed = () if replace else [name for name, value in values.items() if value is None]
            self.documents[id_].metadata = {name: value for name, value in merged.items() if name not in removed}

    @rule()
    def compact(self) -> None:
        self.writer.compact()
        assert self.writer.verify().documents == len(self.documents)

    @rule()
    def reopen(self) -> None:
        self.writer.close()
        self.writer = Index.open(self.path, encoder=ENCODER)
        self.writer.verify()

    @rule(seed=SEEDS, depth=st.integers(1, 2))
    def fork(self, seed: int, depth: int) -> None:
        ended = isolated(lambda: self._in_child(seed, depth))
        assert ended.value == "the same", ended.trace or ended.killed

    def _in_child(self, seed: int, depth: int) -> str:
        for index in (self.writer, self.reader):
            self._check(index, np.random.default_rng(seed))
            with pytest.raises(ReadOnlyError):
                index.delete(where={"n": 1})
        if depth > 1:
            ended = isolated(lambda: self._in_child(seed, depth - 1))
            assert ended.value == "the same", ended.trace or ended.killed
        return "the same"

    @rule(seed=SEEDS)
    def search(self, seed: int) -> None:
        for index in (self.writer, self.reader):
            self._check(index, np.random.default_rng(seed))

    @invariant()
    def the_same_documents(self) -> None:
        if not hasattr(self, "stack"):
            return
        for index in (self.writer, self.reader):
            found = [(hit.id, hit.text, hit.metadata) for hit in index.documents()]
            assert found == [(id_, value.text, value.metadata) for id_, value in self.documents.items()]

    def passing(self, where: Mapping[str, Any] | None) -> list[str]:
        return [id_ for id_, value in self.documents.items() if where is None or matches(where, value.metadata)]

    def _check(self, index: Index, rng: np.random.Generator) -> None:
        stats = index.stats()
        assert stats.documents == len(self.documents)
        vectors = {id_: document.vectors for id_, document in self.documents.items()}
        if not self.keep_vectors:
            # Rebuilt from codes, which tests of the codec bound; here a search must score what the index returns.
            vectors = {id_: index.vectors(id_).astype(np.float32) for id_ in vectors}
        for id_, document in self.documents.items():
            assert index.vectors(id_).shape == document.vectors.shape
            if self.keep_vectors:
                assert np.array_equal(index.vectors(id_), document.vectors)
        # Without vectors, the core scores 8-bit integers.
        tolerance = 1e-5 if self.keep_vectors else 0.05
        query = rng.integers(-1, 2, (2, ENCODER.dim)).astype(np.float32)
        text = " ".join(rng.choice(WORDS, 2))
        for where in (None, FILTERS[rng.integers(len(FILTERS))]):
            passing = self.passing(where)
            for wanted, exact in ((query, True), (query, False), (text, True)):
                scored = ENCODER.encode_queries([wanted])[0] if isinstance(wanted, str) else wanted
                # Documents without tokens are no hits.
                scores = {id_: reference.score(scored, vectors[id_]) for id_ in passing if len(vectors[id_])}
                for k in (1, 4, 100):
                    self._check_ranking(index, wanted, scores, k, where, exact=exact, tolerance=tolerance)
            if self.pooled:
                late = {id_: reference.score(query, vectors[id_]) for id_ in passing if len(vectors[id_])}
                self._check_pooled(index, query, late, where, tolerance)
            words = {id_ for id_ in passing if set(text.split()) & set(self.documents[id_].text.split())}
            hits = index.search(text, k=100, mode="bm25", where=where)
            assert {hit.id for hit in hits} == words
            assert all(hit.score > 0 for hit in hits)
            hybrid = index.search(text, k=100, mode="hybrid", where=where)
            assert words <= {hit.id for hit in hybrid} <= set(passing)

    def _check_pooled(
        self,
        index: Index,
        query: NDArray[np.float32],
        late: Mapping[str, float],
        where: dict[str, Any] | None,
        tolerance: float,
    ) -> None:
        vector = np.array([2, -1, 1], dtype=np.float32)
        similar = {id_: float(self.documents[id_].pooled @ vector) for id_ in self.passing(where)}
        options: dict[str, Any] = {"mode": "pooled", "pooled": vector, "where": where}
        alone = index.search(query, k=100, weights=(0, 1), **options)
        stored = [id_ for id_ in similar if self.documents[id_].pooled.any()]
        assert [hit.id for hit in alone] == sorted(stored, key=lambda id_: -similar[id_])
        scores = {id_: score / len(query) + 0.25 * similar[id_] for id_, score in late.items()}
        for k in (2, 100):
            hits = index.search(query, k=k, weights=(1, 0.25), exact=True, **options)
            best = sorted(scores, key=lambda id_: -scores[id_])[:k]
            assert len(hits) == len(best)
            assert all(abs(hit.score - scores[hit.id]) <= tolerance for hit in hits)
            if self.keep_vectors:
                assert [hit.id for hit in hits] == best

    def _check_ranking(
        self,
        index: Index,
        query: str | NDArray[np.float32],
        scores: dict[str, float],
        k: int,
        where: dict[str, Any] | None,
        *,
        exact: bool,
        tolerance: float,
    ) -> None:
        hits = index.search(query, k=k, exact=exact, where=where)
        best = sorted(scores, key=lambda id_: -scores[id_])
        assert len({hit.id for hit in hits}) == len(hits)
        for hit in hits:
            assert hit.score == scores[hit.id] or abs(hit.score - scores[hit.id]) <= tolerance
            document = self.documents[hit.id]
            assert (hit.text, hit.metadata) == (document.text, document.metadata)
        if not exact:
            assert len(hits) <= min(k, len(scores))
            return
        assert len(hits) == min(k, len(scores))
        if self.keep_vectors and not isinstance(query, str):
            # Of whole numbers, exact. The sort is stable: equal scores stay in insertion order.
            assert [hit.id for hit in hits] == best[:k]
        elif hits:
            assert min(scores[hit.id] for hit in hits) >= scores[best[len(hits) - 1]] - 2 * tolerance


def _document(rng: np.random.Generator) -> Document:
    # Few distinct values, so that scores tie.
    vectors = rng.integers(-1, 2, (rng.integers(_MAX_TOKENS + 1), ENCODER.dim)).astype(np.float32)
    pooled = rng.integers(-1, 2, _POOLED_DIM).astype(np.float32)
    return Document(" ".join(rng.choice(WORDS, rng.integers(5))), vectors, pooled, _metadata(rng))


def _metadata(rng: np.random.Generator) -> dict[str, Any]:
    values: dict[str, Any] = {
        "n": int(rng.integers(6)),
        "tag": str(rng.choice(["a", "b", "c"])),
        "year": int(rng.integers(2000, 2003)),
        "list": [int(n) for n in rng.integers(0, 3, 2)],
    }
    return {name: value for name, value in values.items() if rng.random() < 0.8}


class Model(Attack):
    """Steps of hypothesis on one index; allowed is agreement with the model alone."""

    name = "model"
    share = 2.0

    def attempt(self, rng: random.Random) -> Outcome:
        seed = rng.getrandbits(64)
        ended = isolated(lambda: _run_machine(seed), timeout=300.0)
        return Outcome("agrees" if ended.value == "" else "differs", f"seed {seed}", ended.value or ended.killed)


def _run_machine(seed: int) -> str:
    """Return "", or how hypothesis came to a disagreement, in as few steps as it found."""
    machine = hypothesis.seed(seed)(type("Seeded", (IndexMachine,), {}))
    settings = hypothesis.settings(
        max_examples=5,
        stateful_step_count=30,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        report_multiple_bugs=False,
    )
    try:
        run_state_machine_as_test(machine, settings=settings)
    except Exception:
        return traceback.format_exc(limit=-4)
    return ""
