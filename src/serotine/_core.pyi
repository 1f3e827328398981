"""Types of the compiled core; see native/bindings."""

from typing import Any

from numpy.typing import NDArray

_Array = NDArray[Any]
_Bad = tuple[int, int]

def score_grid(
    queries: _Array,
    query_dtype: int,
    query_scales: _Array | None,
    query_begin: _Array,
    query_end: _Array,
    documents: _Array,
    document_dtype: int,
    document_scales: _Array | None,
    document_begin: _Array,
    document_end: _Array,
    scores: _Array,
    where: _Array | None,
) -> _Bad: ...
def score_separate(
    queries: _Array,
    query_dtype: int,
    query_scales: _Array | None,
    query_begin: _Array,
    query_end: _Array,
    documents: list[_Array],
    document_dtype: int,
    document_scales: list[_Array] | None,
    scores: _Array,
) -> _Bad: ...
def score_pairs(
    queries: _Array,
    query_dtype: int,
    query_scales: _Array | None,
    query_begin: _Array,
    query_end: _Array,
    documents: _Array,
    document_dtype: int,
    document_scales: _Array | None,
    document_begin: _Array,
    document_end: _Array,
    pair_queries: _Array,
    pair_documents: _Array,
    scores: _Array,
    where: _Array | None,
) -> _Bad: ...
def top_k(
    queries: _Array,
    query_dtype: int,
    query_scales: _Array | None,
    query_begin: _Array,
    query_end: _Array,
    documents: _Array,
    document_dtype: int,
    document_scales: _Array | None,
    document_begin: _Array,
    document_end: _Array,
    keep: _Array | None,
    scores: _Array,
    indices: _Array,
) -> _Bad: ...
def xtr_grid(
    queries: _Array,
    query_dtype: int,
    query_scales: _Array | None,
    query_begin: _Array,
    query_end: _Array,
    documents: _Array,
    document_dtype: int,
    document_scales: _Array | None,
    document_begin: _Array,
    document_end: _Array,
    k_token: int,
    impute: bool,
    scores: _Array,
) -> _Bad: ...
def compiled() -> list[str]: ...
def supported() -> list[str]: ...
def current() -> str: ...
def preferred() -> str: ...
def use(name: str) -> bool: ...
def num_threads() -> int: ...
def set_num_threads(count: int) -> None: ...

class Codebook:
    def __init__(self, centroids: _Array, scales: _Array, spreads: _Array | None = None) -> None: ...

class Segment:
    def __init__(self, offsets: _Array, numbers: _Array, vectors: _Array | None) -> None: ...
    def set_codes(
        self,
        codebook: Codebook,
        ids: _Array,
        residual_scales: _Array,
        errors: _Array,
        residuals: _Array,
        bits: int,
        max_norm: float,
    ) -> None: ...
    def set_postings(self, starts: _Array, documents: _Array) -> None: ...

class SearchOptions:
    def __init__(
        self,
        *,
        k: int,
        refined: int,
        candidates: int,
        rescored: int,
        postings: int,
        exact: bool,
        k_token: int = 0,
        probed_from: int = 0,
    ) -> None: ...
    @property
    def k(self) -> int: ...
    @property
    def refined(self) -> int: ...
    @property
    def candidates(self) -> int: ...
    @property
    def rescored(self) -> int: ...
    @property
    def postings(self) -> int: ...
    @property
    def probed_from(self) -> int: ...
    @property
    def exact(self) -> bool: ...
    @property
    def k_token(self) -> int: ...

class SearchReport:
    @property
    def scanned(self) -> bool: ...
    @property
    def probed(self) -> bool: ...
    @property
    def direct(self) -> bool: ...
    @property
    def flat(self) -> bool: ...
    @property
    def by_centroids(self) -> int: ...
    @property
    def by_residuals(self) -> int: ...
    @property
    def by_codes(self) -> int: ...
    @property
    def by_vectors(self) -> int: ...
    @property
    def tokens(self) -> int: ...
    @property
    def centroids_ms(self) -> float: ...
    @property
    def residuals_ms(self) -> float: ...
    @property
    def codes_ms(self) -> float: ...
    @property
    def vectors_ms(self) -> float: ...
    @property
    def bound(self) -> float: ...
    @property
    def undecided(self) -> int: ...

