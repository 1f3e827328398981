"""MaxSim as a kernel repository that Hugging Face's `kernels` package loads.

``python -m serotine.integrations.hf_kernels OUTPUT`` writes the repository; `write_kernel` does the same from Python.
Names, shapes and order of arguments are those of erikkaum/maxsim, so callers of that kernel run on this one unchanged.

The repository's files are those of `serotine.maxsim.torch` and `serotine.maxsim.triton`, with their imports made
relative; `serotine.maxsim.torch.hf_kernel` holds its ``__init__.py`` and ``cpu.py``.
"""

from serotine.integrations.hf_kernels.layout import write_kernel

__all__ = ["write_kernel"]
