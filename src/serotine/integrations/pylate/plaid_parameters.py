"""The parameters of `indexes.PLAID` that change nothing here."""

from __future__ import annotations

from serotine.integrations.pylate.ignored import WithoutEffect

FULL_SCORES = 8192
WITHOUT_EFFECT: WithoutEffect = {
    "use_fast": (True, "there is one engine"),
    "kmeans_niters": (4, "the codebook is trained until it fits"),
    "max_points_per_centroid": (256, "the codebook's sample follows from the collection"),
    "n_samples_kmeans": (None, "the codebook's sample follows from the collection"),
    "seed": (42, "training the codebook is deterministic"),
    "use_triton": (None, "the index runs on the CPU"),
    "n_ivf_probe": (8, "the search plan follows from the collection"),
    "batch_size": (1 << 18, "queries are shared out among threads"),
    "num_threads": (None, "call serotine.maxsim.set_num_threads"),
    "device": (None, "the index runs on the CPU"),
    "low_memory": (False, "the index is memory-mapped"),
}
# Of the Stanford backend, which PyLate takes as keywords.
STANFORD = (
    "embedding_size",
    "nranks",
    "index_bsize",
    "ndocs",
    "centroid_score_threshold",
    "ncells",
    "search_batch_size",
)
