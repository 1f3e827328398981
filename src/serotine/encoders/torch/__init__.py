"""The torch backend: any transformers model, on a CPU, a CUDA device or Apple's.

The only code of the encoders that imports torch.
"""

from __future__ import annotations

from serotine.encoders.torch.backend import TorchBackend
from serotine.encoders.torch.model import TokenEncoder

__all__ = ["TokenEncoder", "TorchBackend"]
