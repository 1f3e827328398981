"""MaxSim as a kernel repository that Hugging Face's `kernels` package loads.

``python -m serotine.integrations.hf_kernels OUTPUT`` writes the repository; `lay_out` is the same from Python.
The names, shapes and order of arguments are those of erikkaum/maxsim, so what calls that kernel runs on this one.

`kernel` and `cpu` are the two files written for the repository alone (its ``__init__.py`` and ``cpu.py``); every
other file there is one of `serotine.maxsim.torch` or `serotine.maxsim.triton`, with its imports made relative.
"""

from serotine.integrations.hf_kernels.layout import lay_out

__all__ = ["lay_out"]
