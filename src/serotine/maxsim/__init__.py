"""MaxSim: exact late-interaction scores, on the CPU and, with torch, on the GPU.

    score(q, d) = sum over query tokens i of  max over document tokens j of  <q_i, d_j>

(Khattab and Zaharia, "ColBERT", SIGIR 2020.) The contract, on every backend and in every layout:

* Accumulated and returned in float32, whatever the input's dtype: float32, float16, bfloat16, or int8 with one
  scale per token.
* Padding and masked tokens never win, whatever the sign of the real ones.
* A query with no tokens scores 0; otherwise a document with no tokens scores -inf.
* The same pair gets the same score, bit for bit, whatever else is in the batch, in whichever layout, on however
  many threads. (Two instruction sets may differ in the last bits.)
* Ties go to the lowest token; the winner is -1 where there is none.
* NaN and infinity raise ValueError, unless ``allow_nonfinite=True``: then a NaN dot product never wins. Only
  scored values are checked; padding is not.
* A wrong rank, shape, dtype, device, offset or length raises ValueError or TypeError that names the
  argument, its value and what it must be.

Three layouts, as in the erikkaum/maxsim kernels: `score_candidates_padded`, `score_contrastive`,
`score_pairs_packed`, each with a ``_with_argmax`` variant and, for torch tensors, a ``_train`` one with gradients.
`score` and `top_k` are for everyday use; `colbert_scores`, `colbert_scores_pairwise` and `colbert_kd_scores`
fit the losses of sentence-transformers and PyLate; `score_xtr` and `xtr_scores` are those of XTR. `capabilities`, `use`
and `set_num_threads` show and set the instruction set and the number of threads.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from serotine.errors import missing_extra
from serotine.lazy_names import no_attribute
from serotine.maxsim.contrastive import score_contrastive, score_contrastive_with_argmax
from serotine.maxsim.packed import score_pairs_packed, score_pairs_packed_with_argmax
from serotine.maxsim.padded import score_candidates_padded, score_candidates_padded_with_argmax
from serotine.maxsim.quantization import quantize
from serotine.maxsim.runtime import (
    Capabilities,
    apply_environment,
    capabilities,
    num_threads,
    set_num_threads,
    use,
)
from serotine.maxsim.scoring import score, top_k
from serotine.maxsim.xtr import score_xtr

if TYPE_CHECKING:
    from serotine.maxsim.torch import (
        colbert_kd_scores,
        colbert_scores,
        colbert_scores_pairwise,
        score_candidates_padded_train,
        score_contrastive_train,
        score_pairs_packed_train,
        xtr_scores,
    )

__all__ = [
    "Capabilities",
    "capabilities",
    "colbert_kd_scores",
    "colbert_scores",
    "colbert_scores_pairwise",
    "num_threads",
    "quantize",
    "score",
    "score_candidates_padded",
    "score_candidates_padded_train",
    "score_candidates_padded_with_argmax",
    "score_contrastive",
    "score_contrastive_train",
    "score_contrastive_with_argmax",
    "score_pairs_packed",
    "score_pairs_packed_train",
    "score_pairs_packed_with_argmax",
    "score_xtr",
    "set_num_threads",
    "top_k",
    "use",
    "xtr_scores",
]

# Functions of torch tensors only: torch is imported on first access.
_TORCH_ONLY = frozenset(name for name in __all__ if name.startswith(("colbert_", "xtr_")) or name.endswith("_train"))


def __getattr__(name: str) -> Any:
    """Import the functions that need torch from `serotine.maxsim.torch`."""
    if name not in _TORCH_ONLY:
        raise no_attribute("serotine.maxsim", name, __all__)
    try:
        module = importlib.import_module("serotine.maxsim.torch")
    except ModuleNotFoundError as error:
        raise ImportError(f"{missing_extra(f'serotine.maxsim.{name}', 'torch')} ({error})") from None
    return getattr(module, name)


apply_environment()
