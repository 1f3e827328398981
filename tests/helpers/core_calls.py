"""Calls of every entry point of the compiled core with arguments that a mistake may produce.

Run as a program by tests/torture: `core_calls.py CORE SEED COUNT`. It needs NumPy alone, so that the core may be one
that was built with sanitizers.
"""

from __future__ import annotations

import importlib.util
import random
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIM, TOKENS, DOCUMENTS, CENTROIDS, WORDS = 32, 12, 4, 5, 9
OFFSETS = np.array([0, 3, 3, 8, TOKENS])
# What a refusal may be; MemoryError where a size asks for too much.
REFUSALS = (TypeError, ValueError, MemoryError, OverflowError, IndexError)
_NUMBERS = (0, -1, 1, 2, 3, 7, 255, 1 << 15, 1 << 31, 1 << 40, (1 << 62) - 1, 1 << 63, 1 << 64, 0.5, float("nan"), True)
_DTYPES = (
    "f2",
    "f4",
    "f8",
    "i1",
    "u1",
    "i2",
    "u2",
    "i4",
    "u4",
    "i8",
    "u8",
    "?",
    "c8",
    ">f4",
    ">i8",
    "O",
    "S4",
    "M8[s]",
)
_STRANGE = (None, "", "GELU", b"abc", [], [1, 2], (), {}, object(), 1j)

Call = tuple[Callable[..., Any], list[Any], dict[str, Any]]


