"""The torch backend: any transformers model, on a CPU, a CUDA device or MPS.

The only package of the encoders that imports torch.
"""

from __future__ import annotations

from serotine.encoders.torch.backend import TorchBackend, best_device
from serotine.encoders.torch.model import TokenEncoder
from serotine.encoders.torch.tracing import trace

__all__ = ["TokenEncoder", "TorchBackend", "best_device", "trace"]