class SearchResult:
    @property
    def scores(self) -> list[float]: ...
    @property
    def numbers(self) -> list[int]: ...
    @property
    def report(self) -> SearchReport: ...

def search(
    queries: _Array, offsets: _Array, segments: list[Segment], masks: list[_Array | None], options: SearchOptions
) -> list[SearchResult]: ...
def residual_scores(query: _Array, segment: Segment, scores: _Array) -> None: ...
def make_postings(ids: _Array, offsets: _Array, starts: _Array) -> _Array: ...
def encode_residuals(
    codebook: Codebook,
    vectors: _Array,
    ids: _Array,
    bits: int,
    residual_scales: _Array,
    errors: _Array,
    residuals: _Array,
) -> None: ...
def decode_residuals(segment: Segment, first: int, rows: _Array, scales: _Array) -> None: ...
def error_bound(byte: int) -> float: ...
def nearest(
    points: _Array,
    order: _Array,
    group_starts: _Array,
    centroids: _Array,
    members: _Array,
    list_starts: _Array,
    ids: _Array,
) -> None: ...
def cluster_means(points: _Array, ids: _Array, centroids: _Array, squares: _Array, sizes: _Array) -> None: ...

class Transformer:
    """The forward pass of native/encoder/encoder.hpp, which says what each choice means.

    Widths are multiples of 32. Rows of gated `feed_in`, and of each head of queries and keys where `theta` is given,
    are paired: 16 of the first half and 16 of the second in turn.
    """

    def __init__(
        self,
        *,
        hidden: int,
        heads: int,
        intermediate: int,
        longest: int,  # most tokens of a text
        epsilon: float,
        key_value_heads: int | None = None,  # heads
        head_dim: int | None = None,  # hidden // heads
        activation: str = "GELU",  # "GELU", "GELUTanh", "SiLU" (gated only)
        gated: bool = False,
        rms_norm: bool = False,
        pre_norm: bool = False,
        theta: float | None = None,  # base of rotary positions; None: there are none
        local_theta: float | None = None,  # of local layers; None: theta
        reach: int | None = None,  # in local layers token i attends to j where |i - j| <= reach
    ) -> None: ...
    # Learned positions, float32 (longest, hidden), the vector of a text's first token first.
    def set_positions(self, vectors: _Array) -> None: ...
    # A normalization is its gain and bias.
    def set_embedding_norm(self, norm: tuple[_Array, _Array | None]) -> None: ...
    def set_final_norm(self, norm: tuple[_Array, _Array | None]) -> None: ...
    def set_words(self, levels: _Array, scales: _Array) -> None: ...
    def set_word_blocks(self, nibbles: _Array, scales: _Array) -> None: ...
    # Matrices: attention_in, attention_out, feed_in, feed_out, each its panels, scales and bias. Norms: of attention,
    # and of the feed-forward network; None is the identity. The gains, float32 (head_dim,), are not paired.
    def add_layer(
        self,
        matrices: list[tuple[_Array, _Array, _Array | None]],
        norms: list[tuple[_Array, _Array | None] | None],
        *,
        query_gain: _Array | None = None,
        key_gain: _Array | None = None,
        local: bool = False,
    ) -> None: ...
    def add_projection(
        self, weights: _Array, bias: _Array | None, activation: str, adds_input: bool, residual: _Array | None
    ) -> None: ...
    def encode(
        self, ids: _Array, offsets: _Array, out: _Array, threads: int, attended: _Array | None = None
    ) -> None: ...
    @property
    def dim(self) -> int: ...

def encoder_instruction_sets() -> tuple[list[str], list[str]]: ...
def encoder_current() -> str: ...
def encoder_use(name: str) -> bool: ...