def load(path: str) -> Any:
    """Import the core of one file."""
    spec = importlib.util.spec_from_file_location("_core", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Calls:
    """Correct calls, which `malformed` then changes."""

    def __init__(self, core: Any, rng: random.Random) -> None:
        self._core, self._rng = core, rng
        self._random = np.random.default_rng(rng.getrandbits(32))

    def correct(self) -> tuple[str, Call]:
        """Return a call of a random entry point, and its name."""
        names = [name.removeprefix("_call_") for name in dir(self) if name.startswith("_call_")]
        name = self._rng.choice(names)
        return name, getattr(self, f"_call_{name}")()

    def floats(self, *shape: int) -> NDArray[np.float32]:
        return self._random.standard_normal(shape, dtype=np.float32)

    def below(self, end: int, shape: Any, dtype: str) -> NDArray[Any]:
        return self._random.integers(0, end, shape).astype(dtype)

    def _side(self) -> list[Any]:
        kind = self._rng.randrange(4)
        rows = self.floats(TOKENS, DIM)
        matrix = (rows, rows.astype("f2"), (rows.view("u4") >> 16).astype("u2"), (rows * 30).astype("i1"))[kind]
        return [matrix, kind, self.floats(TOKENS) ** 2 if kind == 3 else None]

    def _sides(self) -> list[Any]:
        queries = self._side()
        documents = self._side()
        while (queries[1] == 3) != (documents[1] == 3):
            documents = self._side()
        return [*queries, OFFSETS[:-1].copy(), OFFSETS[1:].copy(), *documents, OFFSETS[:-1].copy(), OFFSETS[1:].copy()]

    def _winners(self, *shape: int) -> Any:
        return np.zeros((*shape, 5), dtype="i4") if self._rng.random() < 0.5 else None

    def _call_score_grid(self) -> Call:
        table = np.zeros((DOCUMENTS, DOCUMENTS), "f4")
        return self._core.score_grid, [*self._sides(), table, self._winners(DOCUMENTS, DOCUMENTS)], {}

    def _call_score_separate(self) -> Call:
        queries, kind, scales, first, last, documents, other, document_scales = self._sides()[:8]
        pieces = [documents[a:b] for a, b in pairwise(OFFSETS)]
        scale_pieces = None
        if document_scales is not None:
            scale_pieces = [document_scales[a:b] for a, b in pairwise(OFFSETS)]
        table = np.zeros((DOCUMENTS, DOCUMENTS), "f4")
        return self._core.score_separate, [queries, kind, scales, first, last, pieces, other, scale_pieces, table], {}

    def _call_score_pairs(self) -> Call:
        pairs = [self.below(DOCUMENTS, 6, "i8"), self.below(DOCUMENTS, 6, "i8")]
        return self._core.score_pairs, [*self._sides(), *pairs, np.zeros(6, "f4"), self._winners(6)], {}

    def _call_top_k(self) -> Call:
        keep = self.below(2, DOCUMENTS, "u1") if self._rng.random() < 0.5 else None
        k = self._rng.choice((0, 1, 3, DOCUMENTS))
        outputs = [np.zeros((DOCUMENTS, k), "f4"), np.zeros((DOCUMENTS, k), "i8")]
        return self._core.top_k, [*self._sides(), keep, *outputs], {}

    def _call_xtr_grid(self) -> Call:
        k_token, impute = self._rng.choice((0, 1, 3, TOKENS, 1 << 40)), self._rng.random() < 0.5
        return self._core.xtr_grid, [*self._sides(), k_token, impute, np.zeros((DOCUMENTS, DOCUMENTS), "f4")], {}

    def _codebook_arguments(self) -> list[Any]:
        return [self.below(120, (CENTROIDS, DIM), "i1"), np.full(CENTROIDS, 0.01, "f4")]

    def _call_codebook(self) -> Call:
        return self._core.Codebook, self._codebook_arguments(), {}

    def _segment_arguments(self) -> list[Any]:
        vectors = self.floats(TOKENS, DIM).astype("f2").view("u2") if self._rng.random() < 0.6 else None
        return [OFFSETS.copy(), np.arange(DOCUMENTS) * 3, vectors]

    def _call_segment(self) -> Call:
        return self._core.Segment, self._segment_arguments(), {}

    def _codes(self) -> list[Any]:
        bits = self._rng.choice((2, 4, 8))
        width = self._rng.choice((2, 4))
        ids = self.below(CENTROIDS, TOKENS, f"u{width}").view("u1").reshape(TOKENS, width)
        rows = self.below(256, (TOKENS, DIM * bits // 8), "u1")
        book = self._core.Codebook(*self._codebook_arguments())
        return [book, ids, self.below(256, TOKENS, "u1"), self.below(256, TOKENS, "u1"), rows, bits, 1.5]

    def _call_set_codes(self) -> Call:
        return self._core.Segment(*self._segment_arguments()).set_codes, self._codes(), {}

    def _coded(self, *, postings: bool = False) -> Any:
        segment = self._core.Segment(*self._segment_arguments())
        codes = self._codes()
        segment.set_codes(*codes)
        if postings:
            starts = np.zeros(CENTROIDS + 1, "u8")
            documents = self._core.make_postings(codes[1], OFFSETS, starts)
            segment.set_postings(starts, documents)
        return segment

    def _call_set_postings(self) -> Call:
        starts = np.array([0, 2, 2, 4, 5, 6], "u8")
        return self._coded().set_postings, [starts, np.array([0, 2, 1, 3, 0, 3], "u4")], {}

    def _options(self) -> dict[str, Any]:
        counts = {name: self._rng.randrange(6) for name in ("refined", "candidates", "rescored", "postings")}
        kind = self._rng.choice(
            ({"exact": True}, {"exact": False}, {"exact": False, "k_token": self._rng.randrange(9)})
        )
        return {"k": self._rng.randint(1, 5), **counts, **kind}

    def _call_search_options(self) -> Call:
        return self._core.SearchOptions, [], self._options()

    def _call_search(self) -> Call:
        segments = [self._coded(postings=self._rng.random() < 0.5) for _ in range(self._rng.randint(0, 2))]
        masks = [self.below(16, 1, "u8") if self._rng.random() < 0.5 else None for _ in segments]
        options = self._options()
        if self._rng.random() < 0.3:
            options |= dict.fromkeys(
                ("k", "refined", "candidates", "rescored", "postings"), self._rng.choice((1, 1 << 62))
            )
        return self._core.search, [
            self.floats(TOKENS, DIM), OFFSETS.copy(), segments, masks, self._core.SearchOptions(**options)
        ], {}  # fmt: skip

    def _call_residual_scores(self) -> Call:
        return self._core.residual_scores, [self.floats(3, DIM), self._coded(), np.zeros(DOCUMENTS, "f4")], {}

    def _call_make_postings(self) -> Call:
        return self._core.make_postings, [self._codes()[1], OFFSETS.copy(), np.zeros(CENTROIDS + 1, "u8")], {}

    def _call_encode_residuals(self) -> Call:
        book, _, scales, errors, rows, bits, _ = self._codes()
        ids = self.below(CENTROIDS, TOKENS, "i4")
        return self._core.encode_residuals, [book, self.floats(TOKENS, DIM), ids, bits, scales, errors, rows], {}

    def _call_decode_residuals(self) -> Call:
        return self._core.decode_residuals, [self._coded(), 2, np.zeros((5, DIM), "i1"), np.zeros(5, "f4")], {}

    def _call_error_bound(self) -> Call:
        return self._core.error_bound, [self._rng.randrange(256)], {}

    def _call_nearest(self) -> Call:
        return self._core.nearest, [
            self.floats(TOKENS, DIM), self._random.permutation(TOKENS), np.array([0, 5, TOKENS]),
            self.floats(CENTROIDS, DIM), self.below(CENTROIDS, 6, "i8"), np.array([0, 2, 6]), np.zeros(TOKENS, "i4"),
        ], {}  # fmt: skip

    def _call_cluster_means(self) -> Call:
        return self._core.cluster_means, [
            self.floats(TOKENS, DIM), self.below(CENTROIDS, TOKENS, "i4"), np.zeros((CENTROIDS, DIM), "f4"),
            np.zeros(CENTROIDS, "f8"), np.zeros(CENTROIDS, "i8"),
        ], {}  # fmt: skip

    def _shape(self) -> dict[str, Any]:
        theta = self._rng.choice((None, 1e4))
        gated = self._rng.random() < 0.5
        return {
            "hidden": DIM, "heads": 1, "intermediate": DIM, "longest": TOKENS, "epsilon": 1e-5, "gated": gated,
            "key_value_heads": self._rng.choice((None, 1)), "head_dim": self._rng.choice((None, DIM)),
            "activation": self._rng.choice(("GELU", "GELUTanh", "SiLU") if gated else ("GELU", "GELUTanh")),
            "rms_norm": self._rng.random() < 0.5, "pre_norm": self._rng.random() < 0.5, "theta": theta,
            "local_theta": None if theta is None else self._rng.choice((None, 1e3)),
            "reach": self._rng.choice((None, 0, 4)),
        }  # fmt: skip

    def _call_transformer(self) -> Call:
        return self._core.Transformer, [], self._shape()

    def _norm(self) -> tuple[Any, Any]:
        return self.floats(DIM), self._rng.choice((None, self.floats(DIM)))

    def _matrix(self, outputs: int) -> tuple[Any, ...]:
        bias = self._rng.choice((None, self.floats(outputs)))
        return self.below(100, (outputs // 32, DIM // 4, 32, 4), "i1"), self.floats(outputs) ** 2, bias

    def _layer(self, shape: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        outputs = (3 * DIM, DIM, 2 * DIM if shape["gated"] else DIM, DIM)
        gains = [None, None]
        if shape["theta"] is not None and self._rng.random() < 0.5:
            gains = [self.floats(DIM), self.floats(DIM)]
        options = {"query_gain": gains[0], "key_gain": gains[1], "local": shape["reach"] is not None}
        return [[self._matrix(count) for count in outputs], [self._norm(), None]], options

    def _words(self) -> list[Any]:
        return [self.below(120, (WORDS, DIM), "i1"), self.floats(WORDS) ** 2]

    def _model(self) -> tuple[Any, dict[str, Any]]:
        shape = self._shape()
        return self._core.Transformer(**shape), shape

    def _call_set_positions(self) -> Call:
        return self._model()[0].set_positions, [self.floats(TOKENS, DIM)], {}

    def _call_set_norm(self) -> Call:
        model = self._model()[0]
        return self._rng.choice((model.set_embedding_norm, model.set_final_norm)), [self._norm()], {}

    def _call_set_words(self) -> Call:
        return self._model()[0].set_words, self._words(), {}

    def _call_set_word_blocks(self) -> Call:
        nibbles = self.below(256, (WORDS, DIM // 2), "u1")
        return self._model()[0].set_word_blocks, [nibbles, self.floats(WORDS, 1).astype("f2").view("u2")], {}

    def _call_add_layer(self) -> Call:
        model, shape = self._model()
        return model.add_layer, *self._layer(shape)

    def _call_add_projection(self) -> Call:
        return self._model()[0].add_projection, self._projection(), {}

    def _projection(self) -> list[Any]:
        activation = self._rng.choice(("Identity", "ReLU", "Tanh", "SiLU"))
        residual = self._rng.choice((None, self.floats(DIM, DIM)))
        return [self.floats(DIM, DIM), self._rng.choice((None, self.floats(DIM))), activation, True, residual]

    def _call_encode(self) -> Call:
        model, shape = self._model()
        model.set_words(*self._words())
        if self._rng.random() < 0.5:
            model.set_positions(self.floats(TOKENS, DIM))
        for _ in range(self._rng.randint(0, 2)):
            arguments, options = self._layer(shape)
            model.add_layer(*arguments, **options)
        if self._rng.random() < 0.5:
            model.add_projection(*self._projection())
        attended = self.below(2, TOKENS, "u1") if self._rng.random() < 0.5 else None
        return model.encode, [
            self.below(WORDS, TOKENS, "i4"), OFFSETS.copy(), np.zeros((TOKENS, DIM), "f4"), 2, attended
        ], {}  # fmt: skip

    def _call_instruction_sets(self) -> Call:
        return self._rng.choice((self._core.use, self._core.encoder_use)), ["portable"], {}


def malformed(value: Any, rng: random.Random) -> Any:
    """Return a value in another form, or another value."""
    if rng.random() < 0.1:
        return rng.choice(_STRANGE)
    if isinstance(value, np.ndarray):
        return _malformed_array(value, rng)
    if isinstance(value, (list, tuple)) and value:
        items = list(value)
        at = rng.randrange(len(items))
        way = rng.randrange(4)
        if way == 0:
            del items[at]
        elif way == 1:
            items.insert(at, items[at])
        else:
            items[at] = malformed(items[at], rng)
        return type(value)(items)
    if isinstance(value, str):
        return rng.choice(("", "\0", "portable", "avx2", "ReLU", "Tanh", "x" * 100_000, "\ud800"))
    return rng.choice(_NUMBERS)


def _malformed_array(array: NDArray[Any], rng: random.Random) -> Any:
    # Of one that is malformed already, no rows are left to change, or no numbers.
    if array.ndim == 0 or array.dtype.kind not in "iuf":
        return array
    way = rng.randrange(12)
    if way == 0:
        return array.astype(rng.choice(_DTYPES))
    if way == 1:
        return rng.choice((array.reshape(-1), array[None], array[..., None], np.zeros((), array.dtype)))
    if way == 2:
        return rng.choice((array[::2], array[::-1], array.T, np.asfortranarray(array)))
    if way == 3:
        # Rows of no stride at all: one row, many times.
        return np.broadcast_to(array.reshape(-1)[:1], array.shape) if array.size else array
    if way == 4:
        return _unaligned(array)
    if way == 5:
        return array[:0]
    if way == 6:
        return np.zeros((*array.shape[:-1], 0), array.dtype)
    if way == 7:
        return np.concatenate([array, array])
    if way == 8:
        return array[:-1]
    if way == 9:
        copy = array.copy()
        copy.setflags(write=False)
        return copy
    if array.size == 0:
        return array
    changed = array.copy()
    if array.dtype.kind == "f":
        worst: list[Any] = [np.nan, np.inf, -np.inf, np.finfo(array.dtype).max, 0.0, -0.0, 1e-45]
    else:
        limits = np.iinfo(array.dtype)
        worst = [limits.max, limits.min, limits.max - 1, 0, 1, limits.max // 2]
    if way == 10:
        changed.reshape(-1)[rng.randrange(array.size)] = rng.choice(worst)
    else:
        changed[...] = rng.choice(worst)
    return changed


def _unaligned(array: NDArray[Any]) -> NDArray[Any]:
    memory = np.zeros(array.nbytes + 64, dtype=np.uint8)
    copy = memory[1 : 1 + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def attack(core: Any, rng: random.Random) -> tuple[str, bool]:
    """Make one call, most of them malformed; return what is called, and whether it is refused.

    Raises:
        Exception: it is refused in a way that no caller expects.
    """
    name, (function, arguments, options) = Calls(core, rng).correct()
    for _ in range(rng.choice((0, 1, 1, 1, 2))):
        places: list[Any] = [*range(len(arguments)), *options]
        place = rng.choice(places)
        target: Any = arguments if isinstance(place, int) else options
        target[place] = malformed(target[place], rng)
    try:
        function(*arguments, **options)
    except REFUSALS as error:
        if not str(error) and not isinstance(error, MemoryError):
            raise AssertionError(f"{name}: refused without a message") from error
        return name, True
    return name, False


def main() -> None:
    """Make COUNT calls; name each before it is made, because it may be the last."""
    core = load(sys.argv[1])
    refused = 0
    for number in range(int(sys.argv[3])):
        state = f"{sys.argv[2]}/{number}"
        print(f"call {state}", file=sys.stderr, flush=True)
        refused += attack(core, random.Random(state))[1]
    print(refused)


if __name__ == "__main__":
    main()
