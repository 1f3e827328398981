"""MaxSim: exact late-interaction scores, on the CPU and, with torch, on the GPU.

    score(q, d) = sum over query tokens i of  max over document tokens j of  <q_i, d_j>

(Khattab and Zaharia, "ColBERT", SIGIR 2020.) The contract, on every backend and in every layout:

* Accumulated and returned in float32, whatever the input's dtype: float32, float16, bfloat16, or int8 with one
  scale a token.
* Padding and masked tokens never win, whatever the sign of the real ones.
* A query with no tokens scores 0; otherwise a document with no tokens scores -inf.
* The same pair gets the same score, bit for bit, whatever else is in the batch, in whichever layout, on however
  many threads. (Two instruction sets may differ in the last bits.)
* Ties go to the lowest token; the winner is -1 where there is none.
* NaN and infinity raise ValueError, unless ``allow_nonfinite=True``: then a NaN dot product never wins. Only what
  is scored is looked at; padding is not.
* A wrong rank, shape, dtype, device, offset or length raises ValueError or TypeError naming the argument, what was
  given and what was wanted.

Three layouts, as in the erikkaum/maxsim kernels: `score_candidates_padded`, `score_contrastive`,
`score_pairs_packed`, each with a ``_with_argmax`` variant and, for torch tensors, a ``_train`` one with gradients.
`score` and `top_k` are for people. `capabilities`, `use` and `set_num_threads` show and choose what runs.
"""

from __future__ import annotations

from serotine.maxsim.contrastive import score_contrastive, score_contrastive_with_argmax
from serotine.maxsim.packed import score_pairs_packed, score_pairs_packed_with_argmax
from serotine.maxsim.padded import score_candidates_padded, score_candidates_padded_with_argmax
from serotine.maxsim.people import quantize, score, top_k
from serotine.maxsim.runtime import (
    Capabilities,
    apply_environment,
    capabilities,
    num_threads,
    set_num_threads,
    use,
)

__all__ = [
    "Capabilities",
    "capabilities",
    "num_threads",
    "quantize",
    "score",
    "score_candidates_padded",
    "score_candidates_padded_with_argmax",
    "score_contrastive",
    "score_contrastive_with_argmax",
    "score_pairs_packed",
    "score_pairs_packed_with_argmax",
    "set_num_threads",
    "top_k",
    "use",
]

apply_environment()
