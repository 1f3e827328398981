"""MaxSim kernels for late-interaction retrieval: CPU through Serotine's compiled core, CUDA through Triton.

score(q, d) = sum over query tokens of the best dot product with a document token. Names, shapes and order of
arguments are those of erikkaum/maxsim; the contract of `serotine.maxsim` holds: fp32 accumulation, padding never
wins, an empty document scores -inf, ties go to the lowest token.

The compiled core of the installed ``serotine`` package scores CPU tensors. Without it, plain torch does, slower and
under the same contract, with one RuntimeWarning; `cpu_backend` returns which of the two runs.
"""

from serotine.maxsim.torch import kernels
from serotine.maxsim.torch.hf_kernel.cpu import cpu_backend
from serotine.maxsim.torch.kernels import *  # noqa: F403

__all__ = ["cpu_backend"]
__all__ += kernels.__all__
