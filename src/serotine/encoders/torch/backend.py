"""The torch backend."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from serotine.encoders.batching import pad
from serotine.encoders.spec import EncoderSpec
from serotine.encoders.torch.model import TokenEncoder
from serotine.errors import EncoderError, not_one_of, reason

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class TorchBackend:
    """A checkpoint's model on one device.

    Args:
        spec: the checkpoint.
        vocabulary: number of its tokenizer's token ids.
        device: "cpu", "cuda", "cuda:1", "mps"; the fastest available unless given.
        dtype: of weights and states: "float32", "float16" or "bfloat16".
        threads: threads of the CPU; torch's own choice unless given. torch has one setting for the whole process.
        fold: whether neighboring linear projections are merged, which is faster; training needs them separate.

    Raises:
        EncoderError: the checkpoint is damaged, or the device is not available.
    """

    def __init__(
        self,
        spec: EncoderSpec,
        vocabulary: int,
        device: str | None,
        dtype: str = "float32",
        threads: int | None = None,
        *,
        fold: bool = True,
    ) -> None:
        device = best_device() if device is None else device
        if dtype not in _DTYPES:
            raise not_one_of("dtype", _DTYPES, dtype)
        if threads is not None:
            torch.set_num_threads(threads)
        self._name = spec.name
        self.dtype = dtype
        model = TokenEncoder(spec, vocabulary, fold=fold)
        try:
            self.model = model.to(device=device, dtype=_DTYPES[dtype]).eval()
        except (RuntimeError, AssertionError) as error:
            raise EncoderError(f"device {device!r}: cannot be used ({reason(error)})") from None

    @property
    def device(self) -> str:
        """Device of the model, which training may move."""
        return str(next(self.model.parameters()).device)

    @property
    def batch_tokens(self) -> int:
        """Tokens of a batch: on a CPU the activations of 1,024 fit in cache; a GPU needs more to be busy."""
        return 1024 if self.device == "cpu" else 32768

    def run(
        self, ids: Sequence[NDArray[np.int64]], attention: Sequence[NDArray[np.bool_]]
    ) -> list[NDArray[np.float32]]:
        """Return token vectors, as `Backend.run`."""
        padded = pad(ids, attention)
        try:
            with torch.inference_mode():
                device = self.device
                states = self.model(*(torch.from_numpy(values).to(device) for values in padded))
                vectors: NDArray[np.float32] = states.float().cpu().numpy()
        # A token id or position without an embedding, out of memory, or an inconsistent configuration.
        except Exception as error:
            tokens = padded[0].shape[1]
            raise EncoderError(f"{self._name}: fails on {tokens} tokens per text ({reason(error)})") from error
        return [text[: len(tokens)] for text, tokens in zip(vectors, ids, strict=True)]

    def save(self, folder: Path) -> None:
        """Save the backbone with transformers, without its progress bar."""
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            self.model.backbone.save_pretrained(folder, safe_serialization=True)
        finally:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def best_device() -> str:
    """Return the fastest device available."""
    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available():
        return "mps"
    return "cpu"
